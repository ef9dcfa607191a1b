"""MPC mode: signers that hold keys in shares. docs/explanation/mpc.md has the protocols.

To be read in this order. ceremonies: what signers do together, from ticket to ceremony. bans: what
may end it for good. shares: what is kept. handlers: what is done for each kind of job. commands,
cli, doctor: what an operator types. signer puts it together. native is the Rust crate; delivery is
the server between signers, and imports none of the others.
"""
