"""The forms of a private key that wallets import. Each is secret."""

import json
import os
from collections.abc import Callable
from enum import StrEnum
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)
from embit.descriptor.checksum import add_checksum
from embit.ec import PrivateKey as EmbitPrivateKey
from embit.networks import NETWORKS

from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1, Curve, Network, Scheme
from custody.wire.digests import keccak_256
from mpc.recover.private_key import PrivateKey

TEST_NETWORKS = (Network.BITCOIN_TESTNET4, Network.BITCOIN_SIGNET)
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**18, 8, 1
"""As Ethereum's wallets make their files: scrypt needs 256 MB and about a second."""


class Form(StrEnum):
    HEX = "hex"
    """The scalar, the most significant digit first."""
    WIF = "wif"
    """Bitcoin's Wallet Import Format."""
    DESCRIPTOR = "descriptor"
    """A Bitcoin output descriptor (BIP-380)."""
    PKCS8 = "pkcs8"
    """PEM, encrypted under a passphrase."""
    KEYSTORE = "keystore"
    """Ethereum's keystore V3, encrypted under a passphrase."""
    SOLANA = "solana"
    """Solana's keypair file, which needs a seed."""


ENCRYPTED = frozenset({Form.PKCS8, Form.KEYSTORE})
"""Forms under a passphrase."""


class NoSuchForm(ValueError):
    """The key does not exist in a form; the text says why, and which forms exist."""


def encode(key: PrivateKey, form: Form, passphrase: str) -> bytes:
    """Return the private key in a form, as the contents of a file. Raise NoSuchForm."""
    check_form(key, form)
    return _ENCODERS[form](key, passphrase)


def check_form(key: PrivateKey, form: Form) -> None:
    """Raise NoSuchForm if the key does not exist in the form."""
    if key.algorithm.curve is Curve.ED25519 and form is not Form.HEX:
        raise NoSuchForm(
            f"{key.algorithm} keys in shares have no {form.value} form: that form contains the "
            "seed from which an Ed25519 private key is hashed (RFC 8032, section 5.1.5), and a key "
            "made in shares is a scalar without a seed. Form hex exists, and the sign command "
            "signs with the scalar"
        )
    if form is Form.SOLANA:
        raise NoSuchForm(f"a Solana keypair is an Ed25519 key, and this is a {key.algorithm} key")
    if form is Form.KEYSTORE and key.algorithm != ECDSA_SECP256K1:
        raise NoSuchForm(f"Ethereum has no keys of {key.algorithm}: use wif, descriptor or hex")


def _hex(key: PrivateKey, _: str) -> bytes:
    return key.big_endian.hex().encode() + b"\n"


def _wif(key: PrivateKey, _: str) -> bytes:
    return _wif_text(key).encode() + b"\n"


def _wif_text(key: PrivateKey) -> str:
    """Return WIF for the compressed public key: version 0x80, or 0xEF for a test network's key."""
    version = NETWORKS["test" if key.network in TEST_NETWORKS else "main"]
    return str(EmbitPrivateKey(key.big_endian).wif(version))


def _descriptor(key: PrivateKey, _: str) -> bytes:
    """Return wpkh(), or rawtr() for an output key: tr() would tweak it a second time."""
    function = "rawtr" if key.algorithm.scheme is Scheme.SCHNORR else "wpkh"
    return str(add_checksum(f"{function}({_wif_text(key)})")).encode() + b"\n"


def _pkcs8(key: PrivateKey, passphrase: str) -> bytes:
    """RFC 5958, with the private key of SEC 1, section C.4."""
    private_key = ec.derive_private_key(key.scalar, ec.SECP256K1())
    encryption = BestAvailableEncryption(passphrase.encode())
    return private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _keystore(key: PrivateKey, passphrase: str) -> bytes:
    """Web3 Secret Storage Definition, version 3: scrypt, AES-128-CTR, and a Keccak-256 MAC."""
    salt, nonce = os.urandom(32), os.urandom(16)
    derived = Scrypt(salt, 32, SCRYPT_N, SCRYPT_R, SCRYPT_P).derive(passphrase.encode())
    ciphertext = Cipher(AES(derived[:16]), CTR(nonce)).encryptor().update(key.big_endian)
    address = address_of(Network.ETHEREUM, key.algorithm, key.public_key)
    keystore = {
        "version": 3,
        "id": str(uuid4()),
        "address": address.removeprefix("0x").lower(),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": nonce.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32,
                "n": SCRYPT_N,
                "r": SCRYPT_R,
                "p": SCRYPT_P,
                "salt": salt.hex(),
            },
            "mac": keccak_256(derived[16:32] + ciphertext).hex(),
        },
    }
    return json.dumps(keystore).encode() + b"\n"


_ENCODERS: dict[Form, Callable[[PrivateKey, str], bytes]] = {
    Form.HEX: _hex,
    Form.WIF: _wif,
    Form.DESCRIPTOR: _descriptor,
    Form.PKCS8: _pkcs8,
    Form.KEYSTORE: _keystore,
}
