"""The public API: what applications ask for, over HTTPS with bearer tokens."""
