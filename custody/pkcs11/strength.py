"""Whether a master key allows more than the keys that `master-key generate` makes. Workers only.

Anybody with the PIN can make a key inside the token that proves itself and that also decrypts, or
that unwraps stored keys as readable ones (docs/adr/0031). So each key is judged by all of its
attributes before it is used.
"""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from custody.pkcs11 import token_scheme, wrap_mechanisms
from custody.pkcs11 import unwrap_template as ours
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.c_template import unwrap_template
from custody.pkcs11.faults import destroy
from custody.pkcs11.login import CannotStart
from custody.pkcs11.master_key import MasterKey, passing_wrapping_key
from custody.pkcs11.master_key_making import strongest_key
from custody.pkcs11.messages import Hello
from custody.pkcs11.session_errors import raise_unless_refusal
from custody.pkcs11.unwrap_trial import REFUSED, UNWRAPPED, Answer, Answers, try_template
from custody.pkcs11.weakness import Weakness
from pkcs11 import Attribute, Mechanism, Session
from pkcs11.exceptions import PKCS11Error

TRIAL_SHARE = 0.5
"""The part of the time that a start has left in which unwrap templates are tried."""

UNTOLD = "the token does not tell it"

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


@dataclass(frozen=True)
class _Judged:
    """What a key allows, with the doubt about it, and the answers to attempts that led to it."""

    weak: dict[str, str | None] = field(default_factory=dict)
    answers: dict[str, tuple[Answer, ...]] = field(default_factory=dict)

    def is_vague(self, what: str, best: "_Judged") -> bool:
        """Return whether the token gave this key and the strongest one the same answers.

        The token made each attempt, and so refuses in its own, unclear way.
        """
        answers = self.answers.get(what, ())
        return answers == best.answers.get(what) and all(each.is_made for each in answers)


def trials_end(start_ends: float) -> float:
    """Return when the trials end that begin now. No later attempt begins.

    ``start_ends``: when the daemon kills the worker. Both by the monotonic clock.
    """
    now = time.monotonic()
    return now + (start_ends - now) * TRIAL_SHARE


def weaknesses(session: Session, hello: Hello, master: MasterKey, ends: float) -> list[Weakness]:
    """Return what the key allows, but the strongest key that this token makes does not allow.

    ``ends``: as ``trials_end`` returns it. Raise PKCS11Error only if the session is lost.
    """
    found = _judge(session, hello, master, ends)
    if not found.weak:
        return []
    if found.weak.keys() <= found.answers.keys() and time.monotonic() > ends:
        return _not_compared(found, "no time to try the strongest key")
    try:
        key = strongest_key(session, is_host=master.is_host)
    except CannotStart as error:
        return _not_compared(found, error.what)
    try:
        best = _judge(session, hello, replace(master, key=key), ends)
    finally:
        destroy(key)
    vague = [what for what, doubt in found.weak.items() if doubt and found.is_vague(what, best)]
    excused = _refused_by_templates(session, hello, ends, vague)
    return [
        weakness
        for what, doubt in found.weak.items()
        if what not in excused and (weakness := _beyond(best, what, doubt)) is not None
    ]


def _not_compared(found: _Judged, why: str) -> list[Weakness]:
    return [Weakness(what, doubt or why) for what, doubt in found.weak.items()]


def _beyond(best: _Judged, what: str, doubt: str | None) -> Weakness | None:
    """Return the weakness, unless the strongest key has it too."""
    of_best = best.weak.get(what, "")
    if of_best is None or of_best == UNTOLD:
        return None
    if all(answer.is_made for answer in best.answers.get(what, ())):
        return Weakness(what, doubt)
    return Weakness(what, doubt or f"of the strongest key: {of_best}")


def _refused_by_templates(
    session: Session, hello: Hello, ends: float, vague: Sequence[str]
) -> set[str]:
    """Return which unclear answers mean that a template refused the attempts.

    A key without a template shows that: the token unwraps the same by this key. As another key type
    a token may unwrap a key by no key at all, because the PKCS#8 inside names its type. Then no key
    allows this.
    """
    if not vague:
        return set()
    key = passing_wrapping_key(session)
    try:
        master = MasterKey("", 0, key, is_host=False)
        only = [attribute for attribute in Attribute if _of_template(attribute) in vague]
        answers = try_template(session, hello, master, ends, only)
    finally:
        destroy(key)
    return {
        _of_template(attribute)
        for attribute, each in answers.items()
        if UNWRAPPED in each
        or (attribute is Attribute.KEY_TYPE and all(answer.is_made for answer in each))
    }


def _judge(session: Session, hello: Hello, master: MasterKey, ends: float) -> _Judged:
    found = _Judged()
    for attribute, wanted in _own_attributes(master).items():
        value = _read(master.key, attribute)
        if value is None:
            found.weak[f"{attribute.name} is unknown"] = UNTOLD
        elif value is not wanted:
            found.weak[f"{attribute.name} is {str(value).lower()}"] = None
    found.weak.update(_more_mechanisms(master))
    if master.is_host:
        return found
    template = unwrap_template(hello.module, session, master.key)
    if template is not None:
        found.weak.update(dict.fromkeys(_differences(template)))
    else:
        _add_answers(found, try_template(session, hello, master, ends))
    return found


def _add_answers(found: _Judged, answers: Answers) -> None:
    for attribute, each in answers.items():
        what = _of_template(attribute)
        found.answers[what] = each
        if UNWRAPPED in each:
            found.weak[what] = None
        elif doubt := _doubt(each):
            found.weak[what] = doubt


def _doubt(answers: Collection[Answer]) -> str:
    counts = Counter(answer.text for answer in answers if answer != REFUSED)
    return ", ".join(
        text if count == 1 else f"{count} times {text}" for text, count in counts.items()
    )


def _own_attributes(master: MasterKey) -> dict[Attribute, bool]:
    uses = _USES_TO_ENCRYPT if master.is_host else _USES_TO_WRAP
    return {**_OWN, **{use: False for use in _USES if use not in uses}}


def _read(key: Any, attribute: Attribute) -> bool | None:
    try:
        return bool(key[attribute])
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return None


def _more_mechanisms(master: MasterKey) -> dict[str, str | None]:
    """Return an entry for each mechanism beyond the first one.

    Where a token wraps keys of several algorithms by several mechanisms, the strongest key has the
    same entries. Keys of an earlier configuration may have other mechanisms, but not more.
    """
    mechanisms = _mechanisms(master.key)
    allowed = {Mechanism.AES_GCM} if master.is_host else set(wrap_mechanisms.usable())
    if mechanisms is None:
        return {"ALLOWED_MECHANISMS is unknown": UNTOLD}
    if not mechanisms or not mechanisms <= {int(each) for each in allowed}:
        return {"ALLOWED_MECHANISMS has more than the driver uses": None}
    counts = range(2, len(mechanisms) + 1)
    return {f"ALLOWED_MECHANISMS has {count} or more mechanisms": None for count in counts}


def _mechanisms(key: Any) -> set[int] | None:
    try:
        return {int(each) for each in key[Attribute.ALLOWED_MECHANISMS]}
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return None


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
