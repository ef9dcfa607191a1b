"""Whether a token makes a copy of a loose key that passes for one of our master keys. Workers only.

Both keys have one value. The judgement (strength.py) sees only the copy, and the person who made
both unwraps stored keys by the loose key as readable ones.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from custody.pkcs11.attacker import LABEL
from custody.pkcs11.faults import destroy
from custody.pkcs11.login import CannotStart
from custody.pkcs11.master_key import MasterKey, passing_wrapping_key
from custody.pkcs11.master_key_making import strongest_template
from custody.pkcs11.messages import TWIN_STEP, Hello, Outcome, TriedStep
from custody.pkcs11.session_errors import name_of, raise_if_lost
from custody.pkcs11.strength import trials_end, weaknesses
from pkcs11 import Attribute, Session
from pkcs11.exceptions import PKCS11Error

POSSIBLE = (
    "the token makes a copy of a key without an unwrap template that passes for one of ours: only "
    "check values that you noted tell our keys from others"
)

_LAST = (Attribute.COPYABLE, Attribute.MODIFIABLE)
"""What the holder of the PIN sets after the copy, where a token refuses it in the copy."""

Template = Mapping[Attribute, Any]


def steps(session: Session, hello: Hello) -> Iterator[TriedStep]:
    """Try each way to make the copy. Raise PKCS11Error if the session is lost."""
    try:
        wanted = strongest_template(session)
    except CannotStart as error:
        yield TriedStep(name=TWIN_STEP, outcome=Outcome.SAID, detail=f"not tried: {error.what}")
        return
    answers = []
    for way in (_at_once, _in_two_steps):
        answer = _answer(session, hello, wanted, way)
        if answer is None:
            yield TriedStep(name=TWIN_STEP, outcome=Outcome.SAID, detail=POSSIBLE)
            return
        answers.append(answer)
    detail = f"not possible: {'; '.join(dict.fromkeys(answers))}"
    yield TriedStep(name=TWIN_STEP, outcome=Outcome.WORKS, detail=detail)


def _at_once(loose: Any, wanted: Template) -> Any:
    return loose.copy({Attribute.LABEL: LABEL, Attribute.TOKEN: False, **wanted})


def _in_two_steps(loose: Any, wanted: Template) -> Any:
    first = {each: value for each, value in wanted.items() if each not in _LAST}
    copy = _at_once(loose, first)
    try:
        for attribute in _LAST:
            if attribute in wanted:
                copy[attribute] = wanted[attribute]
    except PKCS11Error:
        destroy(copy)
        raise
    return copy


def _answer(
    session: Session, hello: Hello, wanted: Template, way: Callable[[Any, Template], Any]
) -> str | None:
    """Return why the copy is not made, or does not pass; None if it passes."""
    loose = passing_wrapping_key(session)
    try:
        copy = way(loose, wanted)
    except PKCS11Error as error:
        raise_if_lost(error)
        return name_of(error)
    finally:
        destroy(loose)
    try:
        twin = MasterKey("", 0, copy, is_host=False)
        ends = trials_end(time.monotonic() + hello.start_seconds)
        found = weaknesses(session, hello, twin, ends)
    finally:
        destroy(copy)
    return ", ".join(each.what for each in found) or None
