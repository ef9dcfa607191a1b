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
from custody.wire.signed_bytes import ATTESTATION_TYPE, SigningKey
from custody.wire.statements import Attestation, MadeFor
from hsm_driver.vault import network_of

log = structlog.get_logger()

_KEYS = """
    SELECT key_id, scheme, curve, network, public_key, protection, imported, created_at,
        outcome
    FROM wrapped_keys LEFT JOIN journal ON job_id = key_id AND status = 'DONE'
    WHERE key_id > :after ORDER BY key_id LIMIT :limit
"""


class DriverKeys:
    """Reads the keys of a driver's group. Unwraps none of them."""

    def __init__(self, pool: Pool, node: str, group: str, signer: SigningKey) -> None:
        self._pool = pool
        self._node = node
        self._group = group
        self._signer = signer

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
        attestation = Attestation(
            key_id=row.key_id,
            made_for=_made_for(row.outcome),
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


def _made_for(outcome: bytes | None) -> MadeFor | None:
    """Return the request that the recorded outcome attests; None if the journal lacks it."""
    if outcome is None:
        return None
    try:
        result = Outcome.model_validate_json(outcome).result
        if not isinstance(result, GeneratedKey) or result.attestation is None:
            return None
        return Attestation.model_validate_json(result.attestation.payload).made_for
    except ValidationError:
        return None
