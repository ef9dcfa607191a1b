"""How many signers a group may have, and how many of them must sign."""

MIN_THRESHOLD = 2
MAX_SIGNERS = 16
"""The most signers that a key may have; mpc/native/src/protocol.rs has the same number."""
