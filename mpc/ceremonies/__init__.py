"""What signers do together: tickets let in, messages sealed and exchanged, exchange by exchange."""
