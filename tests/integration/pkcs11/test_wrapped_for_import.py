"""What an application wraps for a token's import key: the token unwraps it, and signs with it.

The test unwraps with nothing of the driver, in the two steps of CKM_RSA_AES_KEY_WRAP.
"""

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.client.importing.pkcs8 import OPENSSL_CURVE
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.sealing import wrap
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1, EDDSA_ED25519, Algorithm
from custody.wire.imports import Wrapping
from custody.wire.points import GROUP_ORDER
from tests.integration.pkcs11.outside import run
from tests.providers.tokens import SOFTHSM, Tokens

DIGEST = hashlib.sha256(b"a message of an imported key").digest()
BITS = 2048
LEADING_ZEROS = (1, 2**240 + 1, 2**248 - 1)
WAYS = {
    # SoftHSM 2.6.1 has OAEP with SHA-1 only, and the older name of AES-KWP
    True: (Wrapping.RSA_OAEP_AES_KWP_SHA1, "SHA_1", "SHA1", "AES_KEY_WRAP_PAD"),
    False: (Wrapping.RSA_OAEP_AES_KWP_SHA256, "SHA256", "SHA256", "AES_KEY_WRAP_KWP"),
}

MAKE = f"""
session = token.open(rw=True, user_pin=pin)
public, _ = session.generate_keypair(
    KeyType.RSA, {BITS}, store=True, label="import",
    capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
)
print(json.dumps([public[Attribute.MODULUS].hex(), public[Attribute.PUBLIC_EXPONENT].hex()]))
"""
UNWRAP = """
from pkcs11 import MGF, Mechanism, ObjectClass
digest = bytes.fromhex(DIGEST)
session = token.open(rw=True, user_pin=pin)
rsa = session.get_key(ObjectClass.PRIVATE_KEY, label="import")
# python-pkcs11 would ask for these, which a private key of a curve does not have
others = dict.fromkeys((Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP), pkcs11.DEFAULT)
signatures = []
for wrapped in map(bytes.fromhex, WRAPPED):
    aes = rsa.unwrap_key(
        ObjectClass.SECRET_KEY, KeyType.AES, wrapped[:SIZE], mechanism=Mechanism.RSA_PKCS_OAEP,
        mechanism_param=(Mechanism[HASH], MGF[GENERATOR], None),
        capabilities=MechanismFlag.UNWRAP,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    key = aes.unwrap_key(
        ObjectClass.PRIVATE_KEY, KeyType[KEY_TYPE], wrapped[SIZE:], mechanism=Mechanism[KEY_WRAP],
        capabilities=MechanismFlag.SIGN,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, **others},
    )
    signatures.append(key.sign(digest, mechanism=Mechanism[SIGN]).hex())
print(json.dumps(signatures))
"""


@pytest.fixture
def import_key(empty_token: Tokens) -> bytes:
    """The public half of an RSA key on the token."""
    modulus, exponent = (int(number, 16) for number in run(empty_token, MAKE))
    public_key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed_inside(
    tokens: Tokens, provider: str, algorithm: Algorithm, wrapped: list[bytes]
) -> list[bytes]:
    """Signatures by the keys that the token has unwrapped."""
    _, hash_name, generator, key_wrap = WAYS[provider == SOFTHSM]
    is_edwards = algorithm == EDDSA_ED25519
    values: dict[str, Any] = {
        "WRAPPED": [each.hex() for each in wrapped],
        "DIGEST": DIGEST.hex(),
        "SIZE": BITS // 8,
        "HASH": hash_name,
        "GENERATOR": generator,
        "KEY_WRAP": key_wrap,
        "KEY_TYPE": "EC_EDWARDS" if is_edwards else "EC",
        "SIGN": "EDDSA" if is_edwards else "ECDSA",
    }
    settings = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    return [bytes.fromhex(each) for each in run(tokens, settings + UNWRAP)]


def verify(key: PrivateKey, signature: bytes) -> None:
    if key.algorithm == EDDSA_ED25519:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, DIGEST)
        return
    curve = OPENSSL_CURVE[key.algorithm]
    point = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.public_key)
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    point.verify(utils.encode_dss_signature(r, s), DIGEST, ec.ECDSA(utils.Prehashed(SHA256())))


@pytest.mark.each_provider
@pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param(ECDSA_SECP256K1, marks=pytest.mark.needs("secp256k1")),
        ECDSA_SECP256R1,
        pytest.param(EDDSA_ED25519, marks=pytest.mark.needs("ed25519 inside")),
    ],
    ids=str,
)
def test_the_token_unwraps_and_signs_also_with_leading_zeros(
    empty_token, provider, import_key, algorithm
):
    scalars = (*LEADING_ZEROS, GROUP_ORDER[algorithm.curve] - 1)
    keys = [PrivateKey(algorithm, scalar.to_bytes(32)) for scalar in scalars]
    wrapped = [wrap(key, WAYS[provider == SOFTHSM][0], import_key) for key in keys]
    signatures = signed_inside(empty_token, provider, algorithm, wrapped)
    for key, signature in zip(keys, signatures, strict=True):
        verify(key, signature)
