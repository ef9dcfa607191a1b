"""What a control plane has signers do, step by step: signed jobs and tickets. Pure."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import comb
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.algorithms import SCHNORR_SECP256K1, AddressType, Algorithm, Network, Store
from custody.wire.delivery import DeliveryTicket
from custody.wire.encoding import Model
from custody.wire.group_sizes import MIN_THRESHOLD
from custody.wire.imports import ImportedKey
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders, KeyReference, job_digest
from custody.wire.node_api import ClaimedJob
from custody.wire.possession import possession_request
from custody.wire.requests import (
    ArchiveKey,
    CopyKey,
    CreateImport,
    CreateKey,
    CreateWallet,
    RefreshKey,
    RepairShare,
    SignHash,
    SignMessage,
    UnarchiveKey,
)
from custody.wire.signed_bytes import (
    DELIVERY_TICKET_TYPE,
    JOB_TYPE,
    TICKET_TYPE,
    SignedBytes,
    SigningKey,
)
from custody.wire.tickets import (
    NEW_KEY,
    SECRET_BYTES,
    CeremonyKind,
    Participant,
    Ticket,
    protocol_of,
)

NODE_GROUP = "mpc"
SIGNER_GROUP = "treasury"
DELIVERY = "delivery-1"
SECONDS = 10.0
"""Until a ticket's deadline, for each pair that takes part, and for three pairs at least. DKLs23
sets up each pair, and all signers are one process here: five take seconds of a processor."""


@dataclass(frozen=True)
class Key:
    """``shares``: the ceremony that made the set in use, of ``generation``; None before."""

    algorithm: Algorithm
    threshold: int
    signers: tuple[str, ...]
    network: Network | None = None
    id: UUID = field(default_factory=uuid4)
    public_key: bytes | None = None
    chain_code: bytes | None = None
    shares: UUID | None = None
    generation: int = 0

    @property
    def quorum(self) -> tuple[str, ...]:
        """The first t."""
        return self.signers[: self.threshold]

    def reference(self) -> KeyReference:
        return KeyReference(
            id=self.id,
            scheme=self.algorithm.scheme,
            curve=self.algorithm.curve,
            network=self.network,
            public_key=self.public_key,
        )


@dataclass(frozen=True)
class Order:
    """A job, and the ticket of the ceremony to do it in.

    ``delivery_ticket``: None for the one that belongs to the ticket.
    """

    job: Job
    ticket: Ticket | None = None
    delivery_ticket: DeliveryTicket | None = None

    @property
    def ceremony(self) -> UUID:
        assert self.ticket is not None
        return self.ticket.ceremony

    @property
    def meeting(self) -> UUID:
        assert self.ticket is not None
        return self.ticket.meeting

    @property
    def participants(self) -> tuple[str, ...]:
        assert self.ticket is not None
        return tuple(each.signer for each in self.ticket.participants)

    def with_ticket(self, **changes: object) -> "Order":
        """The same job with another ticket, whose parts need not go together."""
        assert self.ticket is not None
        return replace(self, ticket=self.ticket.model_copy(update=changes))

    def with_delivery_ticket(self, **changes: object) -> "Order":
        """The same job and ticket, with another ticket for the delivery server."""
        assert self.ticket is not None
        shown = DeliveryTicket.of(self.ticket).model_copy(update=changes)
        return replace(self, delivery_ticket=shown)

    def with_job(self, **changes: object) -> "Order":
        """Another job, with the ticket bound to it."""
        return replace(self, job=self.job.model_copy(update=changes)).bound()

    def bound(self) -> "Order":
        if self.ticket is None:
            return self
        return self.with_ticket(job_id=self.job.id, job_digest=job_digest(_payload(self.job)))

    def until(self, seconds: float) -> "Order":
        """The same with another deadline."""
        return self.with_ticket(expires_at=datetime.now(UTC) + timedelta(seconds=seconds))

    def again(self) -> "Order":
        """The next attempt of a Sign job: another ceremony, the same job."""
        return self.with_ticket(ceremony=uuid4(), meeting=uuid4())


class ControlPlane:
    """Signs what it is told to."""

    def __init__(self) -> None:
        self.signer = SigningKey(Ed25519PrivateKey.generate())

    def claimed(self, order: Order) -> ClaimedJob:
        ticket = shown = None
        if order.ticket is not None:
            ticket = self.sign_ticket(order.ticket)
            shown = self.sign_delivery_ticket(order.delivery_ticket or shown_of(order.ticket))
        return ClaimedJob(
            job_id=order.job.id,
            job=self.signer.sign(JOB_TYPE, _payload(order.job)),
            attempt=1,
            lease=uuid4(),
            lease_seconds=60,
            ticket=ticket,
            delivery_ticket=shown,
        )

    def sign_ticket(self, ticket: Ticket) -> SignedBytes:
        return self.signer.sign(TICKET_TYPE, ticket.model_dump_json().encode())

    def sign_delivery_ticket(self, ticket: DeliveryTicket) -> SignedBytes:
        return self.signer.sign(DELIVERY_TICKET_TYPE, ticket.model_dump_json().encode())


def shown_of(ticket: Ticket) -> DeliveryTicket:
    """The delivery ticket of a ticket, also of one whose participants do not go together."""
    names = [each.signer for each in ticket.participants]
    if len(set(names)) >= MIN_THRESHOLD and len(set(names)) == len(names):
        return DeliveryTicket.of(ticket)
    fit = [Participant(signer=name, index=index) for index, name in enumerate(("a", "b"), 1)]
    shown = DeliveryTicket.of(ticket.model_copy(update={"participants": fit}))
    return shown.model_copy(update={"participants": names})


def generate(key: Key) -> Order:
    return _new_key(key, JobKind.GENERATE_KEY, CeremonyKind.GENERATE, None)


def import_key(key: Key, imported: ImportedKey) -> Order:
    """``key``: as it will be, or without its public key."""
    return _new_key(key, JobKind.IMPORT_KEY, CeremonyKind.IMPORT, imported)


def _new_key(
    key: Key, kind: JobKind, ceremony: CeremonyKind, imported: ImportedKey | None
) -> Order:
    request: CreateKey | CreateWallet
    endpoint = Endpoint.KEYS
    if key.network is None:
        request = CreateKey(
            scheme=key.algorithm.scheme,
            curve=key.algorithm.curve,
            store=Store.MPC,
            signer_group=SIGNER_GROUP,
            imported=imported,
        )
    else:
        endpoint = Endpoint.WALLETS
        is_taproot = key.algorithm == SCHNORR_SECP256K1
        request = CreateWallet(
            network=key.network,
            address_type=AddressType.P2TR if is_taproot else None,
            store=Store.MPC,
            signer_group=SIGNER_GROUP,
            imported=imported,
        )
    reference = key.reference().model_copy(update={"public_key": None})
    job = _job(uuid4(), kind, reference, endpoint, request, step_of=key.id)
    return _ceremony(job, key, ceremony, key.signers)


def sign(key: Key, quorum: Sequence[str], request: SignHash | SignMessage) -> Order:
    job = _job(uuid4(), JobKind.SIGN, key.reference(), Endpoint.SIGNATURES, request)
    digest = request.hash if isinstance(request, SignHash) else None
    return _ceremony(job, key, CeremonyKind.SIGN, quorum, digest=digest, ceremony=uuid4())


def prove(key: Key, quorum: Sequence[str]) -> Order:
    """``key``: as it will be, once its set is in use."""
    assert key.shares is not None
    _, digest = possession_request(key.algorithm, key.id, key.shares)
    job = _job(uuid4(), JobKind.PROVE_KEY, key.reference(), Endpoint.KEYS, None, of=key.shares)
    return _ceremony(job, key, CeremonyKind.SIGN, quorum, digest=digest)


def refresh(key: Key) -> Order:
    job = _job(
        uuid4(), JobKind.REFRESH_KEY, key.reference(), Endpoint.REFRESHES, RefreshKey(),
        step_of=uuid4(),
    )  # fmt: skip
    following = replace(key, generation=key.generation + 1)
    return _ceremony(job, following, CeremonyKind.REFRESH, key.signers)


def repair(key: Key, target: str, helpers: Sequence[str]) -> Order:
    request = RepairShare(signer=target)
    job = _job(
        uuid4(), JobKind.REPAIR_SHARE, key.reference(), Endpoint.REPAIRS, request, step_of=uuid4()
    )
    return _ceremony(
        job, key, CeremonyKind.REPAIR, [*helpers, target], target=key.signers.index(target) + 1
    )


def prepare_import(key: Key, *, group: str = SIGNER_GROUP) -> Order:
    """``key``: its id is the import's. ``group``: that the application asks for."""
    body = CreateImport(
        store=Store.MPC,
        signer_group=group,
        scheme=key.algorithm.scheme,
        curve=key.algorithm.curve,
    )
    job = _job(
        uuid4(), JobKind.PREPARE_IMPORT, key.reference(), Endpoint.IMPORTS, body, step_of=key.id
    )
    return Order(job.model_copy(update={"holders": holders_of(key)}))


def archive(key: KeyReference, *, undo: bool = False) -> Order:
    """An order to archive a key, or with ``undo`` to un-archive it."""
    kind = JobKind.UNARCHIVE_KEY if undo else JobKind.ARCHIVE_KEY
    endpoint = Endpoint.UNARCHIVALS if undo else Endpoint.ARCHIVALS
    return Order(_job(uuid4(), kind, key, endpoint, UnarchiveKey() if undo else ArchiveKey(),
        step_of=uuid4()))  # fmt: skip


def copy_of(key: Key, threshold: int, signers: tuple[str, ...]) -> Key:
    """As it will be, once the new group has shares."""
    return replace(key, id=uuid4(), threshold=threshold, signers=signers, shares=None, generation=0)


def approve_copy(key: Key, new: Key) -> Order:
    return Order(_copying(JobKind.APPROVE, key, key, new))


def prepare_copy(key: Key, new: Key) -> Order:
    return Order(_copying(JobKind.PREPARE_IMPORT, new, key, new))


def deal(
    key: Key, new: Key, dealers: Sequence[str], statements: Sequence[SignedBytes], **changes: object
) -> Order:
    job = _copying(JobKind.DEAL_SHARES, key, key, new)
    fields = {
        "ceremony": key.shares,
        "dealers": tuple(sorted(key.signers.index(name) + 1 for name in dealers)),
        "evidence": tuple(statements),
    }
    return Order(job.model_copy(update=fields | changes))


def copy_key(key: Key, new: Key, dealings: Sequence[SignedBytes]) -> Order:
    job = _copying(JobKind.COPY_KEY, new, key, new)
    job = job.model_copy(update={"evidence": tuple(dealings)})
    return _ceremony(job, new, CeremonyKind.IMPORT, new.signers)


def holders_of(key: Key) -> KeyHolders:
    return KeyHolders(group=SIGNER_GROUP, threshold=key.threshold, signers=key.signers)


def _copying(kind: JobKind, about: Key, key: Key, new: Key) -> Job:
    """A job of the copy ``new`` of ``key``, at the signers that have or will have ``about``."""
    request = CopyKey(key_id=key.id, signer_group=SIGNER_GROUP)
    job = _job(uuid4(), kind, about.reference(), Endpoint.COPIES, request, step_of=new.id)
    holders = holders_of(new)
    copied_from = key.id if about is new else None
    return job.model_copy(update={"holders": holders, "copied_from": copied_from})


def promise(key: Key, evidence: Sequence[SignedBytes]) -> Order:
    """``key``: as it will be."""
    return _order(key, JobKind.PROMISE, key.shares, evidence)


def activate(key: Key, evidence: Sequence[SignedBytes]) -> Order:
    """``key``: as it will be."""
    return _order(key, JobKind.ACTIVATE_KEY, key.shares, evidence)


def abandon(key: Key, ceremony: UUID) -> Order:
    return _order(key, JobKind.ABANDON, ceremony, ())


def discard(key: Key, ceremony: UUID, evidence: Sequence[SignedBytes]) -> Order:
    return _order(key, JobKind.DISCARD, ceremony, evidence)


def _order(
    key: Key, kind: JobKind, ceremony: UUID | None, evidence: Sequence[SignedBytes]
) -> Order:
    job = _job(uuid4(), kind, key.reference(), Endpoint.KEYS, None, of=ceremony)
    return Order(job.model_copy(update={"evidence": tuple(evidence)}))


def _ceremony(
    job: Job,
    key: Key,
    kind: CeremonyKind,
    signers: Sequence[str],
    *,
    ceremony: UUID | None = None,
    digest: bytes | None = None,
    target: int | None = None,
) -> Order:
    participants = [
        Participant(signer=name, index=index)
        for index, name in enumerate(key.signers, 1)
        if name in signers
    ]
    pairs = comb(len(participants), 2)
    ticket = Ticket(
        ceremony=ceremony or job.id,
        meeting=uuid4(),
        secret=secrets.token_bytes(SECRET_BYTES),
        kind=kind,
        job_id=job.id,
        job_digest=job_digest(_payload(job)),
        key_id=key.id,
        generation=key.generation,
        share_set_id=None if kind in NEW_KEY else key.shares,
        protocol=protocol_of(key.algorithm),
        group=SIGNER_GROUP,
        threshold=key.threshold,
        signers=list(key.signers),
        participants=participants,
        target=target,
        digest=digest,
        delivery=DELIVERY,
        issued_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(seconds=SECONDS * max(3, pairs)),
    )
    return Order(job, ticket)


def _job(
    job_id: UUID,
    kind: JobKind,
    key: KeyReference,
    endpoint: Endpoint,
    request: Model | None,
    *,
    step_of: UUID | None = None,
    of: UUID | None = None,
) -> Job:
    now = datetime.now(UTC)
    body = b"{}" if request is None else request.model_dump_json(exclude_none=True).encode()
    return Job(
        id=job_id,
        step_of=step_of,
        kind=kind,
        group=NODE_GROUP,
        key=key,
        endpoint=endpoint,
        request=body,
        ceremony=of,
        created_at=now,
        expires_at=now + timedelta(minutes=15),
    )


def _payload(job: Job) -> bytes:
    return job.model_dump_json().encode()
