"""The control plane's database."""
