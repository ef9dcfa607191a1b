"""The attributes of a stored key while it is unwrapped.

A master key carries these attributes as its CKA_UNWRAP_TEMPLATE (PKCS#11 3.1, section 4.10), so
that the token refuses to unwrap a stored key as anything else. The driver unwraps with the same
ones: SoftHSM refuses a call that leaves one of them out.
"""

from collections.abc import Collection, Iterable
from typing import Any

import pkcs11
from custody.pkcs11.token_traits import in_use
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

SIGNING_MECHANISMS = (Mechanism.ECDSA, Mechanism.EDDSA)
"""One list for every key: a token compares it byte by byte with that of the master key."""

ATTRIBUTES: dict[Attribute, Any] = {
    Attribute.TOKEN: False,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.DERIVE: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.SIGN: True,
    Attribute.SIGN_RECOVER: False,
    Attribute.COPYABLE: False,
    Attribute.ALLOWED_MECHANISMS: SIGNING_MECHANISMS,
    # The last one: SoftHSM accepts no attribute of an object after this one.
    Attribute.MODIFIABLE: False,
}
ALWAYS = (Attribute.TOKEN, Attribute.PRIVATE, Attribute.SENSITIVE, Attribute.EXTRACTABLE)
"""Every token knows these. The others are left out for a token that refuses them."""
_OPTIONAL = tuple(attribute for attribute in ATTRIBUTES if attribute not in ALWAYS)

NOT_OF_PRIVATE_KEYS: dict[Attribute, Any] = {
    # python-pkcs11 would ask for these, which a private EC key does not have
    Attribute.ENCRYPT: pkcs11.DEFAULT,
    Attribute.VERIFY: pkcs11.DEFAULT,
    Attribute.WRAP: pkcs11.DEFAULT,
}


def call_template(without: Collection[Attribute] = ()) -> dict[Attribute, Any]:
    """Return the template of an unwrap call; ``without``: attributes that this token refuses."""
    left_out = dict.fromkeys(without, pkcs11.DEFAULT)
    more = {Attribute.WRAP_WITH_TRUSTED: True} if in_use().wrap_with_trusted else {}
    return {**NOT_OF_PRIVATE_KEYS, **more, **ATTRIBUTES, **left_out}


def extractable_template(without: Collection[Attribute] = ()) -> dict[Attribute, Any]:
    """Return the template with which a key is unwrapped to be wrapped by another master key.

    CKA_WRAP_WITH_TRUSTED is left out: no master key of ours is trusted (docs/adr/0034).
    """
    template = call_template({*without, Attribute.WRAP_WITH_TRUSTED})
    return template | {Attribute.EXTRACTABLE: True}


def optional() -> tuple[Attribute, ...]:
    """Return the attributes that are left out for a token that refuses them."""
    more = (Attribute.WRAP_WITH_TRUSTED,) if in_use().wrap_with_trusted else ()
    return (*more, *_OPTIONAL)


def left_out(names: Iterable[str]) -> frozenset[Attribute]:
    """Return the attributes of these names. Raise ValueError if one is never left out."""
    possible = {each.name: each for each in (Attribute.WRAP_WITH_TRUSTED, *_OPTIONAL)}
    if unknown := sorted(set(names) - possible.keys()):
        raise ValueError(f"no key is unwrapped without {', '.join(unknown)}")
    return frozenset(possible[name] for name in names)


def insisted_on(key_types: Collection[KeyType]) -> dict[Attribute, Any]:
    """Return the unwrap template of a new master key.

    ``key_types``: of the keys that this token wraps. CKA_KEY_TYPE has one value, so it is in the
    template only where the token wraps keys of one type (docs/adr/0019).
    """
    types = set(key_types)
    key_type = {Attribute.KEY_TYPE: types.pop()} if len(types) == 1 else {}
    return {Attribute.CLASS: ObjectClass.PRIVATE_KEY, **key_type, **ATTRIBUTES}
