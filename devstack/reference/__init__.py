"""Writes the reference pages that the source determines: ``python -m devstack.reference``."""
