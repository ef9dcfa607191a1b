"""What to do about a request now. Pure: no file here reads a clock, a row or a setting."""
