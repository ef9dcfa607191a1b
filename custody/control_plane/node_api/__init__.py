"""The node API, over mutual TLS: claim, report, extend, heartbeat, and audit heads."""
