"""The revisions of the hsm_driver tree, from empty."""
