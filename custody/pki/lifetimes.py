"""Default lifetimes of certificates, in days."""

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1825
LEAF_DAYS = 90
