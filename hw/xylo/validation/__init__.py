"""Does the chip do what was trained? First differences with their cause, and test vectors."""
