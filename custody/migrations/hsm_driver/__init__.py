"""The schema of an hsm-driver group."""
