"""MPC mode: signers that hold keys in shares. docs/mpc.md has the protocols.

To be read in this order. A ceremony: tickets, admission, hello, ceremony_keys, envelopes,
delivery_client, ceremony. What may end it for good: bans, ban_locks, in_flight. What is kept:
stored_share, share_statements, shares, encryption_key, encryption_keys, rewrap. What jobs do:
generation, signing, refreshing, preparation, orders, evidence. What an operator types: cli, the
files of commands, doctor. signer puts it together. native is the Rust crate; delivery is the
server between signers, and imports none of the others.
"""
