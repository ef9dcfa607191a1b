"""Makes the next version of master key and host-signing key, as strong as the token allows.

A master key's attributes stop a holder of the PIN from exporting stored keys
(docs/explanation/threat-model.md). They protect only a key that nobody can modify or copy. Only
workers import this module.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from custody.pkcs11 import host_key, token_scheme, unwrap_template
from custody.pkcs11.faults import destroy
from custody.pkcs11.login import CannotStart
from custody.pkcs11.master_key import (
    HOST_SUFFIX,
    KEY_BITS,
    MAX_VERSION,
    VERSION_SIZE,
    MasterKey,
    find_master_keys,
    passing_wrapping_key,
)
from custody.pkcs11.messages import Obstacle
from custody.pkcs11.round_trip import Unable, Way, find_way, travel
from custody.pkcs11.session_errors import name_of, raise_unless_refusal
from custody.pkcs11.token_traits import in_use
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, Session
from pkcs11.exceptions import PKCS11Error


@dataclass(frozen=True)
class Rule:
    """One attribute of a master key, or (``inner``) of the keys that it unwraps.

    ``needed``: no key is made on a token that refuses this rule.
    """

    attribute: Attribute
    value: Any
    inner: bool = False
    needed: bool = False

    def __str__(self) -> str:
        return f"{'unwrap template: ' if self.inner else ''}{self.attribute.name}"


@dataclass(frozen=True)
class _Design:
    """One of the two keys: its label, its uses, its rules, and the proof that it works.

    ``prove`` uses the key, and raises Unable or PKCS11Error. ``refused``: rules with which no key
    works on this token, with the reason.
    """

    label: str
    capabilities: MechanismFlag
    rules: list[Rule]
    prove: Callable[[Any], None]
    refused: tuple[str, ...] = ()


def make_master_keys(
    session: Session, label: str, rewrappable: bool, extractable: bool, above: int = 0
) -> list[str]:
    """Generate the next version of both keys on the token, and at least ``above`` + 1.

    With ``rewrappable`` stored keys may be unwrapped as extractable, so that they can be wrapped
    again by the next version. A holder of the PIN can then export stored keys by wrapping them
    under another key. Return the rules that the token refused, and why. Raise PKCS11Error, or
    CannotStart if the token refuses a rule that is needed.
    """
    versions = [key.version for key in find_master_keys(session, label).masters]
    version = 1 + max(above, *versions, 0)
    if version > MAX_VERSION:
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the token has a key with version {MAX_VERSION}, the highest one",
            "master-key generate never comes that far: find out who made that key, and delete it.",
        )
    ways = _ways(session)
    left_out: list[str] = []
    for design in (
        _wrapping(session, label, ways, rewrappable, extractable),
        _encrypting(label, extractable),
    ):
        rules, refused = _strongest(session, design)
        refused = [*design.refused, *refused]
        left_out += [f"{design.label}/{version}: {each}" for each in refused]
        _generate_proven(session, design, rules, version)
    return left_out


def try_rules(session: Session) -> list[tuple[str, str | None]]:
    """Return each attribute of the master key that wraps, and why the token refuses it.

    With session keys. The attributes that are needed come first, all together; the reason is None
    for an attribute that works beside these. Raise PKCS11Error if the session is lost.
    """
    design = _wrapping(session, "", _ways(session), rewrappable=False, extractable=False)
    needed = [rule for rule in design.rules if rule.needed]
    refusal = _refusal(session, design, needed)
    found: list[tuple[str, str | None]] = [("the attributes that are needed", refusal)]
    for rule in design.rules:
        if refusal is None and not rule.needed:
            found.append((str(rule), _refusal(session, design, [*needed, rule])))
    return found


def strongest_key(session: Session, *, is_host: bool, rewrappable: bool = False) -> Any:
    """Make a session key with the strongest attributes of this token. The caller destroys it.

    ``rewrappable``: as for ``make_master_keys``. Raise PKCS11Error, or CannotStart if the token
    makes no working key.
    """
    design = (
        _encrypting("", extractable=False)
        if is_host
        else _wrapping(session, "", _ways(session), rewrappable, extractable=False)
    )
    rules, _ = _strongest(session, design)
    return _generate(session, design, rules, store=False)


def strongest_template(session: Session) -> dict[Attribute, Any]:
    """Return what ``strongest_key`` gives a key that wraps, but for what every such key has.

    MODIFIABLE comes last. Raise PKCS11Error, or CannotStart if the token makes no working key.
    """
    design = _wrapping(session, "", _ways(session), rewrappable=False, extractable=False)
    rules, _ = _strongest(session, design)
    template = _template(rule for rule in rules if rule.inner or not rule.needed)
    if Attribute.MODIFIABLE in template:
        template[Attribute.MODIFIABLE] = template.pop(Attribute.MODIFIABLE)
    return template


def _wrapping(
    session: Session, label: str, ways: list[Way], rewrappable: bool, extractable: bool
) -> _Design:
    key_types = {token_scheme.SCHEMES[way.algorithm].key_type for way in ways}
    mechanisms = sorted({way.mechanism for way in ways})
    not_taken = {attribute for way in ways for attribute in way.without}
    without = in_use().master_key_without
    inner = [
        Rule(attribute, value, inner=True, needed=attribute in _NEEDED_INSIDE)
        for attribute, value in unwrap_template.insisted_on(key_types).items()
        if not (rewrappable and attribute is Attribute.EXTRACTABLE)
        and "UNWRAP_TEMPLATE" not in without
    ]
    rules = _own_rules(extractable, mechanisms)
    rules += [rule for rule in inner if rule.attribute not in not_taken]
    refused = [f"{rule} (no key unwraps with it)" for rule in inner if rule.attribute in not_taken]
    refused += [f"{name} (master_key_without)" for name in without]

    def prove(key: Any) -> None:
        for way in ways:
            travel(session, key, way)

    uses = MechanismFlag.WRAP | MechanismFlag.UNWRAP
    return _Design(label, uses, rules, prove, tuple(refused))


_NEEDED_INSIDE = (Attribute.SENSITIVE, Attribute.EXTRACTABLE)


def _encrypting(label: str, extractable: bool) -> _Design:
    capabilities = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
    rules = _own_rules(extractable, [Mechanism.AES_GCM])
    without = [name for name in in_use().master_key_without if name != "UNWRAP_TEMPLATE"]
    refused = tuple(f"{name} (master_key_without)" for name in without)
    return _Design(label + HOST_SUFFIX, capabilities, rules, _prove_encrypting, refused)


def _prove_encrypting(key: Any) -> None:
    host = MasterKey("", 0, key, is_host=True)
    if not host_key.travels(host):
        raise Unable("decrypts to something else than was encrypted")


def _own_rules(extractable: bool, mechanisms: list[Mechanism]) -> list[Rule]:
    """Return the rules of the master key itself.

    ``mechanisms``: those for which the key may be used; empty if they are not known.
    """
    rules = [
        Rule(Attribute.PRIVATE, True, needed=True),
        Rule(Attribute.SENSITIVE, True, needed=True),
        Rule(Attribute.EXTRACTABLE, extractable, needed=True),
        Rule(Attribute.MODIFIABLE, False),
        Rule(Attribute.COPYABLE, False),
    ]
    if mechanisms:
        rules.append(Rule(Attribute.ALLOWED_MECHANISMS, mechanisms))
    without = in_use().master_key_without
    return [rule for rule in rules if rule.attribute.name not in without]


def _ways(session: Session) -> list[Way]:
    """Return how this token wraps keys of each algorithm that it supports."""
    wrapping = passing_wrapping_key(session)
    ways = []
    try:
        for algorithm in token_scheme.SCHEMES:
            try:
                ways.append(find_way(session, wrapping, algorithm))
            except Unable:
                continue
    finally:
        destroy(wrapping)
    return ways


def _strongest(session: Session, design: _Design) -> tuple[list[Rule], list[str]]:
    """Return the rules with which a key works on this token, and the refused ones with reasons."""
    if _refusal(session, design, design.rules) is None:
        return design.rules, []
    kept = [rule for rule in design.rules if rule.needed]
    if (refusal := _refusal(session, design, kept)) is not None:
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the token makes no working master key, even with only the attributes that are needed "
            f"({', '.join(map(str, kept))}): {refusal}",
            "Run the doctor command: it shows what the token can do.",
        )
    refused = []
    for rule in design.rules:
        if rule.needed:
            continue
        refusal = _refusal(session, design, [*kept, rule])
        if refusal is None:
            kept.append(rule)
        else:
            refused.append(f"{rule} ({refusal})")
    return kept, refused


def _refusal(session: Session, design: _Design, rules: Iterable[Rule]) -> str | None:
    """Return why an unstored test key with these rules does not work; None if it works.

    Raise PKCS11Error after an answer that is not a refusal: it must not weaken a master key.
    """
    try:
        key = _generate(session, design, rules, store=False)
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return name_of(error)
    try:
        design.prove(key)
    except PKCS11Error as error:
        raise_unless_refusal(error)
        return name_of(error)
    except Unable as error:
        return str(error)
    finally:
        destroy(key)
    return None


def _generate_proven(
    session: Session, design: _Design, rules: Iterable[Rule], version: int
) -> None:
    """Make the key on the token and use the key once.

    If that use fails, destroy the key and raise CannotStart.
    """
    key = _generate(session, design, rules, store=True, version=version)
    try:
        design.prove(key)
    except (PKCS11Error, Unable) as error:
        key.destroy()
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the key {design.label}/{version} worked as a session key, but not on the token: "
            f"{name_of(error) if isinstance(error, PKCS11Error) else error}",
            "The worker destroyed this key. Run master-key list: the other new key may exist.",
        ) from None


def _generate(
    session: Session, design: _Design, rules: Iterable[Rule], *, store: bool, version: int = 0
) -> Any:
    named: dict[str, Any] = (
        {"id": version.to_bytes(VERSION_SIZE), "label": design.label} if store else {}
    )
    return session.generate_key(
        KeyType.AES,
        KEY_BITS,
        store=store,
        capabilities=design.capabilities,
        template=_template(rules),
        **named,
    )


def _template(rules: Iterable[Rule]) -> dict[Attribute, Any]:
    own: dict[Attribute, Any] = {}
    inner: dict[Attribute, Any] = {}
    for rule in rules:
        (inner if rule.inner else own)[rule.attribute] = rule.value
    return {**own, Attribute.UNWRAP_TEMPLATE: inner} if inner else own
