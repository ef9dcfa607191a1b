"""The scopes of tokens."""

from enum import StrEnum


class Scope(StrEnum):
    READ = "read"
    """GET everything of the application, and which nodes there are."""
    WALLETS = "wallets"
    """Create and name wallets and keys, and refresh and repair their shares."""
    SIGN = "sign"
    """Create signatures."""
    ADMIN = "admin"
    """All of the above, create signer groups, read the audit, and see what is for operators: nodes'
    faults, freezes, bans and owners, and those reasons of a request that name them."""
