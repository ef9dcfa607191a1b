"""The checks of what the two groups of a copy state to each other. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from custody.node.errors import Denied, Failed
from custody.node.wanted import wanted_copy
from custody.wire.dealings import Dealing
from custody.wire.encoding import Model
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Job, KeyHolders
from custody.wire.signed_bytes import (
    DEALING_TYPE,
    IMPORT_KEY_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
)
from custody.wire.tickets import Ticket
from mpc.handlers.evidence import signer_of

Statement = TypeVar("Statement", bound=Model)


def require_import_keys(
    job: Job,
    holders: KeyHolders,
    signed_by: bytes | None,
    identities: Mapping[str, bytes],
    now: datetime,
) -> dict[str, ImportKeyStatement]:
    """Return the import key of each signer of the new group. Raise Denied or Failed.

    ``signed_by``: the application whose signature this signer has verified; None if it has not
    pinned the application. A new signer that has not pinned it states none.
    """
    found: dict[str, ImportKeyStatement] = {}
    for signed in job.evidence:
        name, said = open_statement(IMPORT_KEY_TYPE, signed, ImportKeyStatement, identities)
        if name not in holders.signers:
            raise Denied("bad_evidence", f"{name} is not a signer of the new group")
        right = ImportKeyStatement.of_signer(
            name,
            holders,
            job.key.algorithm,
            import_id=job.request_id,
            application=said.application,
            import_key=said.import_key,
            expires_at=said.expires_at,
        )
        if said != right:
            raise Denied("bad_evidence", f"{name} has made an import key for something else")
        if signed_by is not None and said.application not in (None, signed_by):
            raise Denied("bad_evidence", f"{name} has made an import key for another application")
        if name in found:
            raise Denied("bad_evidence", f"{name} has stated two import keys")
        if said.expires_at <= now:
            raise Failed("no_import_key", f"the import key of {name} has expired", transient=True)
        found[name] = said
    missing = [name for name in holders.signers if name not in found]
    if missing:
        raise Denied("bad_evidence", f"{', '.join(missing)} has not stated an import key")
    return found


def require_dealings(job: Job, ticket: Ticket, identities: Mapping[str, bytes]) -> list[Dealing]:
    """Return the dealings of t signers of the copied key, in order of their index. Raise Failed.

    All t state the same old set, and at least one of them is honest: so they state it rightly. The
    request says which group holds the key, and so what t is. If it does not, or if no application
    has signed it, only the dealers and the control plane say so.
    """
    held_by = wanted_copy(job).held_by
    said = [
        open_statement(DEALING_TYPE, signed, Dealing, identities, "bad_dealing")[1]
        for signed in job.evidence
    ]
    if not said:
        raise Denied("bad_evidence", "there are no dealings")
    for each in said:
        wrong = _difference(each, job, ticket, held_by)
        if wrong is not None:
            raise bad_dealing(f"the dealing of {each.signer} is for another {wrong}", each.signer)
    if any(each.agreed != said[0].agreed for each in said):
        raise bad_dealing("the dealers state different facts of the key that they deal")
    if [each.index for each in said] != list(said[0].quorum):
        raise Denied("bad_evidence", "the dealings are not those of one quorum, in order")
    return said


def _difference(said: Dealing, job: Job, ticket: Ticket, held_by: KeyHolders | None) -> str | None:
    """Name the first fact in which a dealing is not for the copy; None if it is for the copy."""
    for name, found, wanted in (
        ("key", said.key_id, job.copied_from),
        ("copy", said.copy_id, ticket.key_id),
        ("protocol", said.protocol, ticket.protocol),
        ("network", said.network, job.key.network),
        ("public key", said.public_key, job.key.public_key),
        ("group", said.holders, ticket.holders),
        ("old group", said.dealt_by, held_by or said.dealt_by),
    ):
        if found != wanted:
            return name
    return None


def open_statement(
    payload_type: str,
    signed: SignedBytes,
    model: type[Statement],
    identities: Mapping[str, bytes],
    code: str = "bad_evidence",
) -> tuple[str, Statement]:
    """Return a pinned signer and what it has stated under its identity key. Raise Denied."""
    name, key = signer_of(signed, identities)
    try:
        said = model.model_validate_json(PinnedKeys([key]).open(payload_type, signed))
    except BadSignedBytes:
        raise Denied("bad_evidence", f"{name} has not signed the statement") from None
    except ValidationError as error:
        if code == "bad_dealing":
            raise bad_dealing(f"{name}'s dealing has {error.error_count()} faults", name) from None
        raise Denied("bad_evidence", f"{name} has signed a malformed statement") from None
    if name not in (getattr(said, "node", None), getattr(said, "signer", None)):
        raise Denied("bad_evidence", f"{name} has signed a statement of another signer")
    return name, said


def bad_dealing(what: str, *culprits: str) -> Failed:
    """Return a failure that names the dealers: the next attempt takes others."""
    return Failed("bad_dealing", what, transient=True, culprits=culprits)


def dealers_by_index(dealings: Sequence[Dealing]) -> dict[int, str]:
    """Return the dealers by index."""
    return {each.index: each.signer for each in dealings}
