"""Signers as the control plane sees them: real certificates, identity keys and node API.

The threshold protocols are other people's program: here a key is one private key, which the stage
gives only to signers that are in the ceremony together. All else is as signers do it: confirming,
promising, activating, abandoning what they have not promised.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from embit import ec as embit_keys
from embit.bip32 import HDKey

from custody.wire.algorithms import Protection, Scheme, Store
from custody.wire.digests import digest_of
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.node_api import ClaimedJob, NodeHealth
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    Approved,
    MadeSignature,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedShare,
    PromisedShare,
    Result,
    SetOfShares,
)
from custody.wire.possession import possession_request
from custody.wire.requests import CREATE_SIGNATURE, SignHash, SignRequest
from custody.wire.signatures import finish
from custody.wire.signed_bytes import (
    ABANDONMENT_TYPE,
    ATTESTATION_TYPE,
    BAN_TYPE,
    CONFIRMATION_TYPE,
    PROMISE_TYPE,
    SignedBytes,
)
from custody.wire.statements import Abandonment, Attestation, Ban, Confirmation, MadeFor, Promise
from custody.wire.tickets import Protocol, Ticket
from tests.integration.node_api.nodes import Node, report_of

BEAT_SECONDS = 1.0
Key = PrivateKey | Ed25519PrivateKey
CHAIN_CODE = bytes(range(32))
CAPABILITIES = {"ECDSA/secp256k1": "mpc", "EdDSA/ed25519": "mpc", "Schnorr/secp256k1": "mpc"}


class NotDone(Exception):
    """Ends a job without a result."""

    def __init__(self, status: OutcomeStatus, code: str, **fields: Any) -> None:
        super().__init__(code)
        self.fields = {"status": status, "code": code, "reason": f"because of {code}", **fields}


def failed(code: str, *culprits: str, transient: bool = True) -> NotDone:
    return NotDone(OutcomeStatus.FAILED, code, culprits=culprits, transient=transient)


def denied(code: str) -> NotDone:
    return NotDone(OutcomeStatus.DENIED, code)


@dataclass
class Meeting:
    """Who has come to a ceremony; ``complete`` when all are there."""

    present: set[str] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class Stage:
    """What the signers share: ceremonies, and each set of shares' key."""

    def __init__(self) -> None:
        self.keys: dict[UUID, Key] = {}
        self.tickets: list[Ticket] = []
        self._meetings: dict[UUID, Meeting] = {}

    async def meet(self, signer: str, ticket: Ticket) -> None:
        """Wait for the other participants. Raises NotDone when one does not come."""
        if ticket.ceremony not in self._meetings:
            self.tickets.append(ticket)
        meeting = self._meetings.setdefault(ticket.ceremony, Meeting())
        meeting.present.add(signer)
        wanted = {each.signer for each in ticket.participants}
        if meeting.present >= wanted:
            meeting.complete.set()
        try:
            async with asyncio.timeout((ticket.expires_at - datetime.now(UTC)).total_seconds()):
                await meeting.complete.wait()
        except TimeoutError:
            raise failed("peer_silent", *sorted(wanted - meeting.present)) from None

    def key_of(self, ceremony: UUID, key: KeyReference) -> Key:
        if ceremony not in self.keys:
            is_ed25519 = key.scheme is Scheme.EDDSA
            self.keys[ceremony] = Ed25519PrivateKey.generate() if is_ed25519 else PrivateKey()
        return self.keys[ceremony]


def public_key_of(key: Key, scheme: Scheme) -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.public_key().public_bytes_raw()
    compressed = key.public_key.format()
    return compressed[1:] if scheme is Scheme.SCHNORR else compressed


def child_of(key: Key, path: Sequence[int]) -> Key:
    """The private key of a child (BIP-32, CKDpriv)."""
    if isinstance(key, Ed25519PrivateKey) or not path:
        return key
    child = HDKey(embit_keys.PrivateKey(key.secret), CHAIN_CODE).derive(list(path))
    return PrivateKey(child.key.secret)


@dataclass
class Share:
    """A signer's part of a set, and its confirmation of it."""

    confirmation: Confirmation
    proved_with: set[str] = field(default_factory=set)
    is_promised: bool = False
    is_active: bool = False


Script = Callable[[Job, Ticket | None], Any]


class ScriptedSigner:
    """Does what a signer does; ``on[kind]`` is called before each job and may raise NotDone.

    ``crash_on``: kinds at which it takes the job and is never heard of it again.
    """

    def __init__(self, node: Node, stage: Stage) -> None:
        self.node = node
        self.id = node.id
        self.stage = stage
        self.on: dict[JobKind, Script] = {}
        self.spoil: Callable[[Job, Result], Result] = lambda _, result: result
        self.crash_on: set[JobKind] = set()
        self.taken: list[Job] = []
        self.shares: dict[UUID, Share] = {}
        self.abandoned: set[UUID] = set()
        self.erased: set[UUID] = set()
        self.archives: dict[UUID, bool] = {}
        self.bans: list[SignedBytes] = []
        self.left_in_flight: tuple[LeftInFlight, ...] | None = ()
        self.has_gate = False
        self.health = NodeHealth(status="ok")
        self.delivery_problems: dict[str, str] = {}
        self.slots = 4
        self._journal: dict[UUID, bytes] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    @property
    def active(self) -> set[UUID]:
        """The sets that it uses."""
        return {ceremony for ceremony, share in self.shares.items() if share.is_active}

    async def beat(self) -> None:
        answer = await self.node.heartbeat(
            capabilities=CAPABILITIES,
            slots=self.slots,
            has_gate=self.has_gate,
            bans=tuple(self.bans),
            left_in_flight=self.left_in_flight,
            health=self.health,
            delivery_problems=self.delivery_problems,
        )
        assert answer.status_code == 200, answer.text

    async def start(self) -> None:
        await self.beat()
        self._loops = [asyncio.create_task(self._work()), asyncio.create_task(self._beat_on())]

    async def stop(self) -> None:
        """As a process that is killed: what it was doing is never reported."""
        tasks = [*self._running, *self._loops]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ban(self, banned: str, key_id: UUID) -> None:
        made = Ban(
            key_id=key_id,
            signer=self.id,
            banned=banned,
            reason="it tried to extract key bits",
            ceremony=None,
            at=datetime.now(UTC),
        )
        self.bans.append(self.node.signer.sign(BAN_TYPE, made.model_dump_json().encode()))

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await self.beat()

    async def _work(self) -> None:
        while True:
            for claimed in await self.node.claim(slots=self.slots, wait=10):
                task = asyncio.create_task(self._see_to(claimed))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _see_to(self, claimed: ClaimedJob) -> None:
        job = Job.model_validate_json(claimed.job.payload)
        ticket = None
        if claimed.ticket is not None:
            ticket = Ticket.model_validate_json(claimed.ticket.payload)
        raw = self._journal.get(job.id)
        if raw is None:
            raw = await self._do(job, ticket)
        if raw is not None:
            await self.node.report(report_of(claimed, raw))

    async def _do(self, job: Job, ticket: Ticket | None) -> bytes | None:
        kind = JobKind(job.kind)
        self.taken.append(job)
        fields: dict[str, Any]
        try:
            if kind in self.on:
                self.on[kind](job, ticket)
            if kind in self.crash_on:
                return None
            result = self.spoil(job, await self._handle(kind, job, ticket))
            fields = {"status": OutcomeStatus.DONE, "result": result}
        except NotDone as not_done:
            fields = not_done.fields
        raw = Outcome(job_id=job.id, node=self.id, **fields).model_dump_json().encode()
        if fields["status"] in (OutcomeStatus.DONE, OutcomeStatus.DENIED):
            self._journal[job.id] = raw
        return raw

    async def _handle(self, kind: JobKind, job: Job, ticket: Ticket | None) -> Result:
        if ticket is not None:
            await self.stage.meet(self.id, ticket)
        match kind:
            case JobKind.GENERATE_KEY | JobKind.REFRESH_KEY:
                assert ticket is not None
                return self._prepare(job, ticket)
            case JobKind.SIGN:
                assert ticket is not None
                return self._sign(job, ticket)
            case JobKind.PROVE_KEY:
                assert ticket is not None
                return self._prove(job, ticket)
            case JobKind.PROMISE:
                return self._promise(job)
            case JobKind.ACTIVATE_KEY:
                return self._activate(job)
            case JobKind.ABANDON:
                return self._abandon(job)
            case JobKind.DISCARD:
                if self.shares.pop(_set_of(job), None) is not None:
                    self.erased.add(_set_of(job))
                return NothingMade()
            case JobKind.REPAIR_SHARE:
                return self._repair(job, ticket)
            case JobKind.APPROVE:
                return Approved()
            case JobKind.ARCHIVE_KEY | JobKind.UNARCHIVE_KEY:
                self.archives[job.key.id] = kind is JobKind.ARCHIVE_KEY
                return NothingMade()
            case (
                JobKind.PREPARE_IMPORT | JobKind.IMPORT_KEY | JobKind.DEAL_SHARES | JobKind.COPY_KEY
            ):
                raise AssertionError(f"no test gives a scripted signer a {kind} job")

    def _prepare(self, job: Job, ticket: Ticket) -> PreparedShare:
        if ticket.ceremony in self.abandoned:
            raise failed("abandoned")
        for ceremony, share in self.shares.items():
            if not share.is_active:
                raise self._has("set_pending", ceremony)
        self._require_active(ticket)
        if ticket.share_set_id is not None:
            self.stage.keys[ticket.ceremony] = self.stage.keys[ticket.share_set_id]
        key = self.stage.key_of(ticket.ceremony, job.key)
        is_ecdsa = job.key.scheme is Scheme.ECDSA
        confirmation = Confirmation(
            key_id=ticket.key_id,
            ceremony=ticket.ceremony,
            generation=ticket.generation,
            protocol=ticket.protocol,
            group=ticket.group,
            threshold=ticket.threshold,
            signers=ticket.signers,
            public_key=public_key_of(key, job.key.scheme),
            chain_code=CHAIN_CODE if is_ecdsa else None,
            transcript=bytes(32),
            made_for=_made_for(job),
            signer=self.id,
            index=ticket.signers.index(self.id) + 1,
        )
        self.shares[ticket.ceremony] = Share(confirmation)
        return PreparedShare(confirmation=self._signed(CONFIRMATION_TYPE, confirmation))

    def _require_active(self, ticket: Ticket) -> None:
        for ceremony in self.active:
            if ticket.share_set_id not in (None, ceremony):
                raise self._has("wrong_generation", ceremony)

    def _has(self, code: str, ceremony: UUID) -> NotDone:
        generation = self.shares[ceremony].confirmation.generation
        here = SetOfShares(ceremony=ceremony, generation=generation)
        return NotDone(OutcomeStatus.FAILED, code, transient=True, shares=here)

    def _sign(self, job: Job, ticket: Ticket) -> MadeSignature:
        self._require_active(ticket)
        assert ticket.share_set_id is not None
        request = CREATE_SIGNATURE.validate_json(job.request)
        key = job.key
        digest = digest_of(request, key.algorithm, key.network, key.public_key)
        assert ticket.digest == digest
        return self._signature(ticket.share_set_id, key, request, digest)

    def _prove(self, job: Job, ticket: Ticket) -> MadeSignature:
        share = self.shares[_set_of(job)]
        share.proved_with |= {each.signer for each in ticket.participants} - {self.id}
        request, digest = possession_request(job.key.algorithm, job.key.id, job.ceremony)
        bare = job.key.model_copy(update={"network": None})
        return self._signature(_set_of(job), bare, request, digest)

    def _signature(
        self, shares: UUID, key: KeyReference, request: SignRequest, digest: bytes | None
    ) -> MadeSignature:
        private_key = child_of(self.stage.keys[shares], key.path)
        if isinstance(private_key, Ed25519PrivateKey):
            assert not isinstance(request, SignHash)
            raw = private_key.sign(request.content)
        elif key.scheme is Scheme.SCHNORR:
            assert digest is not None
            raw = private_key.sign_schnorr(digest)
        else:
            assert digest is not None
            raw = private_key.sign_recoverable(digest, hasher=None)[:64]
        assert key.public_key is not None
        result = finish(raw, key.public_key, key.algorithm, key.network, request, digest)
        return MadeSignature(digest=digest, signature=result)

    def _promise(self, job: Job) -> PromisedShare:
        share = self.shares[_set_of(job)]
        confirmed = share.confirmation
        missing = set(confirmed.signers) - {self.id} - share.proved_with
        is_ecdsa = confirmed.protocol is Protocol.DKLS23_SECP256K1
        if not share.proved_with or (is_ecdsa and missing):
            raise failed("not_proved")
        said = [Confirmation.model_validate_json(each.payload) for each in job.evidence]
        assert [each.signer for each in said] == confirmed.signers
        assert all(each.agreed == confirmed.agreed for each in said)
        share.is_promised = True
        return self._promise_of(share)

    def _promise_of(self, share: Share) -> PromisedShare:
        promise = Promise(**share.confirmation.model_dump())
        return PromisedShare(promise=self._signed(PROMISE_TYPE, promise))

    def _activate(self, job: Job) -> ActivatedShare:
        share = self.shares[_set_of(job)]
        confirmed = share.confirmation
        assert share.is_promised
        said = [Promise.model_validate_json(each.payload) for each in job.evidence]
        assert [each.signer for each in said] == confirmed.signers
        assert all(each.agreed == confirmed.agreed for each in said)
        for ceremony in self.active - {_set_of(job)}:
            del self.shares[ceremony]
            self.erased.add(ceremony)
        share.is_active = True
        attestation = Attestation(
            key_id=job.key.id,
            made_for=confirmed.made_for or said[0].made_for,
            network=job.key.network,
            store=Store.MPC,
            scheme=job.key.scheme,
            curve=job.key.curve,
            public_key=confirmed.public_key,
            chain_code=confirmed.chain_code,
            protection=Protection.MPC,
            group=confirmed.group,
            threshold=confirmed.threshold,
            signers=confirmed.signers,
            node=self.id,
        )
        return ActivatedShare(attestation=self._signed(ATTESTATION_TYPE, attestation))

    def _abandon(self, job: Job) -> AbandonedShare | PromisedShare | NothingMade:
        ceremony = _set_of(job)
        if ceremony in self.erased:
            return NothingMade()
        if ceremony in self.shares and self.shares[ceremony].is_promised:
            return self._promise_of(self.shares[ceremony])
        self.shares.pop(ceremony, None)
        self.abandoned.add(ceremony)
        abandonment = Abandonment(key_id=job.key.id, ceremony=ceremony, signer=self.id)
        return AbandonedShare(abandonment=self._signed(ABANDONMENT_TYPE, abandonment))

    def _repair(self, job: Job, ticket: Ticket | None) -> NothingMade:
        assert ticket is not None
        assert ticket.target is not None
        assert ticket.share_set_id is not None
        if ticket.signers[ticket.target - 1] == self.id:
            signers = ticket.signers
            assert job.key.public_key is not None
            confirmation = Confirmation(
                key_id=ticket.key_id,
                ceremony=ticket.share_set_id,
                generation=ticket.generation,
                protocol=ticket.protocol,
                group=ticket.group,
                threshold=ticket.threshold,
                signers=signers,
                public_key=job.key.public_key,
                chain_code=None,
                transcript=bytes(32),
                made_for=None,
                signer=self.id,
                index=ticket.target,
            )
            self.shares[ticket.share_set_id] = Share(confirmation, is_promised=True, is_active=True)
        return NothingMade()

    def _signed(self, payload_type: str, statement: Any) -> SignedBytes:
        return self.node.signer.sign(payload_type, statement.model_dump_json().encode())


def _made_for(job: Job) -> MadeFor | None:
    """As this stage has no applications' keys; of a refresh it is not kept."""
    if job.endpoint is not Endpoint.WALLETS and job.endpoint is not Endpoint.KEYS:
        return None
    external_id = json.loads(job.request).get("external_id")
    return MadeFor(endpoint=job.endpoint, external_id=external_id, application=None)


def _set_of(job: Job) -> UUID:
    assert job.ceremony is not None
    return job.ceremony
