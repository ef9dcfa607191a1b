"""The schema of a signer."""
