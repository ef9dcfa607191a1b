"""Which attributes a key's unwrap template fixes, found by unwrapping. Workers only.

The trial is for a token that does not tell the template. The worker unwraps a key of its own once
for each attribute, with that attribute changed. A template that fixes the attribute makes the token
refuse the call.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from custody.pkcs11 import unwrap_template as ours
from custody.pkcs11.attacker import Attacker, CannotTry, StoredKey, answered, remove_left_over
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.extraction_of_stored_keys import NOT_OF_SECRETS, PRIVATE_TYPES, SECRET_TYPES
from custody.pkcs11.faults import destroy
from custody.pkcs11.master_key import MasterKey
from custody.pkcs11.messages import Hello
from custody.pkcs11.session_errors import is_refusal, name_of, raise_if_lost
from pkcs11 import DEFAULT, Attribute, KeyType, Mechanism, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error


@dataclass(frozen=True)
class Answer:
    """The answer to an attempt, for people.

    ``is_made``: the token answered, and an unwrap without a change worked before and after.
    """

    text: str
    is_made: bool = True


UNWRAPPED = Answer("unwrapped")
REFUSED = Answer("refused")
"""The token says that it cannot do this. Any other answer than these two is not certain."""
NO_TIME = Answer("no time", is_made=False)

Answers = Mapping[Attribute, tuple[Answer, ...]]
"""The answers by the attribute that the attempts change. Nothing is tried after UNWRAPPED."""


def try_template(
    session: Session,
    hello: Hello,
    master: MasterKey,
    ends: float,
    only: Collection[Attribute] | None = None,
) -> Answers:
    """Try whether the template of a key that wraps fixes each attribute.

    ``ends``: by the monotonic clock, when no more attempts begin. ``only``: the attributes to try;
    None for all. Raise PKCS11Error if the session is lost.
    """
    attempts = [each for each in _attempts() if only is None or each.attribute in only]
    with _writing(session, master) as (writing, key):
        if key is None:
            return _untried(attempts, "the token shows the key in no read-write session")
        remove_left_over(writing)
        attacker = Attacker(writing, hello, key, [])
        try:
            # A key of the database, or a proof, may have been chosen to have attempts refused. The
            # judged key wraps it: handles say nothing certain about a key in another session.
            stored = Attacker(session, hello, master, []).stored_key()
        except CannotTry as error:
            return _untried(attempts, str(error))
        except PKCS11Error as error:
            raise_if_lost(error)
            return _untried(attempts, f"{name_of(error)} while the token wrapped a key to try")
        return _Trial(attacker, stored, ends).answers(attempts)


@dataclass(frozen=True)
class _Attempt:
    """``attribute``: what the template must fix, so that the token refuses the attempt."""

    attribute: Attribute
    changes: Mapping[Attribute, Any]
    object_class: ObjectClass = ObjectClass.PRIVATE_KEY
    key_type: KeyType | None = None


_UNCHANGED = _Attempt(Attribute.CLASS, {})


@dataclass(frozen=True)
class _Trial:
    attacker: Attacker
    stored: StoredKey
    ends: float

    def answers(self, attempts: Iterable[_Attempt]) -> Answers:
        if (control := self._unwrap(_UNCHANGED)) != UNWRAPPED:
            return _untried(attempts, f"{control.text} without a change")
        found: dict[Attribute, tuple[Answer, ...]] = {}
        for attempt in attempts:
            before = found.get(attempt.attribute, ())
            if UNWRAPPED not in before and attempt.key_type is not self.stored.key_type:
                found[attempt.attribute] = (*before, self._answer(attempt))
        return found

    def _answer(self, attempt: _Attempt) -> Answer:
        if time.monotonic() > self.ends:
            return NO_TIME
        answer = self._unwrap(attempt)
        if answer in (UNWRAPPED, REFUSED):
            return answer
        if (control := self._unwrap(_UNCHANGED)) != UNWRAPPED:
            text = f"{answer.text}, then {control.text} without a change"
            return Answer(text, is_made=False)
        return answer

    def _unwrap(self, attempt: _Attempt) -> Answer:
        try:
            key = answered(
                partial(
                    self.attacker.unwrap,
                    self.stored,
                    attempt.changes,
                    attempt.object_class,
                    attempt.key_type,
                )
            )
        except PKCS11Error as error:
            raise_if_lost(error)
            return REFUSED if is_refusal(error) else Answer(name_of(error))
        destroy(key)
        return UNWRAPPED


def _untried(attempts: Iterable[_Attempt], why: str) -> Answers:
    return dict.fromkeys((each.attribute for each in attempts), (Answer(why, is_made=False),))


def _attempts() -> list[_Attempt]:
    opposite = [
        _Attempt(attribute, {attribute: not value})
        for attribute, value in ours.ATTRIBUTES.items()
        if isinstance(value, bool) and attribute is not Attribute.SIGN
    ]
    mechanisms = [*ours.SIGNING_MECHANISMS, Mechanism.ECDH1_DERIVE]
    return [
        *opposite,
        _Attempt(Attribute.ALLOWED_MECHANISMS, {Attribute.ALLOWED_MECHANISMS: mechanisms}),
        *(
            _Attempt(Attribute.CLASS, changes, ObjectClass.SECRET_KEY, key_type)
            for key_type in SECRET_TYPES
            for changes in ({}, {Attribute.SIGN_RECOVER: DEFAULT}, NOT_OF_SECRETS)
        ),
        *(_Attempt(Attribute.KEY_TYPE, {}, key_type=key_type) for key_type in PRIVATE_TYPES),
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
