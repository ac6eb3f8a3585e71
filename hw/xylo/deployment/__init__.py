"""From a mapped network to integers: calibration, scales, report."""
