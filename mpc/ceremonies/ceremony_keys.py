"""The key to which the other signers encrypt what they send one signer in one ceremony."""

import os

from custody.wire.hybrid_keys import HybridPrivateKey


class CeremonyKey:
    """Opens what others have sealed for one participant of one ceremony.

    Kept in memory alone, and of no use in a process forked from the one that made it.
    """

    def __init__(self) -> None:
        self._private_key = HybridPrivateKey.generate()
        self._process = os.getpid()
        self.public_key = self._private_key.public_key

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return the plaintext. Raise ValueError unless it was sealed for us with this ``info``."""
        self.require_own_process()
        return self._private_key.open(sealed, info)

    def require_own_process(self) -> None:
        """Raise RuntimeError in a process forked from the one that made the key."""
        if os.getpid() != self._process:
            raise RuntimeError("a ceremony does not continue in a forked process")
