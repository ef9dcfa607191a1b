"""The keys to which signers encrypt what they send each other in one ceremony.

HPKE (RFC 9180), base mode, with the hybrid KEM of ML-KEM-768 and X25519 (X-Wing,
draft-connolly-cfrg-xwing-kem): traffic that is recorded stays closed unless both are broken.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
MLKEM_BYTES = 1184
"""Bytes of an ML-KEM-768 public key (FIPS 203, table 3); the 32 bytes of X25519 follow."""
PUBLIC_KEY_BYTES = MLKEM_BYTES + 32


class CeremonyKey:
    """Opens what others have sealed for one participant of one ceremony.

    Kept in memory alone, and of no use in a process forked from the one that made it.
    """

    def __init__(self) -> None:
        lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        self._private_key = MLKEM768X25519PrivateKey(lattice, curve)
        self._process = os.getpid()
        self.public_key = (
            lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        )

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return the plaintext. Raise ValueError unless it was sealed for us with this ``info``."""
        self.require_own_process()
        try:
            return SUITE.decrypt(sealed, self._private_key, info)
        except InvalidTag:
            raise ValueError("it was not sealed for this key and place") from None

    def require_own_process(self) -> None:
        """Raise RuntimeError in a process forked from the one that made the key."""
        if os.getpid() != self._process:
            raise RuntimeError("a ceremony does not continue in a forked process")


class PeerKey:
    """Seals for one other participant."""

    def __init__(self, public_key: bytes) -> None:
        """Raise ValueError for bytes that are no public key."""
        if len(public_key) != PUBLIC_KEY_BYTES:
            raise ValueError(f"a public key of {len(public_key)} bytes, not {PUBLIC_KEY_BYTES}")
        self._public_key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public_key[:MLKEM_BYTES]),
            X25519PublicKey.from_public_bytes(public_key[MLKEM_BYTES:]),
        )

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Raise ValueError for a public key that nothing can be sealed to."""
        return SUITE.encrypt(plaintext, self._public_key, info)
