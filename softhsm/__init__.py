"""SoftHSM tokens for development and tests: make, list, clone and wipe them."""
