"""The wrapped keys of a driver's database, attested for its inventory."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import structlog
from pydantic import ValidationError

from custody.database.pool import Pool
from custody.wire.algorithms import Curve, Protection, Scheme, Store
from custody.wire.inventory import HeldKey, Holding
from custody.wire.outcomes import GeneratedKey, Outcome
from custody.wire.signed_bytes import (
    ATTESTATION_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)
from custody.wire.statements import Attestation
from hsm_driver.vault import network_of

log = structlog.get_logger()

_KEYS = """
    SELECT key_id, scheme, curve, network, public_key, protection, imported, created_at,
        outcome
    FROM wrapped_keys LEFT JOIN journal ON job_id = key_id AND status = 'DONE'
    WHERE key_id > :after ORDER BY key_id LIMIT :limit
"""


class DriverKeys:
    """Reads the keys of a driver's group. Unwraps none of them.

    ``others``: identity public keys of the group's drivers whose attestations count too.
    """

    def __init__(
        self,
        pool: Pool,
        node: str,
        group: str,
        signer: SigningKey,
        others: Sequence[bytes] = (),
    ) -> None:
        self._pool = pool
        self._node = node
        self._group = group
        self._signer = signer
        self._pinned = PinnedKeys([signer.public_key, *others])

    async def pages(self, limit: int) -> AsyncIterator[Sequence[HeldKey]]:
        after = UUID(int=0)
        while rows := await self._pool.rows(_KEYS, {"after": after, "limit": limit}):
            yield [held for row in rows if (held := self._held_or_none(row)) is not None]
            after = rows[-1].key_id

    def _held_or_none(self, row: Any) -> HeldKey | None:
        """Return None for a damaged row: the control plane then shows the key as missing here."""
        try:
            return self._held(row)
        except ValueError as error:
            log.error("a stored key is damaged", key=str(row.key_id), reason=str(error))
            return None

    def _held(self, row: Any) -> HeldKey:
        recorded = self._recorded(row.outcome)
        if recorded is not None:
            _require_unchanged(recorded, row)
        attestation = Attestation(
            key_id=row.key_id,
            made_for=recorded and recorded.made_for,
            store=Store.HSM,
            scheme=Scheme(row.scheme),
            curve=Curve(row.curve),
            network=network_of(row),
            public_key=row.public_key,
            protection=Protection(row.protection),
            group=self._group,
            threshold=1,
            signers=[self._node],
            node=self._node,
            imported=row.imported,
        )
        return HeldKey(
            key_id=row.key_id,
            attestation=self._signer.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode()),
            holding=Holding.IN_USE,
            created_at=row.created_at,
            outcome=row.outcome,
        )

    def _recorded(self, outcome: bytes | None) -> Attestation | None:
        """Return what a pinned driver attested when it made the key; None if that is not known.

        A writer of the database could put another request there.
        """
        signed = None if outcome is None else _attestation_in(outcome)
        if signed is None:
            return None
        try:
            return Attestation.model_validate_json(self._pinned.open(ATTESTATION_TYPE, signed))
        except (BadSignedBytes, ValidationError) as error:
            log.warning("the request of a key is not attested again", reason=str(error))
            return None


def _attestation_in(outcome: bytes) -> SignedBytes | None:
    try:
        result = Outcome.model_validate_json(outcome).result
    except ValidationError:
        return None
    return result.attestation if isinstance(result, GeneratedKey) else None


def _require_unchanged(recorded: Attestation, row: Any) -> None:
    """Raise ValueError if the row has other facts than were attested when the key was made."""
    facts = ("key_id", "scheme", "curve", "network", "public_key", "imported")
    changed = [fact for fact in facts if getattr(recorded, fact) != getattr(row, fact)]
    if changed:
        raise ValueError(f"{', '.join(changed)} changed since the key was made")
