"""PKCS#8 and SEC 1, PEM and DER, encrypted or not: files of RFCs, of OpenSSL and of hand."""

import subprocess
import time
from base64 import b64decode, b64encode
from typing import Any

import pytest
from Crypto.IO import PKCS8
from Crypto.PublicKey import ECC
from Crypto.Util.asn1 import DerBitString, DerNull, DerObjectId, DerOctetString, DerSequence
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from custody.client.importing.der import sequence
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.formats import MAX_SIZE, KeyFormat, read_private_key
from custody.client.importing.pkcs8 import OPENSSL_CURVE, encode_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    HSM_ALGORITHMS,
    SCHNORR_SECP256K1,
    Algorithm,
)
from custody.wire.points import GROUP_ORDER
from tests.unit.client.importing.refusals import refused
from tests.unit.client.importing.second_opinion import check_signs

# RFC 8410, section 10.3: version 1, and version 2 with an attribute and the public key
RFC_8410_SEED = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842"
RFC_8410_PUBLIC = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1"
RFC_8410 = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""
RFC_8410_DER = b64decode("".join(RFC_8410.splitlines()[1:-1]))
RFC_8410_V2 = """-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
"""
# RFC 9500, section 2.3, testECCP256
RFC_9500 = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIObLW92AqkWunJXowVR2Z5/+yVPBaFHnEedDk5WJxk/BoAoGCCqGSM49
AwEHoUQDQgAEQiVI+I+3gv+17KN0RFLHKh5Vj71vc75eSOkyMsxFxbFsTNEMTLjV
uKFxOelIgsiZJXKZNCX0FBmrfpCkKklCcg==
-----END EC PRIVATE KEY-----
"""
CURVE_NAME = {ECDSA_SECP256K1: "secp256k1", ECDSA_SECP256R1: "prime256v1"}
CURVE_OID = {ECDSA_SECP256K1: "1.3.132.0.10", ECDSA_SECP256R1: "1.2.840.10045.3.1.7"}
PASSWORD = "correct horse battery"


def read(data: bytes | str, password: str | None = None) -> PrivateKey:
    return read_private_key(data, KeyFormat.PKCS8, password=password)


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(
        ["openssl", *arguments], input=given, capture_output=True, check=True
    ).stdout


def point(algorithm: Algorithm, scalar: int) -> bytes:
    public_key = ec.derive_private_key(scalar, OPENSSL_CURVE[algorithm]).public_key()
    return public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def by_hand(algorithm: Algorithm, octets: bytes, public_key: bytes | None = None) -> bytes:
    """PKCS#8, with octets and public key as given."""
    private_key = DerSequence([1, DerOctetString(octets)])
    if public_key is not None:
        private_key.append(DerBitString(public_key, explicit=1))
    identifier = DerSequence([DerObjectId("1.2.840.10045.2.1"), DerObjectId(CURVE_OID[algorithm])])
    return DerSequence([0, identifier, DerOctetString(private_key.encode())]).encode()


def test_the_keys_of_rfc_8410_are_read():
    for text in (RFC_8410, RFC_8410_V2):
        key = read(text)
        assert (key.algorithm, key.secret.hex()) == (EDDSA_ED25519, RFC_8410_SEED)
        assert key.public_key.hex() == RFC_8410_PUBLIC
        check_signs(key)


def test_the_key_of_rfc_9500_is_read():
    key = read(RFC_9500)
    assert key.algorithm == ECDSA_SECP256R1
    assert key.secret.hex() == "e6cb5bdd80aa45ae9c95e8c15476679ffec953c16851e711e743939589c64fc1"
    check_signs(key)


@pytest.mark.parametrize("algorithm", CURVE_NAME)
def test_what_openssl_makes_is_read(algorithm):
    """With the block EC PARAMETERS in front, as SEC 1, as PKCS#8, PEM and DER."""
    sec1 = openssl("ecparam", "-name", CURVE_NAME[algorithm], "-genkey")
    assert b"EC PARAMETERS" in sec1
    key = read(sec1)
    assert key.algorithm == algorithm
    check_signs(key)
    pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", given=sec1)
    assert b"BEGIN PRIVATE KEY" in pkcs8
    assert read(pkcs8) == key
    assert read(openssl("pkey", "-outform", "DER", given=sec1)) == key
    assert read(openssl("ec", "-outform", "DER", given=sec1)) == key


@pytest.mark.parametrize(
    "options",
    [
        ("-v2", "aes-256-cbc"),
        ("-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256", "-iter", "5000"),
        ("-scrypt",),
        ("-v1", "PBE-SHA1-3DES"),
    ],
    ids=" ".join,
)
def test_what_openssl_encrypts_is_read_with_the_password_alone(options):
    plain = openssl("genpkey", "-algorithm", "ed25519")
    data = openssl("pkcs8", "-topk8", "-passout", f"pass:{PASSWORD}", *options, given=plain)
    assert read(data, PASSWORD) == read(plain)
    der = openssl(
        "pkcs8", "-topk8", "-outform", "DER", "-passout", f"pass:{PASSWORD}", *options, given=plain
    )
    assert read(der, PASSWORD) == read(plain)
    refused(data, KeyFormat.PKCS8, KeyFault.PASSWORD_NEEDED)
    refused(data, KeyFormat.PKCS8, KeyFault.PASSWORD_NEEDED, password="")
    refused(data, KeyFormat.PKCS8, KeyFault.WRONG_PASSWORD, password=PASSWORD + "!")


def test_the_encryption_of_old_pem_files_is_read():
    plain = openssl("ecparam", "-name", "secp256k1", "-genkey", "-noout")
    data = openssl("ec", "-aes256", "-passout", f"pass:{PASSWORD}", given=plain)
    assert b"Proc-Type: 4,ENCRYPTED" in data
    assert read(data, PASSWORD) == read(plain)
    refused(data, KeyFormat.PKCS8, KeyFault.PASSWORD_NEEDED)
    refused(data, KeyFormat.PKCS8, KeyFault.WRONG_PASSWORD, password=PASSWORD + "!")


def test_a_password_for_a_file_that_is_not_encrypted_is_a_mistake():
    for text in (RFC_8410, RFC_9500):
        refused(text, KeyFormat.PKCS8, KeyFault.PASSWORD_NOT_NEEDED, password=PASSWORD)


@given(st.sampled_from(HSM_ALGORITHMS), st.data())
def test_what_is_written_is_read_here_and_by_another_library(algorithm, data):
    scalar = data.draw(st.integers(1, GROUP_ORDER[algorithm.curve] - 1))
    key = PrivateKey(algorithm, scalar.to_bytes(32))
    encoded = encode_pkcs8(key)
    assert read(encoded) == key
    _, private_key, _ = PKCS8.unwrap(encoded)
    assert key.secret in private_key
    if algorithm == ECDSA_SECP256R1:
        assert ECC.import_key(encoded).d == scalar
    if algorithm == EDDSA_ED25519:
        assert ECC.import_key(encoded).seed == key.secret


@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS)
def test_the_octets_of_the_number_keep_their_leading_zeros(algorithm):
    """SEC 1, section C.4: the size is that of the order."""
    key = PrivateKey(algorithm, (7).to_bytes(32))
    assert b"\x04\x20" + bytes(31) + b"\x07" in encode_pkcs8(key)


def test_there_is_no_pkcs8_of_a_schnorr_key():
    with pytest.raises(ValueError, match="no PKCS#8 of a key of Schnorr"):
        encode_pkcs8(PrivateKey(SCHNORR_SECP256K1, (7).to_bytes(32)))


@pytest.mark.parametrize("algorithm", CURVE_NAME)
@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_another_size_of_the_number_is_refused(algorithm, size):
    octets = (b"\x11" * size)[:size]
    refused(by_hand(algorithm, octets), KeyFormat.PKCS8, KeyFault.WRONG_SIZE, f"not {size}")


@pytest.mark.parametrize("algorithm", CURVE_NAME)
def test_numbers_at_the_limits_are_imported_or_refused(algorithm):
    order = GROUP_ORDER[algorithm.curve]
    for scalar in (1, order - 1):
        assert read(by_hand(algorithm, scalar.to_bytes(32))).scalar == scalar
    refused(by_hand(algorithm, bytes(32)), KeyFormat.PKCS8, KeyFault.OUT_OF_RANGE, "0 is not")
    for scalar in (order, 2**256 - 1):
        refused(by_hand(algorithm, scalar.to_bytes(32)), KeyFormat.PKCS8, KeyFault.OUT_OF_RANGE)


@pytest.mark.parametrize("algorithm", CURVE_NAME)
def test_the_public_key_inside_must_be_that_of_the_number(algorithm):
    octets = (5).to_bytes(32)
    assert read(by_hand(algorithm, octets, point(algorithm, 5))).scalar == 5
    other = by_hand(algorithm, octets, point(algorithm, 7))
    refused(other, KeyFormat.PKCS8, KeyFault.PUBLIC_KEY_MISMATCH)


def version_2(data: bytes, public_key: bytes) -> bytes:
    """RFC 5958's OneAsymmetricKey: [1] IMPLICIT BIT STRING."""
    elements: list[Any] = sequence(data)
    return DerSequence([1, *elements[1:], DerBitString(public_key, implicit=1)]).encode()


@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS)
def test_the_public_key_of_version_2_must_be_that_of_the_number(algorithm):
    key, other = (PrivateKey(algorithm, number.to_bytes(32)) for number in (5, 7))
    plain = encode_pkcs8(key)
    assert read(version_2(plain, key.public_key)) == key
    for wrong in (other.public_key, key.public_key[:-1], b""):
        refused(version_2(plain, wrong), KeyFormat.PKCS8, KeyFault.PUBLIC_KEY_MISMATCH)
    if algorithm in CURVE_NAME:
        assert read(version_2(plain, point(algorithm, 5))) == key


def test_a_seed_of_31_or_33_bytes_is_refused():
    for size in (31, 33):
        inner = DerOctetString(DerOctetString(b"\x11" * size).encode())
        data = DerSequence([0, DerSequence([DerObjectId("1.3.101.112")]), inner]).encode()
        refused(data, KeyFormat.PKCS8, KeyFault.BAD_FORMAT)


def test_pkcs8_that_ends_before_its_key_is_refused():
    whole: list[Any] = sequence(encode_pkcs8(PrivateKey(HSM_ALGORITHMS[0], (5).to_bytes(32))))
    data = DerSequence(whole[:2]).encode()
    refused(data, KeyFormat.PKCS8, KeyFault.BAD_FORMAT, "not a private key in PKCS#8")


def others() -> list[tuple[str, object]]:
    return [
        ("RSA", rsa.generate_private_key(65537, 2048)),
        ("P-384", ec.generate_private_key(ec.SECP384R1())),
        ("brainpool", ec.generate_private_key(ec.BrainpoolP256R1())),
        ("Ed448", ed448.Ed448PrivateKey.generate()),
    ]


@pytest.mark.parametrize(("name", "other"), others())
def test_keys_of_other_algorithms_are_refused(name, other):
    data = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    refused(data, KeyFormat.PKCS8, KeyFault.UNSUPPORTED, "not of secp256k1, P-256 or Ed25519")


def test_a_curve_without_a_name_is_refused():
    """Its parameters could name another base point (CVE-2020-0601)."""
    data = openssl("ecparam", "-name", "secp256k1", "-genkey", "-param_enc", "explicit")
    refused(data, KeyFormat.PKCS8, KeyFault.UNSUPPORTED)


def test_the_parameters_of_p256_are_taken_for_its_name_only_if_they_are_all_its_own():
    pem = openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-param_enc", "explicit")
    assert read_private_key(pem, KeyFormat.PKCS8).algorithm == ECDSA_SECP256R1
    der = b64decode(b"".join(pem.splitlines()[1:-1]))
    base_point, other = (point(ECDSA_SECP256R1, scalar) for scalar in (1, 2))
    assert der.count(base_point) == 1
    refused(der.replace(base_point, other), KeyFormat.PKCS8, KeyFault.UNSUPPORTED)


def test_other_pem_blocks_are_refused():
    key = ed25519.Ed25519PrivateKey.generate()
    openssh = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for data in (openssh, public_key):
        refused(data, KeyFormat.PKCS8, KeyFault.UNSUPPORTED, "PEM block")


@pytest.mark.parametrize(
    "text",
    [
        RFC_8410 + RFC_9500,
        RFC_8410.replace("-----END", "-----SEND"),
        RFC_8410.replace("END PRIVATE", "END EC PRIVATE"),
        RFC_8410 + "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_a_file_must_have_one_whole_private_key(text):
    refused(text, KeyFormat.PKCS8, KeyFault.BAD_FORMAT, "one private key")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0",
        "not a key",
        RFC_8410.replace("MC4C", "MC4!"),
        RFC_8410.replace("MC4C", "MC4D"),
        RFC_8410_DER[:-1],
        RFC_8410_DER + b"\0",
        b"\x30\x80",  # the indefinite length of BER
        b"\x30\x04\x30\x80\x04\x00",
        b"\x30\x08\x30\x04\x06\x00\x05\x00\x04\x00",
        b"\x30\x09\x02\x01\x01\x30\x00\x04\x00\x81\x00",
        DerSequence([]).encode(),
        DerSequence([0]).encode(),
        DerSequence([DerSequence([1, 2]), 3]).encode(),
        DerSequence([DerSequence([DerObjectId("1.2.3")]), DerOctetString(b"")]).encode(),
    ],
)
def test_other_data_is_refused(data):
    refused(data, KeyFormat.PKCS8, KeyFault.BAD_FORMAT)


def encrypted(encryption: KeySerializationEncryption) -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, encryption)


def with_derivation(derivation: str, *parameters: Any) -> bytes:
    """EncryptedPrivateKeyInfo of PBES2, with these parameters of the key derivation."""
    kdf = DerSequence([DerObjectId(derivation), DerSequence(list(parameters))])
    cipher = DerSequence([DerObjectId("2.16.840.1.101.3.4.1.42"), DerOctetString(bytes(16))])
    scheme = DerSequence([DerObjectId("1.2.840.113549.1.5.13"), DerSequence([kdf, cipher])])
    return DerSequence([scheme, DerOctetString(bytes(48))]).encode()


SCRYPT, PBKDF2 = "1.3.6.1.4.1.11591.4.11", "1.2.840.113549.1.5.12"
SALT = DerOctetString(bytes(8))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (with_derivation(SCRYPT, SALT, 2**20, 8, 1), KeyFault.TOO_COSTLY),
        (with_derivation(SCRYPT, SALT, 2**14, 127, 127), KeyFault.TOO_COSTLY),
        (with_derivation(SCRYPT, SALT, 2**20000, 8, 1), KeyFault.TOO_COSTLY),
        (with_derivation(SCRYPT, SALT, 3, 8, 1), KeyFault.BAD_FORMAT),
        (with_derivation(SCRYPT, SALT, 16), KeyFault.BAD_FORMAT),
        (with_derivation(PBKDF2, SALT, 10_000_001), KeyFault.TOO_COSTLY),
        (with_derivation(PBKDF2, SALT, 2**20000), KeyFault.TOO_COSTLY),
        (with_derivation(PBKDF2, SALT, 0), KeyFault.BAD_FORMAT),
        (with_derivation(PBKDF2, SALT), KeyFault.BAD_FORMAT),
        (with_derivation("1.2.3.4", SALT, 1), KeyFault.UNSUPPORTED),
    ],
)
def test_a_file_cannot_ask_for_all_memory_or_for_hours(data, code):
    """OpenSSL's library mixes 2^14 blocks of r and p 127 for 50 seconds."""
    begun = time.monotonic()
    refused(data, KeyFormat.PKCS8, code, password=PASSWORD)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("label", ["ENCRYPTED PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"])
@pytest.mark.parametrize(
    "header",
    [
        "X: Proc-Type\n\n",
        "Proc-Type: 4,MIC-CLEAR\n\n",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC," + "0" * 32 + "\n\n",
        "Comment: x\nProc-Type: 4,MIC-CLEAR\n\n",
    ],
)
def test_no_header_of_a_pem_file_lifts_the_limit_of_the_cost(label, header):
    """Fifty million rounds take many seconds."""
    content = b64encode(with_derivation(PBKDF2, SALT, 50_000_000)).decode()
    text = f"-----BEGIN {label}-----\n{header}{content}\n-----END {label}-----\n"
    begun = time.monotonic()
    with pytest.raises(BadPrivateKey):
        read(text, PASSWORD)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("begin", [b"-----BEGIN A-----", b"-----BEGIN A"])
def test_the_ends_of_many_blocks_are_not_searched_for(begin):
    """For each of 64 KiB of begins, that takes seconds."""
    data = begin * (MAX_SIZE // len(begin))
    begun = time.process_time()
    refused(data, KeyFormat.PKCS8, KeyFault.BAD_FORMAT, "one private key")
    assert time.process_time() - begun < 0.5


def rsa_key(bits: int) -> bytes:
    """PKCS#8 of numbers like those of an RSA key. The two that should be prime have no factor 3."""
    p, q = (1 << bits // 2) - 3, (1 << bits // 2) - 5
    p, q = (each if each % 3 else each - 2 for each in (p, q))
    numbers = [0, p * q, 65537, p * q - 2, p, q, p - 2, q - 2, p - 4]
    oid = DerSequence([DerObjectId("1.2.840.113549.1.1.1"), DerNull()])
    return DerSequence([0, oid, DerOctetString(DerSequence(numbers).encode())]).encode()


@pytest.mark.parametrize("kind", ["DER", "PRIVATE KEY", "EC PRIVATE KEY"])
def test_the_primes_of_a_huge_rsa_key_are_not_checked(kind):
    data = rsa_key(100_000)
    if kind != "DER":
        header = "Proc-Type: 4,MIC-CLEAR\n\n" if kind.startswith("EC") else ""
        content = f"{header}{b64encode(data[: MAX_SIZE // 2]).decode()}"
        data = f"-----BEGIN {kind}-----\n{content}\n-----END {kind}-----\n".encode()
    refused(data, KeyFormat.PKCS8, KeyFault.BAD_FORMAT, "at most 4096 bytes")


def test_the_costs_of_the_older_schemes_are_limited_too():
    pbe = DerSequence([DerObjectId("1.2.840.113549.1.12.1.3"), DerSequence([SALT, 10_000_001])])
    data = DerSequence([pbe, DerOctetString(bytes(48))]).encode()
    refused(data, KeyFormat.PKCS8, KeyFault.TOO_COSTLY, password=PASSWORD)


def test_a_scheme_that_is_unknown_is_refused():
    scheme = DerSequence([DerObjectId("1.2.3.4"), DerSequence([SALT, 1])])
    data = DerSequence([scheme, DerOctetString(bytes(48))]).encode()
    refused(data, KeyFormat.PKCS8, KeyFault.UNSUPPORTED, "encrypted in a way", password=PASSWORD)


def test_a_damaged_file_is_refused():
    data = encrypted(BestAvailableEncryption(PASSWORD.encode()))
    assert read(data, PASSWORD)
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    refused(damaged, KeyFormat.PKCS8, KeyFault.WRONG_PASSWORD, "damaged", password=PASSWORD)
