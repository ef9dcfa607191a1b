"""Ethereum's keystore, version 3 (Web3 Secret Storage Definition).

PBKDF2 and AES are those of cryptography, and scrypt and Keccak are those of pycryptodome. The
client library needs both anyway, and eth-keyfile would bring seven more packages. The scrypt of
OpenSSL, also in hashlib and cryptography, refuses n of 2^16 and more with r = 1 (RFC 7914, section
2), which the test vector of the definition has.
"""

import binascii
import hmac
from typing import Any

from Crypto.Protocol.KDF import scrypt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from custody.client.importing.costs import check_iterations, check_scrypt
from custody.client.importing.curves import SECRET_SIZE
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.private_key import PrivateKey, networks_of
from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.digests import keccak_256
from custody.wire.strict_json import NotStrictJson, parse_json

VERSION = 3
DERIVED_SIZE = 32
"""In bytes: 16 for AES-128, 16 for the MAC."""
IV_SIZE = 16


def read_keystore(data: bytes, password: bytes) -> PrivateKey:
    """Return the key of a keystore file. Raise BadPrivateKey.

    The MAC is checked before anything is decrypted, and the address afterwards if there is one.
    """
    document = _document(data)
    crypto = _object(document, "crypto" if "crypto" in document else "Crypto")
    _require(crypto, "cipher", "aes-128-ctr")
    iv = _hex(_object(crypto, "cipherparams"), "iv")
    ciphertext = _hex(crypto, "ciphertext")
    if len(iv) != IV_SIZE:
        raise _bad(f"cipherparams: iv has {len(iv)} bytes, not {IV_SIZE}")
    if len(ciphertext) != SECRET_SIZE:
        raise BadPrivateKey(
            KeyFault.WRONG_SIZE,
            f"a private key has {SECRET_SIZE} bytes, this file has one of {len(ciphertext)}: if "
            "leading zeros were cut off, open it with the wallet that made it, and export the key "
            "again",
        )
    derived = _derived(crypto, password)
    if not hmac.compare_digest(keccak_256(derived[16:] + ciphertext), _hex(crypto, "mac")):
        raise BadPrivateKey(
            KeyFault.WRONG_PASSWORD, "the MAC differs: the password is wrong or the file is damaged"
        )
    secret = Cipher(AES(derived[:16]), CTR(iv)).decryptor().update(ciphertext)
    key = PrivateKey(ECDSA_SECP256K1, secret, networks_of(Network.ETHEREUM))
    _check_address(document, key)
    return key


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = parse_json(data)
    except NotStrictJson as error:
        raise _bad(f"the file is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _bad("the file is not a JSON object")
    _require(document, "version", VERSION)
    return document


def _derived(crypto: dict[str, Any], password: bytes) -> bytes:
    parameters = _object(crypto, "kdfparams")
    salt = _hex(parameters, "salt")
    if _number(parameters, "dklen") < DERIVED_SIZE:
        raise _bad(f"kdfparams: dklen is below {DERIVED_SIZE}")
    if crypto.get("kdf") == "scrypt":
        n, r, p = (_number(parameters, name) for name in ("n", "r", "p"))
        check_scrypt(n, r, p)
        # The stubs of pycryptodome know only text, and several keys at once.
        return scrypt(password, salt, DERIVED_SIZE, n, r, p)  # type: ignore[arg-type, return-value]
    _require(crypto, "kdf", "pbkdf2")
    _require(parameters, "prf", "hmac-sha256")
    iterations = _number(parameters, "c")
    check_iterations(iterations)
    return PBKDF2HMAC(SHA256(), DERIVED_SIZE, salt, iterations).derive(password)


def _check_address(document: dict[str, Any], key: PrivateKey) -> None:
    claimed = document.get("address")
    if claimed is None:
        return
    address = address_of(Network.ETHEREUM, ECDSA_SECP256K1, key.public_key)
    if not isinstance(claimed, str) or claimed.lower().removeprefix("0x") != address.lower()[2:]:
        raise BadPrivateKey(
            KeyFault.PUBLIC_KEY_MISMATCH,
            f"the file names another address than that of its private key, {address}",
        )


def _require(found: dict[str, Any], name: str, only: str | int) -> None:
    """Raise BadPrivateKey unless a field has the only value that is supported."""
    if name not in found:
        raise _bad(f"{name} is missing")
    if found[name] != only or isinstance(found[name], bool):
        raise BadPrivateKey(KeyFault.UNSUPPORTED, f"{name}: only {only} is supported")


def _object(found: dict[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name)
    if not isinstance(value, dict):
        raise _bad(f"{name} is missing, or not a JSON object")
    return value


def _number(found: dict[str, Any], name: str) -> int:
    value = found.get(name)
    if type(value) is not int:
        raise _bad(f"{name} is missing, or not a whole number")
    return value


def _hex(found: dict[str, Any], name: str) -> bytes:
    value = found.get(name)
    try:
        return binascii.unhexlify(value if isinstance(value, str) else "-")
    except ValueError:
        raise _bad(f"{name} is missing, or not hex") from None


def _bad(reason: str) -> BadPrivateKey:
    return BadPrivateKey(KeyFault.BAD_FORMAT, reason)
