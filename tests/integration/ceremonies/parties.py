"""Signers in one process, each with its own database, keys and certificate; the test orders.

Everything of a signer is real but its claims and reports: jobs go straight into its loop.
"""

import asyncio
import base64
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.node.connections import open_client
from custody.node.loop import JobLoop
from custody.node.node import Mode, build_node
from custody.wire.algorithms import ECDSA_SECP256K1, Protection, Store
from custody.wire.node_api import ClaimedJob
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    MadeSignature,
    Outcome,
    OutcomeStatus,
    PreparedShare,
    PromisedShare,
)
from custody.wire.requests import SignHash, SignMessage, SignRequest
from custody.wire.signatures import verify
from custody.wire.signed_bytes import CONFIRMATION_TYPE, PinnedKeys, SignedBytes, SigningKey
from custody.wire.statements import Confirmation
from custody.wire.tickets import PROTOCOL
from devstack.certificates import Certificates, Leaf
from devstack.delivery import DeliveryOptions, DeliveryServer
from devstack.launcher import Tied
from devstack.processes import LOCALHOST
from mpc.bans.ban_locks import BanLocks
from mpc.bans.bans import Bans
from mpc.ceremonies.ceremony_ends import withdraw
from mpc.ceremonies.delivery_client import DeliveryClient
from mpc.held_keys import SignerKeys
from mpc.imports.import_keys import ImportKeys
from mpc.peers import Peers
from mpc.restored.marks import Marks
from mpc.restored.watch import RestoreWatch, restore_state
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import FileKey
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from mpc.signer import handlers, open_delivery_client, open_layer4
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import DELIVERY, ControlPlane, Key, Order

NAMES = ("signer-1", "signer-2", "signer-3", "signer-4", "signer-5")


@dataclass(frozen=True)
class Belongings:
    """What a signer has beside its database."""

    name: str
    identity: SigningKey
    encryption_key: FileKey
    leaf: Leaf


class Organisation:
    """The signers, their control plane, and a delivery server that runs: for all tests."""

    def __init__(self, folder: Path) -> None:
        certificates = Certificates(folder / "pki")
        self.control_plane = ControlPlane()
        self.server_leaf = certificates.server(DELIVERY)
        self.server = DeliveryServer(DELIVERY, folder / DELIVERY, folder / "delivery.log", Tied())
        self.server.configure(self.job_signing_key, self.server_leaf, DeliveryOptions())
        self.members = {
            name: Belongings(
                name,
                SigningKey(Ed25519PrivateKey.generate()),
                FileKey(bytes([number]) * 32, f"{name}'s"),
                certificates.node(name),
            )
            for number, name in enumerate(NAMES, 1)
        }

    @property
    def job_signing_key(self) -> str:
        return base64.b64encode(self.control_plane.signer.public_key).decode()

    def signer_settings(
        self,
        name: str,
        database: str,
        delivery_url: str,
        min_threshold: int,
        layer4: Mapping[str, Any] | None = None,
        min_unsigned_copy_threshold: int | None = None,
    ) -> SignerSettings:
        leaf = self.members[name].leaf
        return SignerSettings.model_validate(
            {
                "node": {"id": name, "group": orders.NODE_GROUP, "state_directory": leaf.ca.parent},
                "control_plane": {
                    "url": f"https://{LOCALHOST}:1",
                    "ca": leaf.ca,
                    "certificate": leaf.certificate,
                    "private_key": leaf.private_key,
                    "job_signing_keys": [self.job_signing_key],
                },
                "database": {"url": database},
                "identity": {"private_key": "not-read.pem"},
                "encryption": {"key_file": "not-read.key"},
                "quorum": {
                    "min_threshold": min_threshold,
                    "min_unsigned_copy_threshold": min_unsigned_copy_threshold,
                },
                "delivery": [{"name": DELIVERY, "url": delivery_url, "ca": leaf.ca}],
                "layer4": layer4,
            }
        )


class Party:
    """One signer."""

    def __init__(
        self,
        name: str,
        database: str,
        pool: Pool,
        shares: Shares,
        bans: Bans,
        locks: BanLocks,
        delivery: DeliveryClient,
        loop: JobLoop,
        restore_watch: RestoreWatch,
        import_keys: ImportKeys,
    ) -> None:
        self.name = name
        self.database = database
        self.pool = pool
        self.shares = shares
        self.bans = bans
        self.locks = locks
        self.peers = Peers(pool)
        self.delivery = delivery
        self.restore_watch = restore_watch
        self.import_keys = import_keys
        self._loop = loop

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        own: Belongings,
        settings: SignerSettings,
        database: str,
        connections: int = 8,
        state: Path | None = None,
    ) -> AsyncIterator["Party"]:
        """``state``: the state directory; None for one that goes with the database."""
        name = own.name
        async with (
            contextlib.AsyncExitStack() as stack,
            Pool(database, connections, name) as pool,
            open_client(settings) as client,
            open_delivery_client(settings) as delivery,
        ):
            keys = EncryptionKeys([own.encryption_key], [])
            await keys.adopt_first(pool)
            if state is None:
                new = stack.enter_context(tempfile.TemporaryDirectory(prefix="custody-state-"))
                marks = await marks_of_database(pool, Path(new))
            else:
                marks = Marks(state)
            restore_watch = RestoreWatch(pool, name, marks)
            await restore_watch.renew()
            shares, bans = Shares(pool, keys), Bans(pool, name, own.identity)
            import_keys = ImportKeys(pool, keys)
            async with BanLocks(pool, name, bans) as locks:
                copies, _, activities = open_layer4(settings, pool, own.identity, shares)
                does = handlers(
                    settings,
                    pool,
                    own.identity,
                    shares,
                    import_keys,
                    bans,
                    locks,
                    delivery,
                    restore_watch,
                    copies,
                )
                mode = Mode(
                    held_keys=SignerKeys(pool, own.name, own.identity),
                    store=Store.MPC,
                    handlers=does,
                    parts=[],
                    capabilities=dict.fromkeys(PROTOCOL, Protection.MPC),
                    withdraw=partial(withdraw, delivery, name),
                    require_ready=restore_watch.require_whole,
                )
                loop = build_node(settings, pool, client, own.identity, mode).loop
                tasks = [asyncio.create_task(activity()) for activity in activities]
                try:
                    yield cls(
                        name, database, pool, shares, bans, locks, delivery, loop, restore_watch,
                        import_keys,
                    )  # fmt: skip
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.gather(*tasks, return_exceptions=True)

    async def do(self, claimed: ClaimedJob) -> Outcome:
        """A job, as the loop sees to it between claim and report."""
        now = datetime.now(UTC)
        self._loop._clock.compare(now, now, now)
        return Outcome.model_validate_json(await self._loop._run_job(claimed))

    async def rows(self, statement: str, **parameters: object) -> list[Any]:
        return await self.pool.rows(statement, parameters)

    async def has_begun(self, order: Order) -> None:
        """Return once it has used the order's ticket."""
        used = "SELECT FROM used_tickets WHERE ceremony = :ceremony"
        while not await self.rows(used, ceremony=order.ceremony):  # noqa: ASYNC110 (PostgreSQL's)
            await asyncio.sleep(0.01)

    async def states(self, key: Key) -> list[str]:
        """Of its shares of a key, oldest set first."""
        rows = await self.rows(
            "SELECT state FROM shares WHERE key_id = :id ORDER BY generation, created_at",
            id=key.id,
        )
        return [row.state for row in rows]


class Parties:
    """All signers of an organisation that run."""

    def __init__(self, organisation: Organisation, parties: Iterable[Party]) -> None:
        self.organisation = organisation
        self.control_plane = organisation.control_plane
        self.by_name = {party.name: party for party in parties}

    def __getitem__(self, name: str) -> Party:
        return self.by_name[name]

    def of(self, key: Key) -> list[Party]:
        return [self[name] for name in key.signers]

    async def hold(self, order: Order, among: Sequence[str] | None = None) -> dict[str, Outcome]:
        """Give an order to each participant, or to those that are named."""
        claimed = self.control_plane.claimed(order)
        names = order.participants if among is None else among
        outcomes = await asyncio.gather(*(self[name].do(claimed) for name in names))
        return dict(zip(names, outcomes, strict=True))

    async def give(self, orders: Mapping[str, Order]) -> dict[str, Outcome]:
        """Give each an order of its own, all at once."""
        outcomes = await asyncio.gather(
            *(self[name].do(self.control_plane.claimed(order)) for name, order in orders.items())
        )
        return dict(zip(orders, outcomes, strict=True))

    async def prepare(self, order: Order) -> list[SignedBytes]:
        """Hold a ceremony that makes shares; all confirm."""
        return confirmations(await self.hold(order))

    async def make_key(self, key: Key) -> Key:
        """Generate, prove, promise and activate."""
        order = orders.generate(key)
        return await self.take_into_use(key, order, await self.prepare(order))

    async def refresh(self, key: Key) -> Key:
        order = orders.refresh(key)
        return await self.take_into_use(key, order, await self.prepare(order))

    async def take_into_use(self, key: Key, order: Order, confirmed: Sequence[SignedBytes]) -> Key:
        new = self.confirmed_key(key, order, confirmed)
        promised = await self.promise(new, confirmed)
        for outcome in (await self.hold(orders.activate(new, promised), new.signers)).values():
            assert isinstance(outcome.result, ActivatedShare), outcome
        return new

    async def promise(self, new: Key, confirmed: Sequence[SignedBytes]) -> list[SignedBytes]:
        """All n sign with the set, and promise to keep it."""
        await self.prove(new)
        outcomes = await self.hold(orders.promise(new, confirmed), new.signers)
        return [promise_of(outcome) for outcome in outcomes.values()]

    def confirmed_key(self, key: Key, order: Order, confirmed: Sequence[SignedBytes]) -> Key:
        """As it will be with the set that the order made."""
        pinned = PinnedKeys([own.identity.public_key for own in self.organisation.members.values()])
        said = [
            Confirmation.model_validate_json(pinned.open(CONFIRMATION_TYPE, signed))
            for signed in confirmed
        ]
        assert all(each.agreed == said[0].agreed for each in said)
        assert [each.signer for each in said] == list(key.signers)
        return replace(
            key,
            public_key=said[0].public_key,
            chain_code=said[0].chain_code,
            shares=order.ceremony,
            generation=said[0].generation,
        )

    async def prove(self, key: Key) -> None:
        """Quorums sign until every share of the set has; in DKLs23 every pair, together."""
        size = 2 if key.algorithm == ECDSA_SECP256K1 else 1
        left = set(combinations(key.signers, size))
        for quorum in combinations(key.signers, key.threshold):
            proved = left.intersection(combinations(quorum, size))
            if proved:
                for outcome in (await self.hold(orders.prove(key, quorum))).values():
                    assert outcome.status is OutcomeStatus.DONE, outcome
            left -= proved

    async def sign(self, key: Key, quorum: Sequence[str] | None = None) -> None:
        """A message that nobody has signed before; every participant has the same signature."""
        request = wanted(key)
        outcomes = await self.hold(orders.sign(key, quorum or key.quorum, request))
        results = [signature_of(outcome) for outcome in outcomes.values()]
        assert all(result == results[0] for result in results)
        check_signature(key, request, results[0])


async def marks_of_database(pool: Pool, new: Path) -> Marks:
    """The marks of a new state directory, which has the database's mark."""
    marks = Marks(new)
    row = await restore_state(pool)
    if row is not None:
        marks.write(row.mark)
    return marks


def wanted(key: Key) -> SignHash | SignMessage:
    """A request for a signature that was never asked for."""
    content = (uuid4().bytes + uuid4().bytes).hex()
    if key.algorithm.scheme == "EdDSA":
        return SignMessage(kind="Message", message="0x" + content)
    return SignHash(kind="Hash", hash=bytes.fromhex(content))


def signature_of(outcome: Outcome) -> MadeSignature:
    assert isinstance(outcome.result, MadeSignature), outcome
    return outcome.result


def check_signature(key: Key, request: SignRequest, made: MadeSignature) -> None:
    """Raises BadSignature."""
    assert key.public_key is not None
    digest = request.hash if isinstance(request, SignHash) else None
    verify(made.signature, key.public_key, key.algorithm, key.network, request, digest)


def confirmations(outcomes: Mapping[str, Outcome]) -> list[SignedBytes]:
    found = []
    for outcome in outcomes.values():
        assert isinstance(outcome.result, PreparedShare), outcome
        found.append(outcome.result.confirmation)
    return found


def promise_of(outcome: Outcome) -> SignedBytes:
    assert isinstance(outcome.result, PromisedShare), outcome
    return outcome.result.promise


def abandonment(outcome: Outcome) -> SignedBytes:
    assert isinstance(outcome.result, AbandonedShare), outcome
    return outcome.result.abandonment


def ended(outcome: Outcome) -> tuple[str, tuple[str, ...]]:
    """How it ended without a result: code and culprits."""
    assert outcome.result is None, outcome
    assert outcome.code is not None
    return outcome.code, outcome.culprits


@contextlib.asynccontextmanager
async def running(
    organisation: Organisation,
    databases: Mapping[str, str],
    *,
    delivery_url: str | None = None,
    min_threshold: int = 2,
    min_unsigned_copy_threshold: int | None = None,
    connections: int = 8,
    layer4: Mapping[str, Mapping[str, Any]] | None = None,
    states: Mapping[str, Path] | None = None,
) -> AsyncIterator[Parties]:
    """Signers over these databases; peers as the databases have them.

    ``delivery_url``: where they reach the delivery server, if not at its own URL.
    ``connections``: of each signer to its database. ``layer4``: the section of those who have it.
    ``states``: state directories by signer.
    """
    url = delivery_url or organisation.server.url
    async with contextlib.AsyncExitStack() as stack:
        parties = [
            await stack.enter_async_context(
                Party.running(
                    organisation.members[name],
                    organisation.signer_settings(
                        name,
                        database,
                        url,
                        min_threshold,
                        (layer4 or {}).get(name),
                        min_unsigned_copy_threshold,
                    ),
                    database,
                    connections,
                    (states or {}).get(name),
                )
            )
            for name, database in databases.items()
        ]
        yield Parties(organisation, parties)


async def pin_each_other(organisation: Organisation, parties: Parties) -> None:
    for party in parties.by_name.values():
        for name in parties.by_name:
            if name != party.name:
                await party.peers.add(name, organisation.members[name].identity.public_key)
