"""Whether a master key allows more than the keys that `master-key generate` makes. Workers only.

Anybody with the PIN can make a key inside the token that proves itself and that also decrypts, or
that unwraps stored keys as readable ones (docs/adr/0031). So each key is judged by all of its
attributes before it is used.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from custody.pkcs11 import key_proof, token_scheme, wrap_mechanisms
from custody.pkcs11 import unwrap_template as ours
from custody.pkcs11.attacker import Attacker, StoredKey, answered, remove_left_over
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.c_template import unwrap_template
from custody.pkcs11.extraction_of_stored_keys import NOT_OF_SECRETS, PRIVATE_TYPES, SECRET_TYPES
from custody.pkcs11.faults import destroy
from custody.pkcs11.login import CannotStart
from custody.pkcs11.master_key import MasterKey
from custody.pkcs11.master_key_making import strongest_key
from custody.pkcs11.messages import Hello, KeyProof
from custody.pkcs11.round_trip import Way
from custody.pkcs11.session_errors import is_refusal, raise_if_lost, raise_unless_refusal
from pkcs11 import DEFAULT, Attribute, Mechanism, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error

TRIAL_SECONDS = 10.0
"""After so long no more attributes of the unwrap template are tried: the rest counts as weak."""

_OWN = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
    # a key that was readable before, or whose original was, may be known to somebody
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
}
_USES = (
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)
_USES_TO_WRAP = (Attribute.WRAP, Attribute.UNWRAP)
_USES_TO_ENCRYPT = (Attribute.ENCRYPT, Attribute.DECRYPT)


def weaknesses(
    session: Session, hello: Hello, master: MasterKey, proof: KeyProof | None
) -> list[str]:
    """Return what the key allows, but the strongest key that this token makes does not allow.

    ``proof``: a private key that the master key unwraps. Raise PKCS11Error only if the session is
    lost.
    """
    found = _weaknesses(session, hello, master, proof, certain=False)
    if not found:
        return []
    try:
        key = strongest_key(session, is_host=master.is_host)
    except CannotStart:
        return found
    try:
        best = MasterKey(master.label, master.version, key, master.is_host)
        best_proof = None if master.is_host else key_proof.make_proof(session, best)
        inevitable = _weaknesses(session, hello, best, best_proof, certain=True)
    finally:
        destroy(key)
    return [weakness for weakness in found if weakness not in inevitable]


Tried = bool | None
"""Whether the token has unwrapped a key with a changed attribute; None if that is not certain."""


def _weaknesses(
    session: Session,
    hello: Hello,
    master: MasterKey,
    proof: KeyProof | None,
    *,
    certain: bool,
) -> list[str]:
    """Return what a key allows. With ``certain``, only what an attempt has shown."""
    found = [
        f"{attribute.name} is {'unknown' if value is None else str(value).lower()}"
        for attribute, wanted in _own_attributes(master).items()
        if (value := _read(master.key, attribute)) is not wanted
    ]
    allowed = {Mechanism.AES_GCM} if master.is_host else set(wrap_mechanisms.usable())
    mechanisms = _mechanisms(master.key)
    if not mechanisms or not mechanisms <= {int(each) for each in allowed}:
        found.append("ALLOWED_MECHANISMS has more than the driver uses")
    if not master.is_host:
        template = unwrap_template(hello.module, session, master.key)
        if template is not None:
            return found + _differences(template)
        tried = _tried(session, hello, master, proof)
        found += [
            weakness
            for weakness, answer in tried.items()
            if answer or (answer is None and not certain)
        ]
    return found


def _own_attributes(master: MasterKey) -> dict[Attribute, bool]:
    uses = _USES_TO_ENCRYPT if master.is_host else _USES_TO_WRAP
    return {**_OWN, **{use: False for use in _USES if use not in uses}}


def _read(key: Any, attribute: Attribute) -> bool | None:
    try:
        return bool(key[attribute])
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return None


def _mechanisms(key: Any) -> set[int]:
    try:
        return {int(each) for each in key[Attribute.ALLOWED_MECHANISMS]}
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return set()


def _differences(template: dict[int, bytes]) -> list[str]:
    """Compare a template that the token has told with ours."""
    mapper = NestedAttributeMapper()
    wanted = {
        attribute: {mapper.pack_attribute(attribute, value)}
        for attribute, value in ours.insisted_on([]).items()
    }
    wanted[Attribute.KEY_TYPE] = {
        mapper.pack_attribute(Attribute.KEY_TYPE, scheme.key_type)
        for scheme in token_scheme.SCHEMES.values()
    }
    return [
        _of_template(attribute)
        for attribute, values in wanted.items()
        if template.get(int(attribute)) not in values
    ]


def _of_template(attribute: Attribute) -> str:
    return f"the unwrap template does not fix {attribute.name}"


def _tried(
    session: Session, hello: Hello, master: MasterKey, proof: KeyProof | None
) -> dict[str, Tried]:
    """Unwrap the proof's key once for each attribute, with that attribute changed.

    An unwrap template that fixes the attribute makes the token refuse the call.
    """
    attempts = _attempts()
    mechanism = None if proof is None else wrap_mechanisms.of_stored_key(proof.mechanism)
    if proof is None or proof.algorithm is None or mechanism is None:
        return {_of_template(attribute): None for attribute, *_ in attempts}
    without = frozenset(Attribute[name] for name in proof.unwrapped_without)
    stored = StoredKey(Way(proof.algorithm, mechanism, without), proof.wrapped, b"")
    ends = time.monotonic() + TRIAL_SECONDS
    found: dict[str, Tried] = {}
    with _writing(session, master) as (writing, key):
        remove_left_over(writing)
        for attribute, *how in attempts:
            weakness = _of_template(attribute)
            if found.get(weakness) or how[-1] is stored.key_type:
                continue
            tried: Tried = None
            if key is not None and time.monotonic() <= ends:
                attacker = Attacker(writing, hello, key, [])
                tried = _unwraps(partial(attacker.unwrap, stored, *how))
            found[weakness] = max(found.get(weakness, False), tried, key=_WORST_LAST.index)
    return found


_WORST_LAST: tuple[Tried, ...] = (False, None, True)


def _unwraps(unwrap: Callable[[], Any]) -> Tried:
    try:
        destroy(answered(unwrap))
    except PKCS11Error as error:
        raise_if_lost(error)
        return False if is_refusal(error) else None
    return True


def _attempts() -> list[tuple[Any, ...]]:
    """Return the attribute that must be fixed, and the template, class and type of an attempt."""
    private = ObjectClass.PRIVATE_KEY
    opposite = [
        (attribute, {attribute: not value}, private, None)
        for attribute, value in ours.ATTRIBUTES.items()
        if isinstance(value, bool) and attribute is not Attribute.SIGN
    ]
    mechanisms = [*ours.SIGNING_MECHANISMS, Mechanism.ECDH1_DERIVE]
    return [
        *opposite,
        (
            Attribute.ALLOWED_MECHANISMS,
            {Attribute.ALLOWED_MECHANISMS: mechanisms},
            private,
            None,
        ),
        *(
            (Attribute.CLASS, changes, ObjectClass.SECRET_KEY, key_type)
            for key_type in SECRET_TYPES
            for changes in ({}, {Attribute.SIGN_RECOVER: DEFAULT}, NOT_OF_SECRETS)
        ),
        *((Attribute.KEY_TYPE, {}, private, key_type) for key_type in PRIVATE_TYPES),
    ]


@contextmanager
def _writing(session: Session, master: MasterKey) -> Iterator[tuple[Session, MasterKey | None]]:
    """Yield a session that may store objects, and the key in it; None if there is none.

    In a read-only session a token refuses to store a key, whatever the template says.
    """
    try:
        writing = session.token.open(rw=True, attribute_mapper=NestedAttributeMapper())
    except PKCS11Error as error:
        raise_if_lost(error)
        yield session, None
        return
    try:
        handle = getattr(master.key, "handle")  # noqa: B009 - missing in python-pkcs11's types
        keys = list(writing.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY}))
        same = [each for each in keys if getattr(each, "handle") == handle]  # noqa: B009
        key: Any = same[0] if same else None
        yield (
            writing,
            None if key is None else MasterKey(master.label, master.version, key, master.is_host),
        )
    finally:
        writing.close()
