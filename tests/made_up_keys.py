"""Public keys for tests: valid ones, that protect nothing."""

from coincurve import PrivateKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1, Algorithm


def made_up_key(algorithm: Algorithm = ECDSA_SECP256K1, number: int = 1) -> bytes:
    """The public key of the private key ``number``: the same one each time."""
    secret = number.to_bytes(32)
    if algorithm == ECDSA_SECP256K1:
        return PrivateKey(secret).public_key.format()
    if algorithm == SCHNORR_SECP256K1:
        return PublicKeyXOnly.from_secret(secret).format()
    if algorithm == EDDSA_ED25519:
        edwards = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        return edwards.public_key().public_bytes_raw()
    p256 = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    return p256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
