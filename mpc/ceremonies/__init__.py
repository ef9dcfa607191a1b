"""Ceremonies of signers: a ticket is admitted, and sealed messages are exchanged in turn."""
