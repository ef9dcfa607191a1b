"""The bans that signers state: kept for good, and for the choice of quorums."""

from collections.abc import Sequence
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import text

from custody.control_plane.database import Database
from custody.wire.envelope import BAN_TYPE, BadEnvelope, PinnedKeys, SignedBytes
from custody.wire.framing import Domain, tagged_hash
from custody.wire.statements import Ban

MAX_REMEMBERED = 100_000

_KEEP = text(
    """
    INSERT INTO bans (key_id, signer, banned, reason, at, payload, signature, signing_key_id)
    SELECT * FROM unnest(
        CAST(:key_ids AS uuid[]), CAST(:signers AS varchar[]), CAST(:banned AS varchar[]),
        CAST(:reasons AS varchar[]), CAST(:times AS timestamptz[]), CAST(:payloads AS bytea[]),
        CAST(:signatures AS bytea[]), CAST(:signing_key_ids AS varchar[]))
    ON CONFLICT DO NOTHING
    RETURNING key_id, banned
    """
)

log = structlog.get_logger(__name__)


class BadBan(ValueError):
    """A ban that is not stated by the signer that sends it."""


class Bans:
    """Takes in what heartbeats bring. What was taken in before is known, and costs nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[bytes] = set()

    async def keep(self, signer: str, identity: bytes, stated: Sequence[SignedBytes]) -> None:
        """Keep the new ones of those that hold. ``identity``: the signer's Ed25519 public key."""
        new = {_digest(signer, one): one for one in stated}
        new = {digest: one for digest, one in new.items() if digest not in self._known}
        if not new:
            return
        opened = []
        for one in new.values():
            try:
                opened.append((open_ban(signer, identity, one), one))
            except BadBan as bad:
                log.warning("ban not believed", signer=signer, reason=str(bad))
        if opened:
            for row in await self._database.rows(_KEEP, _columns(opened)):
                log.error("ban", signer=signer, banned=row.banned, key=str(row.key_id))
        if len(self._known) > MAX_REMEMBERED:
            self._known.clear()
        self._known.update(new)


def open_ban(signer: str, identity: bytes, signed: SignedBytes) -> Ban:
    """The ban, once its signature holds and it is this signer's. Raises BadBan."""
    try:
        ban = Ban.model_validate_json(PinnedKeys([identity]).open(BAN_TYPE, signed))
    except BadEnvelope as bad:
        raise BadBan(f"it is not signed by the signer's identity key: {bad}") from None
    except ValidationError:
        raise BadBan("what the signer signed as a ban is none") from None
    if ban.signer != signer or ban.banned == signer:
        raise BadBan(f"it says that {ban.signer} bans {ban.banned}")
    return ban


def _digest(signer: str, signed: SignedBytes) -> bytes:
    return tagged_hash(Domain.BAN, signer.encode(), signed.signature, signed.payload)


def _columns(opened: Sequence[tuple[Ban, SignedBytes]]) -> dict[str, list[Any]]:
    return {
        "key_ids": [ban.key_id for ban, _ in opened],
        "signers": [ban.signer for ban, _ in opened],
        "banned": [ban.banned for ban, _ in opened],
        "reasons": [ban.reason for ban, _ in opened],
        "times": [ban.at for ban, _ in opened],
        "payloads": [signed.payload for _, signed in opened],
        "signatures": [signed.signature for _, signed in opened],
        "signing_key_ids": [signed.signing_key_id for _, signed in opened],
    }
