"""A deployment as one file: ``.xylo``."""
