"""Keys of the examples: made from a name, so that they are the same each time."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.signed_bytes import SigningKey


def seeded(name: str) -> SigningKey:
    seed = hashlib.sha256(name.encode()).digest()
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


JOB_SIGNER = seeded("example: the control plane's job-signing key")
SIGNER = seeded("example: the identity key of signer-1")
