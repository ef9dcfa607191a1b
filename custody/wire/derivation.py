"""Children of a secp256k1 key by public derivation: BIP-32, unhardened."""

import re
from collections.abc import Sequence

from embit.bip32 import HDKey
from embit.ec import PublicKey

from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.jobs import MAX_DEPTH
from custody.wire.public_keys import check_public_key

CHAIN_CODE_SIZE = 32
FIRST_HARDENED = 2**31
"""The first hardened child number, which needs the private key (BIP-32, "Extended keys")."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


def parse_path(text: str) -> tuple[int, ...]:
    """Return the child numbers of a path from a key to a child, as ``m/0/5``. Raise ValueError."""
    root, *numbers = text.split("/")
    if root != "m" or not 1 <= len(numbers) <= MAX_DEPTH:
        raise ValueError(f"a path is m/ and 1 to {MAX_DEPTH} child numbers, as m/0/5")
    return tuple(_child_number(number) for number in numbers)


def _child_number(text: str) -> int:
    if text[-1:] in ("'", "h", "H"):
        raise ValueError(
            f"child number {text} is hardened: children follow from public keys, unhardened"
        )
    if not _NUMBER.fullmatch(text) or int(text) >= FIRST_HARDENED:
        raise ValueError(f"child number {text!r} is not a number from 0 to {FIRST_HARDENED - 1}")
    return int(text)


def format_path(path: Sequence[int]) -> str:
    """Return the text that ``parse_path`` reads."""
    return "/".join(["m", *map(str, path)])


def child_public_key(public_key: bytes, chain_code: bytes, path: Sequence[int]) -> bytes:
    """Return a child's public key (33 bytes) from its ancestor's (33 bytes) and chain code (32).

    The function is CKDpub of BIP-32. Raise ValueError for an invalid key, chain code or path.
    """
    return _descendant(public_key, chain_code, path)[0]


def child_chain_code(public_key: bytes, chain_code: bytes, path: Sequence[int]) -> bytes:
    """Return the child's chain code. Raise ValueError as child_public_key does."""
    return _descendant(public_key, chain_code, path)[1]


def _descendant(public_key: bytes, chain_code: bytes, path: Sequence[int]) -> tuple[bytes, bytes]:
    check_public_key(ECDSA_SECP256K1, public_key)
    if len(chain_code) != CHAIN_CODE_SIZE:
        raise ValueError(f"a chain code has {CHAIN_CODE_SIZE} bytes, this one {len(chain_code)}")
    if len(path) > MAX_DEPTH or not all(0 <= number < FIRST_HARDENED for number in path):
        raise ValueError(
            f"{format_path(path)} is not an unhardened path of up to {MAX_DEPTH} child numbers"
        )
    child = HDKey(PublicKey.parse(public_key), chain_code).derive(path)
    return child.sec(), child.chain_code
