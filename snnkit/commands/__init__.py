"""What the command line does, one command a file; :mod:`snnkit.cli` declares their options."""
