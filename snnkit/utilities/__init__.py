"""What every other part of snnkit stands on: errors, files, trees, the chip table."""
