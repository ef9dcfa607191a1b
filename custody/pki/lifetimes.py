"""Default lifetimes of certificates and CRLs, in days."""

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1825
LEAF_DAYS = 90
CRL_DAYS = 30
ROOT_CRL_DAYS = 366
