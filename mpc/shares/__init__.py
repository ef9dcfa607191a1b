"""Shares at rest: their states, and the keys that they are encrypted under."""
