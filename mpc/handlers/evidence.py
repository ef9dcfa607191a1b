"""The checks of other signers' statements. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import ValidationError

from custody.node.errors import Denied
from custody.wire.signed_bytes import (
    ABANDONMENT_TYPE,
    CONFIRMATION_TYPE,
    PROMISE_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    signing_key_id,
)
from custody.wire.statements import Abandonment, Confirmation, MadeFor, Promise, ShareStatement

Statement = TypeVar("Statement", Confirmation, Promise, Abandonment)


def require_confirmations(
    evidence: Sequence[SignedBytes], ours: ShareStatement, identities: Mapping[str, bytes]
) -> None:
    """Raise Denied unless each of the n signers has confirmed the very set that we have, once."""
    said = [_open(CONFIRMATION_TYPE, signed, Confirmation, identities) for signed in evidence]
    _require_all(said, ours, "confirmed")


def require_promises(
    evidence: Sequence[SignedBytes], ours: ShareStatement, identities: Mapping[str, bytes]
) -> list[Promise]:
    """Return the n signers' promises to keep the set that this signer has. Raise Denied."""
    said = [_open(PROMISE_TYPE, signed, Promise, identities) for signed in evidence]
    _require_all(said, ours, "promised")
    return said


def told_by_others(promises: Sequence[Promise], me: str) -> MadeFor | None:
    """Return the request that the key was made for: t other signers state it, and none another.

    At least one of t is honest, so that a signer whose share was repaired may believe them.
    """
    told = [each for each in promises if each.signer != me and each.made_for is not None]
    if len({each.signer for each in told}) < promises[0].threshold:
        return None
    made_for = told[0].made_for
    return made_for if all(each.made_for == made_for for each in told) else None


def require_abandonments(
    evidence: Sequence[SignedBytes], ours: ShareStatement, identities: Mapping[str, bytes]
) -> list[str]:
    """Return the other signers that have abandoned our set. Raise Denied if they are too few.

    Needed are as many as the set's threshold, or all others if that is fewer. At least one of so
    many is honest (if another honest signer exists) and will never promise. So no honest signer
    uses the set.
    """
    needed = min(ours.threshold, len(ours.signers) - 1)
    place = (ours.key_id, ours.ceremony)
    found = set()
    for signed in evidence:
        said = _open(ABANDONMENT_TYPE, signed, Abandonment, identities)
        if (said.key_id, said.ceremony) == place and said.signer in ours.signers:
            found.add(said.signer)
    others = sorted(found - {ours.signer})
    if len(others) < needed:
        raise Denied("bad_evidence", f"{len(others)} others have abandoned it, {needed} are needed")
    return others


def signer_of(signed: SignedBytes, identities: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Return the pinned signer whose key a statement names, and that key. Raise Denied.

    The signature is not verified here.
    """
    for name, key in identities.items():
        if signing_key_id(key) == signed.signing_key_id:
            return name, key
    raise Denied("bad_evidence", f"a statement under {signed.signing_key_id}: not pinned here")


def _require_all(said: Sequence[ShareStatement], ours: ShareStatement, done: str) -> None:
    for each in said:
        if each.agreed != ours.agreed:
            raise Denied("bad_evidence", f"{each.signer} has {done} another set of shares")
        if ours.signers[each.index - 1 : each.index] != [each.signer]:
            raise Denied("bad_evidence", f"{each.signer} has not index {each.index}")
    stated = Counter(each.signer for each in said)
    missing = [name for name in ours.signers if name not in stated]
    if missing:
        raise Denied("bad_evidence", f"{', '.join(missing)} has not {done}")
    repeated = [name for name, count in stated.items() if count > 1]
    if repeated:  # they may differ in what need not be agreed, and one signer is one voice
        raise Denied("bad_evidence", f"{', '.join(repeated)} has {done} more than once")


def _open(
    payload_type: str,
    signed: SignedBytes,
    model: type[Statement],
    identities: Mapping[str, bytes],
) -> Statement:
    """Open a statement that the named signer's identity key has signed."""
    name, key = signer_of(signed, identities)
    try:
        said = model.model_validate_json(PinnedKeys([key]).open(payload_type, signed))
    except (BadSignedBytes, ValidationError) as error:
        raise Denied(
            "bad_evidence", f"a statement of {name} does not hold: {type(error).__name__}"
        ) from None
    if said.signer != name:
        raise Denied("bad_evidence", f"{name} has signed a statement of {said.signer}")
    return said
