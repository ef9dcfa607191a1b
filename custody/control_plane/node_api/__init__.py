"""What nodes call over mutual TLS: claim, report, extend, heartbeat, and their audit's heads."""
