"""Notices that this signer was restored, asks its peers, and compares its shares with theirs."""
