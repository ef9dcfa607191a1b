"""SoftHSM tokens for development and tests: made, listed, cloned, wiped."""
