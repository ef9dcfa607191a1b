"""Planning: the next step of a request. Pure: no file here reads a clock, a row or a setting."""
