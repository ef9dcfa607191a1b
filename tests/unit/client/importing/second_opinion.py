"""Whether a private key signs for its public key, according to two libraries."""

import hashlib

from buidl.ecc import S256Point, SchnorrSignature
from coincurve import PrivateKey as Secp256k1PrivateKey
from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from eth_keys import datatypes as eth_keys
from nacl.signing import SigningKey
from solders.pubkey import Pubkey
from solders.signature import Signature as SolanaSignature

from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
)

MESSAGE = b"a message that an imported key signs"
DIGEST = hashlib.sha256(MESSAGE).digest()


def check_signs(key: PrivateKey) -> None:
    """Sign with one library, and verify under the key's public key with another."""
    CHECKS[key.algorithm](key)


def _ecdsa_secp256k1(key: PrivateKey) -> None:
    signature = Secp256k1PrivateKey(key.secret).sign_recoverable(DIGEST, hasher=None)
    found = eth_keys.Signature(signature).recover_public_key_from_msg_hash(DIGEST)
    assert found.to_compressed_bytes() == key.public_key


def _schnorr(key: PrivateKey) -> None:
    signature = SchnorrSignature.parse(Secp256k1PrivateKey(key.secret).sign_schnorr(DIGEST))
    assert S256Point.parse_bip340(key.public_key).verify_schnorr(DIGEST, signature)
    assert Secp256k1PrivateKey(key.secret).public_key.format()[0] == 2, "y is odd"


def _p256(key: PrivateKey) -> None:
    private_key = ec.derive_private_key(int.from_bytes(key.secret), ec.SECP256R1())
    signature = private_key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    point = ECC.import_key(key.public_key, curve_name="P-256")
    DSS.new(point, "fips-186-3", encoding="der").verify(SHA256.new(MESSAGE), signature)


def _ed25519(key: PrivateKey) -> None:
    signature = SigningKey(key.secret).sign(MESSAGE).signature
    address = Pubkey.from_bytes(key.public_key)
    assert SolanaSignature.from_bytes(signature).verify(address, MESSAGE)


CHECKS = {
    ECDSA_SECP256K1: _ecdsa_secp256k1,
    ECDSA_SECP256R1: _p256,
    EDDSA_ED25519: _ed25519,
    SCHNORR_SECP256K1: _schnorr,
}
