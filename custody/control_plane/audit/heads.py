"""The signed heads of the nodes' audit chains: evidence that a node cannot take back.

Every head is kept, so that a chain that was rewritten or cut differs from one of them. After
KEPT_WHOLE_DAYS only the last head of each hour stays, but all stay while the chain is in doubt.
What is wrong with a head raises the node's audit alarm, which shows as its health. An admin's
acknowledgement that the node's database was restored lifts it (restores.py in this folder);
otherwise only removing the node does.
"""

import asyncio
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from custody.control_plane.database import Database
from custody.database.causes import is_transient
from custody.wire.audit import AuditHead
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, BadSignedBytes, PinnedKeys, SignedBytes

KEPT_WHOLE_DAYS = 7
MAX_HEADS = 10_000
"""Heads in one answer, the newest ones: a year of hours, and more."""
GATHERING_SECONDS = 0.25
WAY_OUT = (
    "If the node's database was restored from a backup, run `audit restored` on its host, unless "
    "that is done, and then `control-plane node restored` here"
)
OVERTAKEN_SECONDS = 60.0
"""A heartbeat and a report may overtake each other, but not by so long."""

# heads that a restore has cost say nothing of the chain that the node has now. The lock waits
# for a removal of the node. FOR KEY SHARE would too, but overlapping heads could delay a removal.
_KEEP = """
    WITH kept AS (
        INSERT INTO audit_heads (node_id, sequence, hash, payload, signature, signing_key_id)
        SELECT id, :sequence, :hash, :payload, :signature, :signing_key_id
        FROM nodes WHERE id = :node FOR NO KEY UPDATE
        ON CONFLICT (node_id, sequence, hash) DO NOTHING
    )
    SELECT other.hash, highest.sequence, highest.age FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT hash FROM audit_heads WHERE node_id = :node AND sequence = :sequence
            AND hash <> :hash AND set_aside_by IS NULL LIMIT 1
    ) AS other ON true
    LEFT JOIN LATERAL (
        SELECT sequence, CAST(extract(epoch FROM now() - received_at) AS float8) AS age
        FROM audit_heads WHERE node_id = :node AND set_aside_by IS NULL
        ORDER BY sequence DESC, received_at LIMIT 1
    ) AS highest ON true
    """

_RAISE_ALARM = """
    UPDATE nodes SET audit_alarm = coalesce(audit_alarm, :alarm), health = jsonb_build_object(
        'status', 'failing', 'detail', coalesce(audit_alarm, :alarm)),
        audit_alarm_is_gap = audit_alarm_is_gap AND :is_gap
    WHERE id = :node
    RETURNING id
    """

_READ = """
    SELECT payload, signature, signing_key_id FROM audit_heads
    WHERE node_id = :node AND (set_aside_by IS NOT NULL) = :is_set_aside
    ORDER BY sequence DESC, received_at DESC LIMIT :limit
    """

_THIN = """
    DELETE FROM audit_heads USING (
        SELECT node_id, sequence, row_number() OVER (
            PARTITION BY node_id, date_trunc('hour', received_at) ORDER BY sequence DESC) AS place
        FROM audit_heads JOIN nodes ON nodes.id = node_id AND audit_alarm IS NULL
        WHERE received_at < now() - make_interval(days => :days) AND set_aside_by IS NULL
    ) AS old
    WHERE old.place > 1 AND audit_heads.node_id = old.node_id
        AND audit_heads.sequence = old.sequence AND audit_heads.set_aside_by IS NULL
    RETURNING audit_heads.sequence
    """

log = structlog.get_logger(__name__)


class BadHead(ValueError):
    """A head that this node's identity key has not signed as its own."""


@dataclass(frozen=True)
class KeptBefore:
    """The state before a head: another hash for the same sequence, and the highest head."""

    other_hash: bytes | None
    highest: int
    highest_age_seconds: float


class AuditHeads:
    """Keeps the heads that nodes send, and judges each against those before it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: dict[str, tuple[bytes, SignedBytes]] = {}
        self._keeping: asyncio.Task[None] | None = None

    def keep_soon(self, node: str, identity: bytes, signed: SignedBytes) -> None:
        """Keep a report's head, or the one of a later report, within GATHERING_SECONDS.

        Each head covers all that were before it, so nobody waits for this one.
        """
        self._latest[node] = (identity, signed)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_gathered(), name="audit heads")

    async def _keep_gathered(self) -> None:
        await asyncio.sleep(GATHERING_SECONDS)
        try:
            await self.keep_latest()
        except Exception as error:
            if not is_transient(error):
                raise
            log.debug("audit heads not kept, the next ones follow", error=type(error).__name__)

    async def keep_latest(self) -> None:
        """Keep what ``keep_soon`` has gathered now."""
        latest, self._latest = self._latest, {}
        for node, (identity, signed) in latest.items():
            await self.keep(node, identity, signed, is_current=False)

    async def keep(self, node: str, identity: bytes, signed: SignedBytes, is_current: bool) -> None:
        """Keep a head signed under ``identity``, the node's 32-byte Ed25519 public key.

        ``is_current``: the node sent its head of this moment (a heartbeat), so that it must not
        go back. A report's may be old, when the report had to be sent again.
        """
        try:
            head = open_head(node, identity, signed)
        except BadHead as bad:
            await self.raise_alarm(node, str(bad), is_gap=False)
            return
        before = await self._keep(node, head, signed)
        alarm = judge(head, before, is_current)
        if alarm is not None:
            await self.raise_alarm(node, f"{alarm}. {WAY_OUT}", is_gap=True)

    async def kept(self, node: str, *, is_set_aside: bool = False) -> list[SignedBytes]:
        """Return the newest MAX_HEADS heads of a node, oldest first.

        ``is_set_aside``: those that an acknowledged restore has cost, instead of the others.
        """
        await self.keep_latest()
        values = {"node": node, "limit": MAX_HEADS, "is_set_aside": is_set_aside}
        rows = await self._database.rows(_READ, values)
        return [
            SignedBytes(
                payload=row.payload, signature=row.signature, signing_key_id=row.signing_key_id
            )
            for row in reversed(rows)
        ]

    async def thin(self) -> int:
        """Drop old heads but for the last of each hour; returns how many."""
        return len(await self._database.rows(_THIN, {"days": KEPT_WHOLE_DAYS}))

    async def _keep(self, node: str, head: AuditHead, signed: SignedBytes) -> KeptBefore:
        place = {"node": node, "sequence": head.sequence, "hash": head.hash}
        parameters = {**place, **dict(signed)}
        row = next(iter(await self._database.hastily(_KEEP, parameters)), None)
        if row is None or row.sequence is None:
            return KeptBefore(None, 0, 0.0)
        return KeptBefore(row.hash, row.sequence, row.age)

    async def raise_alarm(self, node: str, alarm: str, *, is_gap: bool) -> None:
        """Raise the audit alarm. ``is_gap``: a restored database would explain it."""
        log.error("audit chain in doubt", node=node, reason=alarm)
        await self._database.rows(_RAISE_ALARM, {"node": node, "alarm": alarm, "is_gap": is_gap})


def open_head(node: str, identity: bytes, signed: SignedBytes) -> AuditHead:
    """Return the head if its signature holds and it is this node's. Raise BadHead."""
    try:
        payload = PinnedKeys([identity]).open(AUDIT_HEAD_TYPE, signed)
        head = AuditHead.model_validate_json(payload)
    except BadSignedBytes as bad:
        raise BadHead(f"an audit head is not signed by the node's identity key: {bad}") from None
    except ValidationError:
        raise BadHead(
            "the node signed, as its audit head, something that is not an audit head"
        ) from None
    if head.node != node:
        raise BadHead(f"the node sent an audit head of another node, {head.node}")
    return head


def judge(head: AuditHead, before: KeptBefore, is_current: bool) -> str | None:
    """Return what is wrong with a head, given those before it; None if nothing is."""
    if before.other_hash is not None:
        return (
            f"audit record {head.sequence} was changed after it was reported: its hash was "
            f"{before.other_hash.hex()}, and is now {head.hash.hex()}"
        )
    if (
        is_current
        and head.sequence < before.highest
        and before.highest_age_seconds > OVERTAKEN_SECONDS
    ):
        return (
            f"the audit chain ends at record {head.sequence}, but record {before.highest} "
            "had been reported: the last records are gone"
        )
    return None
