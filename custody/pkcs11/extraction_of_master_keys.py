"""Attempts to take a master key out, or to have it do more than it is for. Workers only.

Each says how it succeeded, or raises Refused or PKCS11Error.
"""

from collections.abc import Mapping
from functools import partial

from custody.pkcs11.attacker import (
    Attacker,
    change,
    copy,
    first_that_works,
    forced,
    read_secret_of,
    words,
)
from custody.pkcs11.master_key import MasterKey
from pkcs11 import Attribute, Mechanism

LOOSENED: tuple[Mapping[Attribute, bool], ...] = (
    {Attribute.DECRYPT: True},
    {Attribute.EXTRACTABLE: True},
    {Attribute.SENSITIVE: False},
    {Attribute.MODIFIABLE: True},
)
DECRYPT_MECHANISMS = (
    Mechanism.AES_ECB,
    Mechanism.AES_KEY_WRAP,
    Mechanism.AES_KEY_WRAP_PAD,
    Mechanism.AES_KEY_WRAP_KWP,
)
AES_BLOCK = 16


def read_master_key(attacker: Attacker) -> str:
    return first_that_works((master.name, partial(_read, master)) for master in attacker.masters)


def _read(master: MasterKey) -> None:
    read_secret_of(master.key)


def wrap_master_key(attacker: Attacker) -> str:
    own = attacker.own_key()
    try:
        return first_that_works(
            (master.name, partial(own.wrap_key, master.key, mechanism=Mechanism.AES_KEY_WRAP))
            for master in attacker.masters
        )
    finally:
        own.destroy()


def change_master_key(attacker: Attacker) -> str:
    return first_that_works(
        (f"{master.name} with {words(changes)}", partial(change, master.key, changes))
        for master in attacker.masters
        for changes in _loosened(master)
    )


def copy_master_key(attacker: Attacker) -> str:
    return first_that_works(
        (
            f"{master.name} with {words(changes)}",
            partial(copy, master.key, {**changes, Attribute.TOKEN: False}),
        )
        for master in attacker.masters
        for changes in _loosened(master)
    )


def _loosened(master: MasterKey) -> list[Mapping[Attribute, bool]]:
    """Return the changes to try. A host key may decrypt: that is its use."""
    return [
        changes for changes in LOOSENED if not (master.is_host and Attribute.DECRYPT in changes)
    ]


def decrypt_stored_key(attacker: Attacker) -> str:
    wrapped = attacker.stored_key().wrapped
    key = forced(attacker.wrapping.key, "DecryptMixin")
    blocks = wrapped[: len(wrapped) - len(wrapped) % AES_BLOCK]
    return first_that_works(
        (
            mechanism.name,
            partial(
                key.decrypt,
                blocks if mechanism is Mechanism.AES_ECB else wrapped,
                mechanism=mechanism,
            ),
        )
        for mechanism in DECRYPT_MECHANISMS
    )
