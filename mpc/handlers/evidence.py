"""What a signer relies on that other signers have stated. Pure."""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from node.decisions import Denied
from wire.envelope import (
    ABANDONMENT_TYPE,
    CONFIRMATION_TYPE,
    BadEnvelope,
    PinnedKeys,
    SignedBytes,
    signing_key_id,
)
from wire.statements import Abandonment, Confirmation

Statement = TypeVar("Statement", Confirmation, Abandonment)


def require_confirmations(
    evidence: Sequence[SignedBytes], ours: Confirmation, identities: Mapping[str, bytes]
) -> None:
    """Raise Denied unless each of the n signers has confirmed the very set that we have."""
    confirmed = set()
    for signed in evidence:
        said = _open(CONFIRMATION_TYPE, signed, Confirmation, identities)
        if said.agreed != ours.agreed:
            raise Denied("bad_evidence", f"{said.signer} has confirmed another set of shares")
        if ours.signers[said.index - 1 : said.index] != [said.signer]:
            raise Denied("bad_evidence", f"{said.signer} has not index {said.index}")
        confirmed.add(said.signer)
    missing = [name for name in ours.signers if name not in confirmed]
    if missing:
        raise Denied("bad_evidence", f"{', '.join(missing)} has not confirmed")


def require_abandonment(
    evidence: Sequence[SignedBytes],
    key_id: UUID,
    ceremony: UUID,
    signers: Sequence[str],
    identities: Mapping[str, bytes],
) -> str:
    """The signer of the set that has abandoned it. Raises Denied when none has."""
    for signed in evidence:
        said = _open(ABANDONMENT_TYPE, signed, Abandonment, identities)
        if (said.key_id, said.ceremony) == (key_id, ceremony) and said.signer in signers:
            return said.signer
    raise Denied("bad_evidence", "no signer of the set has abandoned it")


def _open(
    payload_type: str,
    signed: SignedBytes,
    model: type[Statement],
    identities: Mapping[str, bytes],
) -> Statement:
    """A statement, once its signature holds under the identity of the signer that it names."""
    by_key = {signing_key_id(key): (name, key) for name, key in identities.items()}
    name, key = by_key.get(signed.signing_key_id, (None, None))
    if name is None or key is None:
        raise Denied("bad_evidence", f"a statement under {signed.signing_key_id}: not pinned here")
    try:
        said = model.model_validate_json(PinnedKeys([key]).open(payload_type, signed))
    except (BadEnvelope, ValidationError) as error:
        raise Denied(
            "bad_evidence", f"a statement of {name} does not hold: {type(error).__name__}"
        ) from None
    if said.signer != name:
        raise Denied("bad_evidence", f"{name} has signed a statement of {said.signer}")
    return said
