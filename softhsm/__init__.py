"""SoftHSM tokens for development and tests: make, list, clone, back up, restore and wipe them."""
