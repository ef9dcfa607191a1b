"""The checks of a signer's report: its statements are its own and true, signatures verify. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from custody.control_plane.jobs.results import (
    BadResult,
    KeyFacts,
    announced_import,
    check_result,
    is_made_for,
    job_of,
    read_outcome,
    signed_by,
)
from custody.control_plane.jobs.transitions import BAD_RESULT
from custody.wire.algorithms import Protection, Store
from custody.wire.dealings import Dealing
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    Approved,
    DealtShares,
    MadeSignature,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedImport,
    PreparedShare,
    PromisedShare,
)
from custody.wire.possession import possession_request
from custody.wire.public_keys import check_public_key
from custody.wire.signatures import BadSignature, verify
from custody.wire.signed_bytes import (
    ABANDONMENT_TYPE,
    ATTESTATION_TYPE,
    CONFIRMATION_TYPE,
    DEALING_TYPE,
    IMPORT_KEY_TYPE,
    PROMISE_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
)
from custody.wire.statements import Abandonment, Attestation, Confirmation, Promise, ShareStatement
from custody.wire.tickets import Ticket, protocol_of

Statement = TypeVar(
    "Statement", Confirmation, Promise, Abandonment, Attestation, ImportKeyStatement, Dealing
)


@dataclass(frozen=True, slots=True)
class GivenTask:
    """A task that a signer has claimed. ``payload``, ``ticket``: as the control plane signed."""

    step_id: UUID
    request_id: UUID
    job_id: UUID
    kind: JobKind
    lease: UUID
    payload: bytes
    ticket: bytes | None
    begun_at: datetime
    outcome: bytes | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """``raw``: what to keep. ``fault``: what was wrong with the report, for the log."""

    task: GivenTask
    outcome: Outcome
    raw: bytes
    fault: str | None = None

    @property
    def is_signature(self) -> bool:
        """Return whether this report completes the request."""
        return self.task.kind is JobKind.SIGN and self.outcome.status is OutcomeStatus.DONE


def judge(task: GivenTask, signer: str, identity: bytes, raw: bytes) -> Judged:
    """Return a report as it counts: one that cannot be accepted is a failure of its signer.

    ``identity``: the signer's Ed25519 public key.
    """
    try:
        outcome = read_outcome(raw, task.job_id, signer)
        if outcome.node != signer:
            raise BadResult(f"the outcome is of another node, {outcome.node}")
        _check_culprits(task, outcome)
        if outcome.status is OutcomeStatus.DONE:
            _check(task, signer, PinnedKeys([identity]), outcome)
    except (BadResult, BadSignedBytes, BadSignature, ValidationError) as bad:
        return _faulty(task, signer, str(bad))
    return Judged(task, outcome, raw)


def _faulty(task: GivenTask, signer: str, fault: str) -> Judged:
    outcome = Outcome(
        job_id=task.job_id,
        node=signer,
        status=OutcomeStatus.FAILED,
        code=BAD_RESULT,
        reason=f"the control plane could not accept the signer's result: {fault}",
        transient=True,
        culprits=(signer,),
    )
    return Judged(task, outcome, outcome.model_dump_json().encode(), fault)


def _check_culprits(task: GivenTask, outcome: Outcome) -> None:
    """Nobody is blamed but signers of the group that the ceremony was for."""
    if not outcome.culprits:
        return
    known = _group_of(task)
    if len(outcome.culprits) > len(known) or not set(outcome.culprits) <= set(known):
        raise BadResult("it blames somebody who is not a signer of the group")


def _group_of(task: GivenTask) -> Sequence[str]:
    """Return the signers that the task names: those of its ticket, or the holders of its key."""
    job = job_of(task.payload)
    dealers: list[str] = []
    if task.kind is JobKind.COPY_KEY:  # a new signer blames the old signers that have dealt
        dealers = [Dealing.model_validate_json(each.payload).signer for each in job.evidence]
    if task.ticket is not None:
        return [*Ticket.model_validate_json(task.ticket).signers, *dealers]
    return () if job.holders is None else job.holders.signers


def _check(task: GivenTask, signer: str, identity: PinnedKeys, outcome: Outcome) -> None:
    """Check the result. Raise BadResult, BadSignedBytes, BadSignature or ValidationError."""
    job = job_of(task.payload)
    result = outcome.result
    match task.kind, result:
        case JobKind.SIGN, MadeSignature():
            key = job.key
            check_result(
                outcome, JobKind.SIGN, task.payload,
                KeyFacts(key.algorithm, key.network, key.public_key),
            )  # fmt: skip
        case JobKind.PROVE_KEY, MadeSignature():
            _check_proof(job, result)
        case ((JobKind.GENERATE_KEY | JobKind.IMPORT_KEY | JobKind.REFRESH_KEY), PreparedShare()):
            confirmed = _opened(Confirmation, CONFIRMATION_TYPE, identity, result.confirmation)
            _check_share(confirmed, task.step_id, job, signer)
            _check_against_ticket(task, confirmed)
            if task.kind is JobKind.IMPORT_KEY:
                _check_imported(confirmed, job)
        case JobKind.COPY_KEY, PreparedShare():
            confirmed = _opened(Confirmation, CONFIRMATION_TYPE, identity, result.confirmation)
            _check_share(confirmed, task.step_id, job, signer)
            _check_against_ticket(task, confirmed)
        case JobKind.DEAL_SHARES, DealtShares():
            _check_dealing(job, signer, identity, result.dealing)
        case ((JobKind.PROMISE | JobKind.ABANDON), PromisedShare()):
            promised = _opened(Promise, PROMISE_TYPE, identity, result.promise)
            _check_share(promised, job.ceremony, job, signer)
            for signed in job.evidence[:1]:
                confirmed = Confirmation.model_validate_json(signed.payload)
                _require("promise", promised.agreed == confirmed.agreed)
        case JobKind.ABANDON, AbandonedShare():
            said = _opened(Abandonment, ABANDONMENT_TYPE, identity, result.abandonment)
            _require("abandonment", said.signer == signer)
            _require("abandonment", (said.key_id, said.ceremony) == (job.key.id, job.ceremony))
        case JobKind.ACTIVATE_KEY, ActivatedShare():
            _check_attestation(job, signer, identity, result.attestation)
        case JobKind.PREPARE_IMPORT, PreparedImport():
            _check_import_key(job, signer, identity, result.statements)
        case JobKind.APPROVE, Approved():
            pass
        case ((JobKind.REPAIR_SHARE | JobKind.DISCARD | JobKind.ABANDON), NothingMade()):
            pass
        case ((JobKind.ARCHIVE_KEY | JobKind.UNARCHIVE_KEY), NothingMade()):
            pass
        case _:
            found = "nothing" if result is None else result.type
            raise BadResult(f"the result of a {task.kind.value} job cannot be {found}")


def _check_proof(job: Job, result: MadeSignature) -> None:
    key = job.key
    request, digest = possession_request(key.algorithm, key.id, job.ceremony)
    _require("digest", result.digest == digest)
    if key.public_key is None:
        raise BadResult("the key has no public key yet")
    verify(result.signature, key.public_key, key.algorithm, None, request, digest)


def _opened(
    model: type[Statement], payload_type: str, identity: PinnedKeys, signed: SignedBytes
) -> Statement:
    return model.model_validate_json(identity.open(payload_type, signed))


def _check_share(said: ShareStatement, ceremony: UUID | None, job: Job, signer: str) -> None:
    _require("statement", said.signer == signer)
    _require("statement", (said.key_id, said.ceremony) == (job.key.id, ceremony))
    _require("statement", said.signers[said.index - 1 : said.index] == [signer])
    try:
        check_public_key(job.key.algorithm, said.public_key)
    except ValueError as error:
        raise BadResult(str(error)) from None
    if job.key.public_key is not None:
        _require("statement", said.public_key == job.key.public_key)


def _check_against_ticket(task: GivenTask, said: Confirmation) -> None:
    if task.ticket is None:
        raise BadResult("there was no ceremony")
    ticket = Ticket.model_validate_json(task.ticket)
    for name in ("generation", "protocol", "group", "threshold", "signers"):
        _require(f"confirmation's {name}", getattr(said, name) == getattr(ticket, name))


def _check_imported(said: Confirmation, job: Job) -> None:
    """Check that the share is of the key that the application has announced."""
    imported = announced_import(job)
    if imported is None:
        raise BadResult("the request imports no key")
    announced = (imported.public_key, imported.chain_code)
    _require("confirmation", (said.public_key, said.chain_code) == announced)


def _check_attestation(job: Job, signer: str, identity: PinnedKeys, signed: SignedBytes) -> None:
    """Check that the attested set is the one that all n promised: the order has their promises."""
    said = _opened(Attestation, ATTESTATION_TYPE, identity, signed)
    promised = Promise.model_validate_json(job.evidence[0].payload)
    key = job.key
    if job.endpoint in (Endpoint.WALLETS, Endpoint.KEYS):
        _require("attestation", is_made_for(job, said.made_for))
        _require("attestation", said.imported == (announced_import(job) is not None))
    if job.endpoint is Endpoint.COPIES:
        copied_from = None if said.made_for is None else said.made_for.copied_from
        _require("attestation", copied_from == job.copied_from)
    right = Attestation(
        key_id=key.id,
        made_for=said.made_for,
        store=Store.MPC,
        scheme=key.scheme,
        curve=key.curve,
        network=key.network,
        public_key=promised.public_key,
        chain_code=promised.chain_code,
        protection=Protection.MPC,
        group=promised.group,
        threshold=promised.threshold,
        signers=promised.signers,
        node=signer,
        imported=said.made_for is not None and said.made_for.imported,
    )
    _require("attestation", said == right)


def _check_dealing(job: Job, signer: str, identity: PinnedKeys, signed: SignedBytes) -> None:
    said = _opened(Dealing, DEALING_TYPE, identity, signed)
    for name, found, wanted in (
        ("signer", said.signer, signer),
        ("key", said.key_id, job.key.id),
        ("copy", said.copy_id, job.request_id),
        ("share set", said.share_set_id, job.ceremony),
        ("public key", said.public_key, job.key.public_key),
        ("protocol", said.protocol, protocol_of(job.key.algorithm)),
        ("quorum", said.quorum, job.dealers),
        ("group", said.holders, job.holders),
    ):
        _require(f"dealing's {name}", found == wanted)


def _check_import_key(
    job: Job, signer: str, identity: PinnedKeys, statements: Sequence[SignedBytes]
) -> None:
    if len(statements) != 1:
        raise BadResult("a signer makes one statement about its import key")
    said = _opened(ImportKeyStatement, IMPORT_KEY_TYPE, identity, statements[0])
    key, holders = job.key, job.holders
    if holders is None:
        raise BadResult("the job names no signer group")
    _require("statement", signed_by(job, said.application))
    right = ImportKeyStatement.of_signer(
        signer,
        holders,
        key.algorithm,
        import_id=key.id,
        application=said.application,
        import_key=said.import_key,
        expires_at=said.expires_at,
    )
    _require("statement", said == right)


def _require(what: str, holds: bool) -> None:
    if not holds:
        raise BadResult(f"the {what} is of something else than the job")
