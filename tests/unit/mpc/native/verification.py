"""Signatures are checked by libraries that share no code with the crate."""

import coincurve
import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from embit import ec as embit_ec

from tests.unit.mpc.native.keys import DKLS, ED25519

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def is_valid(protocol: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    if protocol == DKLS:
        return is_ecdsa_valid(public_key, message, signature)
    if protocol == ED25519:
        return is_eddsa_valid(public_key, message, signature)
    return is_schnorr_valid(public_key, message, signature)


def is_ecdsa_valid(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """By libsecp256k1, which recovers the key, and by OpenSSL."""
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
    recovered = coincurve.PublicKey.from_signature_and_message(signature, digest, hasher=None)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public_key)
    try:
        key.verify(
            utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        )
    except InvalidSignature:
        return False
    return len(signature) == 65 and recovered.format() == public_key and s <= ORDER // 2


def is_eddsa_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        nacl.signing.VerifyKey(public_key).verify(message, signature)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


def is_schnorr_valid(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """By libsecp256k1, twice: through coincurve and through embit."""
    ours = embit_ec.PublicKey.from_xonly(public_key)
    theirs = embit_ec.SchnorrSig(signature)
    return bool(
        coincurve.PublicKeyXOnly(public_key).verify(signature, digest)
        and ours.schnorr_verify(theirs, digest)
    )
