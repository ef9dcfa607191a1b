"""How many signers a group may have, and how many of them must sign."""

MIN_THRESHOLD = 2
MAX_SIGNERS = 16
