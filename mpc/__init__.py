"""MPC mode: signers that hold keys in shares. docs/explanation/mpc.md explains the protocols.

Read the packages in this order. ceremonies: the joint protocols of signers. bans: pairs of signers
that no longer sign together. shares: the stored shares. handlers: one handler for each kind of job.
commands, cli and doctor: the operator's commands. signer builds the process. native is the Rust
crate.
"""
