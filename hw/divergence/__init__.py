"""Where two runs of the same network part: layer by layer, step by step, with the first cause."""
