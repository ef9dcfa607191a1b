"""How long certificates are valid, in days, unless a command says otherwise."""

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1825
LEAF_DAYS = 90
