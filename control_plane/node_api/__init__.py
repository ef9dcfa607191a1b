"""What nodes call over mutual TLS: claim, report, extend, heartbeat, audit-heads."""
