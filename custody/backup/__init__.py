"""Backups: one signed and encrypted file, for the driver, the signer and the control plane."""
