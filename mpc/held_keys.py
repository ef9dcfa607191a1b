"""The keys of which a signer has or had a share, for its inventory. Keys in use are attested."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import structlog

from custody.database.pool import Pool
from custody.node.errors import Failed
from custody.wire.algorithms import Protection, Store
from custody.wire.inventory import HeldKey, Holding
from custody.wire.signed_bytes import ATTESTATION_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Attestation
from mpc.shares.share_queries import HELD
from mpc.shares.shares import stored_share
from mpc.shares.stored_share import ShareState, StoredShare

log = structlog.get_logger()

HOLDING = {
    ShareState.ACTIVE: Holding.IN_USE,
    ShareState.REPAIRED: Holding.REPAIRED,
    ShareState.CONFIRMED: Holding.WAITING,
    ShareState.PROMISED: Holding.WAITING,
    ShareState.ERASED: Holding.ERASED,
}


class SignerKeys:
    """Reads the facts of a signer's shares. Decrypts none of them."""

    def __init__(self, pool: Pool, node: str, signer: SigningKey) -> None:
        self._pool = pool
        self._node = node
        self._signer = signer

    async def pages(self, limit: int) -> AsyncIterator[Sequence[HeldKey]]:
        last_key = last_ceremony = UUID(int=0)
        while True:
            place = {
                "last_key": last_key,
                "last_ceremony": last_ceremony,
                "limit": limit,
            }
            rows = await self._pool.rows(HELD, place)
            if not rows:
                return
            yield [held for row in rows if (held := self._held_or_none(row)) is not None]
            last_key, last_ceremony = rows[-1].key_id, rows[-1].ceremony

    def _held_or_none(self, row: Any) -> HeldKey | None:
        """Return None for a damaged row: the control plane then shows the share as missing."""
        try:
            return self._held(stored_share(row))
        except Failed as failure:
            log.error("a stored share is damaged", key=str(row.key_id), reason=str(failure))
            return None

    def _held(self, share: StoredShare) -> HeldKey:
        return HeldKey(
            key_id=share.key_id,
            attestation=self._attestation(share),
            holding=Holding.UNCERTAIN if share.is_uncertain else HOLDING[share.state],
            created_at=share.created_at,
            generation=share.generation,
            share_set_id=share.ceremony,
        )

    def _attestation(self, share: StoredShare) -> SignedBytes | None:
        """Return the signed attestation of an active, certain share; None for any other.

        A control plane that lies may ask for the inventory at any time. So the inventory attests
        only a share that Activate has attested before, with the promises of all signers.
        """
        if not share.is_active:
            return None
        attestation = attestation_of(share, self._node)
        return self._signer.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())


def attestation_of(share: StoredShare, node: str) -> Attestation:
    """Return what a signer attests of a key by its active share."""
    algorithm = share.key.algorithm
    return Attestation(
        key_id=share.key_id,
        made_for=share.made_for,
        store=Store.MPC,
        scheme=algorithm.scheme,
        curve=algorithm.curve,
        network=share.network,
        public_key=share.public_key,
        chain_code=share.chain_code,
        protection=Protection.MPC,
        group=share.group,
        threshold=share.threshold,
        signers=list(share.signers),
        node=node,
        imported=share.is_imported,
    )
