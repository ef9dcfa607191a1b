"""Sets of shares as ceremonies make them, and what a signer keeps of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from custody.database.pool import Pool
from custody.node.handlers import RowChange
from custody.wire.algorithms import Curve, Protection, Scheme
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.imports import IMPORT_KEY_LIFETIME, ImportKeyStatement, Wrapping
from custody.wire.jobs import Endpoint
from custody.wire.statements import Confirmation, MadeFor
from custody.wire.tickets import CeremonyKind, Participant, Protocol, Ticket
from mpc._native import Share
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare
from tests.unit.mpc.native import parties

ME, INDEX = "signer-1", 1
SIGNERS = ["signer-1", "signer-2", "signer-3"]
OTHERS = SIGNERS[1:]
GROUP = "two-of-three"
MADE_FOR = MadeFor(endpoint=Endpoint.KEYS, external_id="order-7", application=None)


@dataclass(frozen=True)
class SetOfShares:
    """What one ceremony has left with all three signers."""

    shares: Mapping[int, Share]
    key_id: UUID = field(default_factory=uuid4)
    ceremony: UUID = field(default_factory=uuid4)
    generation: int = 0

    @property
    def ours(self) -> Share:
        return self.shares[INDEX]

    @property
    def confirmation(self) -> Confirmation:
        """Ours."""
        share = self.ours
        return Confirmation(
            key_id=self.key_id,
            ceremony=self.ceremony,
            generation=self.generation,
            protocol=Protocol(share.protocol),
            group=GROUP,
            threshold=2,
            signers=SIGNERS,
            public_key=share.public_key,
            chain_code=share.chain_code or None,
            transcript=share.transcript(),
            made_for=MADE_FOR,
            signer=ME,
            index=INDEX,
        )

    def refreshed(self) -> "SetOfShares":
        """The next generation."""
        shares = parties.refresh(self.shares)
        return SetOfShares(shares, self.key_id, generation=self.generation + 1)

    def repaired(self) -> Share:
        """Our share, as the other two can give it to us again."""
        return parties.repair(self.shares, target=INDEX, helpers=[2, 3])

    def repair_ticket(self) -> Ticket:
        participants = [Participant(signer=each, index=i) for i, each in enumerate(SIGNERS, 1)]
        return Ticket(
            ceremony=uuid4(),
            meeting=uuid4(),
            secret=bytes(32),
            kind=CeremonyKind.REPAIR,
            job_id=uuid4(),
            job_digest=bytes(32),
            key_id=self.key_id,
            generation=self.generation,
            share_set_id=self.ceremony,
            protocol=Protocol(self.ours.protocol),
            group=GROUP,
            threshold=2,
            signers=SIGNERS,
            participants=participants,
            target=INDEX,
            delivery="delivery-1",
            issued_at=datetime.now(UTC),
            expires_at=datetime.now(UTC) + timedelta(minutes=2),
        )


def new_key(protocol: Protocol = Protocol.FROST_ED25519) -> SetOfShares:
    return SetOfShares(parties.make_key(protocol.value, 2, 3))


def import_key(
    expires_at: datetime | None = None,
) -> tuple[ImportKeyStatement, HybridPrivateKey]:
    """What a signer states of an import key, and its private half."""
    private_key = HybridPrivateKey.generate()
    statement = ImportKeyStatement(
        import_id=uuid4(),
        application=None,
        scheme=Scheme.EDDSA,
        curve=Curve.ED25519,
        protection=Protection.MPC,
        wrapping=Wrapping.HPKE,
        import_key=private_key.public_key,
        expires_at=expires_at or datetime.now(UTC) + IMPORT_KEY_LIFETIME,
        group=GROUP,
        threshold=2,
        signers=SIGNERS,
        node=ME,
    )
    return statement, private_key


async def put(pool: Pool, *rows: RowChange) -> None:
    """Change rows as the job loop does, in one transaction; then forget what they replace."""
    async with pool.transaction() as connection:
        for row in rows:
            values = row.alone
            await connection.rows(row.sql, values)
    for row in rows:
        if row.after is not None:
            row.after()


async def confirm(pool: Pool, shares: Shares, made: SetOfShares) -> StoredShare:
    await put(pool, await shares.prepare_row(made.confirmation, None, made.ours))
    return await found(shares, made)


async def promise(pool: Pool, shares: Shares, made: SetOfShares) -> StoredShare:
    """Confirm it, let it have signed, and promise to keep it."""
    stored = await confirm(pool, shares, made)
    await put(pool, shares.proved_row(stored, OTHERS), shares.promise_row(stored))
    return await found(shares, made)


async def activate(pool: Pool, shares: Shares, made: SetOfShares) -> StoredShare:
    """Promise it, and take it into use."""
    stored = await promise(pool, shares, made)
    await put(pool, shares.activate_row(stored))
    return await found(shares, made)


async def found(shares: Shares, made: SetOfShares) -> StoredShare:
    stored = await shares.find(made.key_id, made.ceremony)
    assert stored is not None
    return stored
