"""The bans that signers state: kept for good, and for the choice of quorums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import ValidationError

from custody.control_plane.columns import columns
from custody.control_plane.database import Database
from custody.runtime.cache import Cache
from custody.wire.framing import Domain, tagged_hash
from custody.wire.signed_bytes import BAN_TYPE, BadSignedBytes, PinnedKeys, SignedBytes
from custody.wire.statements import Ban

MAX_REMEMBERED = 100_000

_KEEP = """
    INSERT INTO bans (key_id, signer, banned, reason, at, payload, signature, signing_key_id)
    SELECT * FROM unnest(
        CAST(:key_id AS uuid[]), CAST(:signer AS varchar[]), CAST(:banned AS varchar[]),
        CAST(:reason AS varchar[]), CAST(:at AS timestamptz[]), CAST(:payload AS bytea[]),
        CAST(:signature AS bytea[]), CAST(:signing_key_id AS varchar[]))
    ON CONFLICT DO NOTHING
    RETURNING key_id, banned
    """

log = structlog.get_logger(__name__)


class BadBan(ValueError):
    """A ban that is not stated by the signer that sends it."""


@dataclass(frozen=True, slots=True)
class BanRow:
    """A new row of ``bans``."""

    key_id: UUID
    signer: str
    banned: str
    reason: str
    at: datetime
    payload: bytes
    signature: bytes
    signing_key_id: str


class Bans:
    """Takes in what heartbeats bring. What was taken in before is known, and costs nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = Cache[bytes, bool](MAX_REMEMBERED)

    async def keep(self, signer: str, identity: bytes, stated: Sequence[SignedBytes]) -> None:
        """Keep the new ones of those that hold. ``identity``: the signer's Ed25519 public key."""
        new = {_digest(signer, one): one for one in stated}
        new = {digest: one for digest, one in new.items() if digest not in self._known}
        if not new:
            return
        opened = []
        for one in new.values():
            try:
                opened.append(_row(open_ban(signer, identity, one), one))
            except BadBan as bad:
                log.warning("ban not believed", signer=signer, reason=str(bad))
        if opened:
            for row in await self._database.rows(_KEEP, columns(BanRow, opened)):
                log.error("ban", signer=signer, banned=row.banned, key=str(row.key_id))
        for digest in new:
            self._known.put(digest, True)


def open_ban(signer: str, identity: bytes, signed: SignedBytes) -> Ban:
    """Return the ban if its signature holds and it is this signer's. Raise BadBan."""
    try:
        ban = Ban.model_validate_json(PinnedKeys([identity]).open(BAN_TYPE, signed))
    except BadSignedBytes as bad:
        raise BadBan(f"it is not signed by the signer's identity key: {bad}") from None
    except ValidationError:
        raise BadBan("the signer signed, as a ban, something that is not a ban") from None
    if ban.signer != signer or ban.banned == signer:
        raise BadBan(f"it says that {ban.signer} bans {ban.banned}")
    return ban


def _digest(signer: str, signed: SignedBytes) -> bytes:
    return tagged_hash(Domain.BAN, signer.encode(), signed.signature, signed.payload)


def _row(ban: Ban, signed: SignedBytes) -> BanRow:
    return BanRow(
        key_id=ban.key_id,
        signer=ban.signer,
        banned=ban.banned,
        reason=ban.reason,
        at=ban.at,
        payload=signed.payload,
        signature=signed.signature,
        signing_key_id=signed.signing_key_id,
    )
