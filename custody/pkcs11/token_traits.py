"""What differs between the tokens of several vendors, as the configuration says it (ADR 34)."""

import shlex
from dataclasses import dataclass
from typing import Literal

STANDARD_MECHANISMS = {
    # RFC 5649. SoftHSM 2 has it under the second name, which is deprecated for its ambiguity.
    "AES_KEY_WRAP_KWP": 0x210B,
    "AES_KEY_WRAP_PAD": 0x210A,
    # RFC 3394: only where the encoding's length is a multiple of 8.
    "AES_KEY_WRAP": 0x2109,
}
"""Wrap mechanisms of PKCS#11 3.1, section 6.13, in the order of trial."""
FIRST_OF_VENDORS = 0x80000000
"""CKM_VENDOR_DEFINED: from here on, numbers mean what the vendor says (PKCS#11 3.1)."""
LAST_OF_VENDORS = 0xFFFFFFFF

Sessions = Literal["read-only", "read-write"]
Hardening = Literal["MODIFIABLE", "COPYABLE", "UNWRAP_TEMPLATE", "ALLOWED_MECHANISMS"]
GcmIv = Literal["driver", "token"]
Login = Literal["user", "protected-path", "none"]

LOST_WITHOUT: dict[Hardening, str] = {
    "MODIFIABLE": "the holder of the PIN can let the master key decrypt, and so read stored keys",
    "COPYABLE": "the holder of the PIN can copy the master key, with other attributes",
    "UNWRAP_TEMPLATE": "the holder of the PIN can unwrap a stored key as one that can be read",
    "ALLOWED_MECHANISMS": "the master key can be used by mechanisms that detect no changed key",
}
"""What a master key loses without each of its hardening attributes."""


@dataclass(frozen=True)
class TokenTraits:
    """How to use this token where tokens differ.

    ``slot``, ``token_serial``: tell tokens with one label apart. ``wrap_mechanisms``: for new keys,
    in order of trial, as ``wrap_mechanism_name`` returns them; empty for the standard ones.
    ``sessions``: of the workers that sign. ``master_key_without``: attributes that new master keys
    do not get. ``login``: with a PIN from here, with one that a person enters at the token, or not
    at all. ``gcm_iv``: who chooses the IV of AES-GCM. ``wrap_with_trusted``: unwrapped keys get
    CKA_WRAP_WITH_TRUSTED.
    """

    slot: int | None = None
    token_serial: str | None = None
    wrap_mechanisms: tuple[str, ...] = ()
    sessions: Sessions = "read-only"
    master_key_without: tuple[Hardening, ...] = ()
    login: Login = "user"
    gcm_iv: GcmIv = "driver"
    wrap_with_trusted: bool = False


DEFAULT_TRAITS = TokenTraits()


def token_name(label: str, serial: str | None, slot: int | None) -> str:
    """Return a token's label, and what tells this token from others with this label."""
    parts = [label]
    if serial is not None:
        parts.append(f"serial {serial}")
    if slot is not None:
        parts.append(f"slot {slot}")
    return ", ".join(parts)


def retry_pin(name: str) -> str:
    """Return the command that lets the refused PIN of the token of this name be tried again."""
    return f"master-key check --token {shlex.quote(name)} --retry-pin"


def wrap_mechanism_name(value: str | int) -> str:
    """Return the name by which the database has a wrap mechanism. Raise ValueError.

    ``value``: a name of the standard, with or without CKM_, or a number, also as text like
    0x80000171. A vendor's mechanism is named by its number.
    """
    if isinstance(value, str):
        name = value.removeprefix("CKM_")
        if name in STANDARD_MECHANISMS:
            return name
    try:
        number = int(value, 16) if isinstance(value, str) and value[:2] == "0x" else int(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a wrap mechanism: {_WAYS_TO_NAME}") from None
    for name, standard in STANDARD_MECHANISMS.items():
        if number == standard:
            return name
    if not FIRST_OF_VENDORS <= number <= LAST_OF_VENDORS:
        raise ValueError(f"{value!r} is not a mechanism that wraps AES keys: {_WAYS_TO_NAME}")
    return f"{number:#010x}"


_WAYS_TO_NAME = (
    f"give {', '.join(STANDARD_MECHANISMS)}, or the vendor's number from 0x80000000 on, such as "
    "0x80000171"
)


class TraitsInUse:
    """The traits of this process's token. A worker has one token, for its whole life."""

    traits = DEFAULT_TRAITS


def use(traits: TokenTraits) -> None:
    """Set the traits of this process's token: the first thing that a worker does."""
    TraitsInUse.traits = traits


def in_use() -> TokenTraits:
    """Return the traits of this process's token."""
    return TraitsInUse.traits
