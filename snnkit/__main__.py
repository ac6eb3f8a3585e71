"""``python -m snnkit``."""

from snnkit.cli import main

if __name__ == "__main__":
    main()
