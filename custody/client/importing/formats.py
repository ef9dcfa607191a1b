"""The formats in which a private key can be imported."""

from enum import StrEnum

from custody.client.importing.faults import BadPrivateKey, KeyFault
from custody.client.importing.keystore import read_keystore
from custody.client.importing.pkcs8 import read_pkcs8
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.texts import (
    read_descriptor,
    read_ed25519_scalar,
    read_hex,
    read_solana,
    read_wif,
)
from custody.wire.algorithms import Curve

MAX_SIZE = 64 * 1024
"""Of the data, in bytes."""


class KeyFormat(StrEnum):
    """The names are those of ``mpc-recover recover --form``, but for ``ed25519-scalar``."""

    HEX = "hex"
    """32 bytes: a scalar, or Ed25519's seed. It does not say of which curve."""
    ED25519_SCALAR = "ed25519-scalar"
    """32 bytes as hex: an Ed25519 key without a seed, which only signers take in. It is the hex
    that mpc-recover writes.
    """
    WIF = "wif"
    """Bitcoin's Wallet Import Format."""
    DESCRIPTOR = "descriptor"
    """Bitcoin's output descriptors (BIP-380) ``wpkh(WIF)`` and ``rawtr(WIF)``."""
    PKCS8 = "pkcs8"
    """PEM or DER of RFC 5958, or of SEC 1 ("EC PRIVATE KEY"), also encrypted."""
    KEYSTORE = "keystore"
    """Ethereum's keystore, version 3, encrypted."""
    SOLANA = "solana"
    """A keypair: the JSON of Solana's command line, or the base58 of wallets."""


_READERS = {
    KeyFormat.ED25519_SCALAR: read_ed25519_scalar,
    KeyFormat.WIF: read_wif,
    KeyFormat.DESCRIPTOR: read_descriptor,
    KeyFormat.SOLANA: read_solana,
}
"""The formats that need neither a password nor a curve."""


def read_private_key(
    data: bytes | str,
    format: KeyFormat,
    *,
    curve: Curve | None = None,
    password: str | None = None,
    public_key: bytes | None = None,
) -> PrivateKey:
    """Return the private key in the data. Raise BadPrivateKey, and ValueError for another format.

    ``curve``: needed for hex; for other formats the key must be of this curve, if it is given.
    ``password``: for encrypted data alone, used as UTF-8. ``public_key``: the key must have this
    public key, in the encoding of its algorithm. Give it for hex and for ed25519-scalar, which have
    no checksum.
    """
    try:
        key = _read(_bytes(data), KeyFormat(format), curve, password)
        if curve not in (None, key.algorithm.curve):
            raise BadPrivateKey(
                KeyFault.UNSUPPORTED, f"the private key is of {key.algorithm.curve.value}"
            )
        if public_key is not None:
            key.require_public_key(public_key)
    except BadPrivateKey as fault:
        # What a parser raised before may show the data. Error reports show it with this error.
        fault.__context__ = None
        raise
    return key


def _read(data: bytes, form: KeyFormat, curve: Curve | None, password: str | None) -> PrivateKey:
    secret = None if password is None else _utf8(password)
    if form is KeyFormat.PKCS8:
        return read_pkcs8(data, secret)
    if form is KeyFormat.KEYSTORE:
        if secret is None:
            raise BadPrivateKey(KeyFault.PASSWORD_NEEDED, "a keystore is always encrypted")
        return read_keystore(data, secret)
    if secret is not None:
        raise BadPrivateKey(
            KeyFault.PASSWORD_NOT_NEEDED, f"{form.value} is not encrypted: give no password"
        )
    if form in _READERS:
        return _READERS[form](data)
    if curve is None:
        raise BadPrivateKey(
            KeyFault.UNSUPPORTED, "hex does not say of which curve the key is: give the curve"
        )
    return read_hex(data, curve)


def _bytes(data: bytes | str) -> bytes:
    if len(data) > MAX_SIZE:
        raise BadPrivateKey(KeyFault.BAD_FORMAT, f"the data has more than {MAX_SIZE // 1024} KiB")
    return _utf8(data) if isinstance(data, str) else data


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadPrivateKey(
            KeyFault.BAD_FORMAT, "the text or the password has half a surrogate pair"
        ) from None
