"""Requests in every stage, built from what signers have said."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from custody.control_plane.conductor.planning.decisions import (
    Begin,
    Complete,
    End,
    Pause,
    Reason,
)
from custody.control_plane.conductor.planning.facts import (
    AWAY,
    Ending,
    Member,
    Request,
    SharesInUse,
    SignerGroup,
    Step,
    Task,
)
from custody.control_plane.conductor.planning.set_making import DISAGREE
from custody.control_plane.conductor.planning.share_sets import ShareSet
from custody.wire.algorithms import EDDSA_ED25519, Curve, Protection, Scheme, Store
from custody.wire.jobs import Endpoint, JobKind
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    Approved,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedShare,
    PromisedShare,
    SetOfShares,
)
from custody.wire.signed_bytes import SignedBytes
from custody.wire.statements import Attestation, Confirmation, MadeFor, Promise, ShareStatement
from custody.wire.tickets import Protocol
from tests.made_up_keys import made_up_key

THREE = ("a", "b", "c")
GROUP = SignerGroup("treasury", 2, THREE)
KEY_ID, SHARES = uuid4(), uuid4()
PUBLIC_KEY = made_up_key(EDDSA_ED25519)
MADE_FOR = MadeFor(endpoint=Endpoint.KEYS, external_id=None, application=None)


def sign(steps: tuple[Step, ...] = (), **more: Any) -> Request:
    fields: dict[str, Any] = {
        "id": uuid4(),
        "kind": JobKind.SIGN,
        "group": GROUP,
        "in_use": SharesInUse(0, SHARES),
        "members": {signer: Member() for signer in THREE},
        "steps": steps,
    }
    return Request(**(fields | more))


def generate(steps: tuple[Step, ...] = (), **more: Any) -> Request:
    return sign(steps, **({"kind": JobKind.GENERATE_KEY, "in_use": SharesInUse()} | more))


def import_key(steps: tuple[Step, ...] = (), **more: Any) -> Request:
    return generate(steps, **({"kind": JobKind.IMPORT_KEY} | more))


def refresh(steps: tuple[Step, ...] = (), **more: Any) -> Request:
    return sign(steps, **({"kind": JobKind.REFRESH_KEY} | more))


def without(request: Request, *signers: str) -> Request:
    """The same while these are away."""
    away = dict.fromkeys(signers, AWAY)
    return replace(request, members={**request.members, **away})


def step(
    kind: JobKind,
    said: Mapping[str, Outcome | None],
    ending: Ending | None = Ending.DONE,
    *,
    late: tuple[str, ...] = (),
    **more: Any,
) -> Step:
    """A step with what each signer has said; ``late``: who should have."""
    fields: dict[str, Any] = {
        "id": uuid4(),
        "number": 1,
        "kind": kind,
        "share_set_id": SHARES,
        "tasks": tuple(Task(signer, outcome, signer in late) for signer, outcome in said.items()),
        "ending": ending,
    }
    return Step(**(fields | more))


def made(
    said: Mapping[str, Outcome | None],
    kind: JobKind = JobKind.GENERATE_KEY,
    ending: Ending | None = Ending.DONE,
    ceremony: UUID | None = None,
    **more: Any,
) -> Step:
    """A step that makes a set of shares."""
    id_ = ceremony or uuid4()
    return step(kind, said, ending, id=id_, share_set_id=id_, is_unsettled=True, **more)


def done(result: Any) -> Outcome:
    return Outcome(job_id=KEY_ID, node="x", status=OutcomeStatus.DONE, result=result)


def signed(payload: bytes) -> SignedBytes:
    return SignedBytes(payload=payload, signature=b"", signing_key_id="")


def confirmed(
    signer: str, public_key: bytes = PUBLIC_KEY, protocol: Protocol = Protocol.FROST_ED25519
) -> Outcome:
    said = _of_share(Confirmation, signer, public_key, protocol)
    return done(PreparedShare(confirmation=signed(said.model_dump_json().encode())))


def promised(signer: str, generation: int = 0) -> Outcome:
    said = _of_share(Promise, signer, PUBLIC_KEY).model_copy(update={"generation": generation})
    return done(PromisedShare(promise=signed(said.model_dump_json().encode())))


def _of_share(
    model: type[ShareStatement],
    signer: str,
    public_key: bytes,
    protocol: Protocol = Protocol.FROST_ED25519,
) -> ShareStatement:
    return model(
        key_id=KEY_ID,
        ceremony=SHARES,
        generation=0,
        protocol=protocol,
        group="treasury",
        threshold=2,
        signers=list(THREE),
        public_key=public_key,
        chain_code=None,
        transcript=bytes(32),
        made_for=MADE_FOR,
        signer=signer,
        index=THREE.index(signer) + 1,
    )


def abandoned(signer: str) -> Outcome:
    return done(AbandonedShare(abandonment=signed(signer.encode())))


def activated(signer: str) -> Outcome:
    said = Attestation(
        key_id=KEY_ID,
        made_for=MADE_FOR,
        network=None,
        store=Store.MPC,
        scheme=Scheme.EDDSA,
        curve=Curve.ED25519,
        public_key=PUBLIC_KEY,
        protection=Protection.MPC,
        group="treasury",
        threshold=2,
        signers=list(THREE),
        node=signer,
    )
    return done(ActivatedShare(attestation=signed(said.model_dump_json().encode())))


def approved() -> Outcome:
    return done(Approved())


def nothing() -> Outcome:
    return done(NothingMade())


def in_the_way(shares: UUID) -> Outcome:
    """Another set of the key waits at the signer."""
    return _with_set("set_pending", shares, 1)


def further(shares: UUID, generation: int) -> Outcome:
    """The signer uses another set than the ticket is about."""
    return _with_set("wrong_generation", shares, generation)


def _with_set(code: str, shares: UUID, generation: int) -> Outcome:
    here = SetOfShares(ceremony=shares, generation=generation)
    return failed(code).model_copy(update={"shares": here})


def not_done(status: OutcomeStatus, code: str, *culprits: str, transient: bool = False) -> Outcome:
    return Outcome(
        job_id=KEY_ID,
        node="x",
        status=status,
        code=code,
        reason=f"because of {code}",
        transient=transient,
        culprits=culprits,
    )


def failed(code: str = "database_away", *culprits: str) -> Outcome:
    return not_done(OutcomeStatus.FAILED, code, *culprits, transient=True)


def cannot(code: str = "no_share") -> Outcome:
    return not_done(OutcomeStatus.FAILED, code)


def denied(code: str = "gate_rejected") -> Outcome:
    return not_done(OutcomeStatus.DENIED, code)


def refused(code: str = "bad_job_signature") -> Outcome:
    return not_done(OutcomeStatus.REFUSED, code)


def begun(decision: object) -> Begin:
    assert isinstance(decision, Begin), decision
    return decision


def paused(decision: object) -> Reason:
    """Return why a request waits."""
    assert isinstance(decision, Pause), decision
    return _whole(decision.reason)


def ended(decision: object, status: OutcomeStatus = OutcomeStatus.FAILED) -> Reason:
    """Return why a request has ended."""
    assert isinstance(decision, End), decision
    assert decision.status is status
    return _whole(decision.reason)


def completed(decision: object) -> ShareSet:
    """Return the set that completes a request."""
    assert isinstance(decision, Complete), decision
    return decision.made


def _whole(reason: Reason) -> Reason:
    """Check that operators are told why, and applications too unless signers disagree."""
    assert reason.text
    assert "None" not in reason.text
    assert bool(reason.summary) is (reason.code != DISAGREE)
    assert "None" not in str(reason.summary or "")
    assert isinstance(reason.culprits, tuple)
    return reason
