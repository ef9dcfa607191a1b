"""Measurements of both modes: `make bench`."""
