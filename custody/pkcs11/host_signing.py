"""Keys that the token cannot use inside: made and used on the host, encrypted by the HSM at rest.

The private key exists in this worker's memory only while it is made or used. Python cannot promise
to wipe it: it is best effort, in a process of its own that writes no core files, cannot be traced
by other processes of its user and holds no other state.
"""

from coincurve import PrivateKey as Secp256k1PrivateKey
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Algorithm
from custody.wire.framing import Domain, tagged

SECRET_SIZE = 32


def associated_data(algorithm: Algorithm, public_key: bytes) -> bytes:
    """Return the associated data, which binds a ciphertext to its key."""
    return tagged(Domain.HOST_KEY, str(algorithm).encode(), public_key)


def generate(algorithm: Algorithm) -> tuple[bytes, bytes]:
    """Private key (32 bytes: scalar, or the seed of RFC 8032) and encoded public key."""
    if algorithm == ECDSA_SECP256K1:
        secp256k1 = Secp256k1PrivateKey()
        return secp256k1.secret, secp256k1.public_key.format()
    if algorithm == ECDSA_SECP256R1:
        p256 = ec.generate_private_key(ec.SECP256R1())
        scalar = p256.private_numbers().private_value.to_bytes(SECRET_SIZE)
        point = p256.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        return scalar, point
    if algorithm == EDDSA_ED25519:
        edwards = ed25519.Ed25519PrivateKey.generate()
        return edwards.private_bytes_raw(), edwards.public_key().public_bytes_raw()
    raise ValueError(f"no host signing of {algorithm}")


def sign_on_host(algorithm: Algorithm, private_key: bytes, data: bytes) -> bytes:
    """Return r and s, 32 bytes each; ``data`` is a 32-byte digest, or Ed25519's message."""
    if algorithm == ECDSA_SECP256K1:
        return Secp256k1PrivateKey(private_key).sign_recoverable(data, hasher=None)[:64]
    if algorithm == ECDSA_SECP256R1:
        p256 = ec.derive_private_key(int.from_bytes(private_key), ec.SECP256R1())
        r, s = utils.decode_dss_signature(p256.sign(data, ec.ECDSA(utils.Prehashed(SHA256()))))
        return r.to_bytes(32) + s.to_bytes(32)
    if algorithm == EDDSA_ED25519:
        return ed25519.Ed25519PrivateKey.from_private_bytes(private_key).sign(data)
    raise ValueError(f"no host signing of {algorithm}")
