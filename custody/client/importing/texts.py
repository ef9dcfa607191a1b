"""Private keys as text: hex, Bitcoin's WIF and descriptors, and Solana's keypairs."""

import binascii
import hashlib
import re

from embit import base58
from embit.descriptor.checksum import add_checksum

from custody.client.importing.curves import SECRET_SIZE
from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.private_key import PrivateKey, networks_of
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Curve,
    Network,
)
from custody.wire.strict_json import NotStrictJson, parse_json

HEX_ALGORITHM = {
    Curve.SECP256K1: ECDSA_SECP256K1,
    Curve.SECP256R1: ECDSA_SECP256R1,
    Curve.ED25519: EDDSA_ED25519,
}
WIF_NETWORKS = {
    0x80: frozenset({Network.BITCOIN}),
    0xEF: networks_of(Network.BITCOIN) - {Network.BITCOIN},
}
"""By the first byte. All test networks have one byte."""
COMPRESSED = b"\x01"
CHECKSUM_SIZE = 4
MAX_BASE58 = 128
"""In characters. A keypair has 88; the time to decode grows with the square."""
KEYPAIR_SIZE = 2 * SECRET_SIZE
DESCRIPTOR_ALGORITHM = {"wpkh": ECDSA_SECP256K1, "rawtr": SCHNORR_SECP256K1}
"""By the function. The key of rawtr is an output key, which is never tweaked."""
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]*)", re.ASCII)
_DESCRIPTOR = re.compile(r"(([a-z]+)\(([0-9a-zA-Z]+)\))#[0-9a-z]{8}", re.ASCII)


def ascii_text(data: bytes) -> str:
    """Return text without the white space around it. Raise BadPrivateKey."""
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise BadPrivateKey(KeyFault.BAD_FORMAT, "the text has characters beyond ASCII") from None


def read_hex(data: bytes, curve: Curve) -> PrivateKey:
    """Return the key of 64 hex digits, after 0x or not: a scalar, or Ed25519's seed."""
    return PrivateKey(HEX_ALGORITHM[curve], _unhexed(data))


def read_ed25519_scalar(data: bytes) -> PrivateKey:
    """Return the key of 64 hex digits of a scalar, as mpc-recover writes an Ed25519 key."""
    return PrivateKey(EDDSA_ED25519, _unhexed(data), is_seedless=True)


def _unhexed(data: bytes) -> bytes:
    found = _HEX.fullmatch(ascii_text(data))
    if found is None:
        raise BadPrivateKey(KeyFault.BAD_FORMAT, "the text has characters that are not hex digits")
    digits = found[1]
    if len(digits) != 2 * SECRET_SIZE:
        raise BadPrivateKey(
            KeyFault.WRONG_SIZE,
            f"a private key has 64 hex digits (32 bytes), this text has {len(digits)}: leading "
            "zeros are part of the key, and a public key or a keypair has more digits",
        )
    return binascii.unhexlify(digits)


def read_wif(data: bytes) -> PrivateKey:
    """Return the key of Bitcoin's Wallet Import Format, for a compressed public key."""
    payload = _checked(_base58(ascii_text(data)))
    networks = WIF_NETWORKS.get(payload[0])
    if networks is None:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED, "the first byte (version) is not that of a private key of Bitcoin"
        )
    secret, flag = payload[1 : 1 + SECRET_SIZE], payload[1 + SECRET_SIZE :]
    if len(secret) != SECRET_SIZE or len(flag) > 1:
        raise BadPrivateKey(
            KeyFault.WRONG_SIZE,
            f"a WIF has 33 or 34 bytes, of which 32 are the key, this one has {len(payload)}",
        )
    if not flag:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED,
            "the WIF is for an uncompressed public key. Wallets of this service have compressed "
            "keys, so their addresses are not the one that this key was used for. First move the "
            "coins with the wallet that made the WIF",
        )
    if flag != COMPRESSED:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED,
            "the last byte is not 1: it names a type of address (BIP-178), or an unknown form",
        )
    return PrivateKey(ECDSA_SECP256K1, secret, networks)


def read_descriptor(data: bytes) -> PrivateKey:
    """Return the key of ``wpkh(WIF)`` or ``rawtr(WIF)`` with its checksum (BIP-380, BIP-382)."""
    text = ascii_text(data)
    found = _DESCRIPTOR.fullmatch(text)
    if found is None:
        raise BadPrivateKey(
            KeyFault.BAD_FORMAT,
            "the text is not a function of one private key as WIF, with # and a checksum",
        )
    content, function, wif = found.groups()
    if add_checksum(content) != text:
        raise _bad_checksum()
    if function not in DESCRIPTOR_ALGORITHM:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED, "the descriptor is of another function than wpkh or rawtr"
        )
    key = read_wif(wif.encode())
    return PrivateKey(DESCRIPTOR_ALGORITHM[function], key.secret, key.networks)


def read_solana(data: bytes) -> PrivateKey:
    """Return the key of a keypair: a JSON array of 64 numbers, or base58 of 64 bytes."""
    text = ascii_text(data)
    keypair = _json_bytes(text) if text.startswith("[") else _base58(text)
    if len(keypair) != KEYPAIR_SIZE:
        raise BadPrivateKey(
            KeyFault.WRONG_SIZE,
            f"a Solana keypair has {KEYPAIR_SIZE} bytes, seed and public key, not {len(keypair)}: "
            "32 bytes may be an address",
        )
    key = PrivateKey(EDDSA_ED25519, keypair[:SECRET_SIZE], networks_of(Network.SOLANA))
    if key.public_key != keypair[SECRET_SIZE:]:
        raise BadPrivateKey(
            KeyFault.PUBLIC_KEY_MISMATCH,
            "the last 32 bytes are not the public key of the first 32, the seed",
        )
    return key


def _json_bytes(text: str) -> bytes:
    try:
        numbers = parse_json(text.encode())
    except NotStrictJson:
        raise BadPrivateKey(KeyFault.BAD_FORMAT, "the text is not a JSON array") from None
    if not all(type(each) is int and 0 <= each <= 255 for each in numbers):
        raise BadPrivateKey(KeyFault.BAD_FORMAT, "the array has items that are not bytes, 0 to 255")
    return bytes(numbers)


def _base58(text: str) -> bytes:
    if not 0 < len(text) <= MAX_BASE58:
        raise BadPrivateKey(
            KeyFault.BAD_FORMAT,
            f"base58 of a key has 1 to {MAX_BASE58} characters, not {len(text)}",
        )
    try:
        return bytes(base58.decode(text))
    except ValueError:
        raise BadPrivateKey(
            KeyFault.BAD_FORMAT, "the text has characters that base58 does not have"
        ) from None


def _checked(decoded: bytes) -> bytes:
    """Return the payload of Base58Check, which is not empty. Raise BadPrivateKey."""
    payload, checksum = decoded[:-CHECKSUM_SIZE], decoded[-CHECKSUM_SIZE:]
    digest = hashlib.sha256(hashlib.sha256(payload).digest()).digest()
    if not payload or digest[:CHECKSUM_SIZE] != checksum:
        raise _bad_checksum()
    return payload


def _bad_checksum() -> BadPrivateKey:
    return BadPrivateKey(
        KeyFault.BAD_CHECKSUM, "the checksum is wrong: a character was changed or left out"
    )
