"""Keys to which private data is sealed: HPKE (RFC 9180), base mode, with a hybrid KEM.

The KEM joins ML-KEM-768 and X25519 (X-Wing, draft-connolly-cfrg-xwing-kem). Traffic that is
recorded stays closed unless both are broken. Base mode does not prove who sealed.
"""

from typing import Self

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
SEED_BYTES = 64
"""Bytes of an ML-KEM-768 private key as its seed (FIPS 203, section 7.1: d and z)."""
PRIVATE_KEY_BYTES = SEED_BYTES + 32


class HybridPrivateKey:
    """Opens what was sealed to its public key."""

    def __init__(self, private_key: bytes) -> None:
        """``private_key``: what ``to_bytes`` returns. Raise ValueError for another size."""
        if len(private_key) != PRIVATE_KEY_BYTES:
            raise ValueError(f"a private key of {len(private_key)} bytes, not {PRIVATE_KEY_BYTES}")
        lattice = MLKEM768PrivateKey.from_seed_bytes(private_key[:SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(private_key[SEED_BYTES:])
        self._halves = lattice, curve
        self._private_key = MLKEM768X25519PrivateKey(lattice, curve)
        self.public_key = (
            lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls) -> Self:
        lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        return cls(lattice.private_bytes_raw() + curve.private_bytes_raw())

    def to_bytes(self) -> bytes:
        """Return the seed of ML-KEM-768 and the private key of X25519. They are secret."""
        lattice, curve = self._halves
        return lattice.private_bytes_raw() + curve.private_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return the plaintext. Raise ValueError unless it was sealed for us with this ``info``."""
        try:
            return SUITE.decrypt(sealed, self._private_key, info)
        except InvalidTag:
            raise ValueError("it was not sealed for this key and place") from None


class HybridPublicKey:
    """Seals for the holder of its private key."""

    def __init__(self, public_key: bytes) -> None:
        """Raise ValueError for bytes that are not a public key."""
        if len(public_key) != PUBLIC_KEY_BYTES:
            raise ValueError(f"a public key of {len(public_key)} bytes, not {PUBLIC_KEY_BYTES}")
        self._public_key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public_key[:MLKEM_BYTES]),
            X25519PublicKey.from_public_bytes(public_key[MLKEM_BYTES:]),
        )

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Raise ValueError for a public key that nothing can be sealed to."""
        return SUITE.encrypt(plaintext, self._public_key, info)
