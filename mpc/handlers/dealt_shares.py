"""The first shares of a key that exists already: from one dealing of an application, or from t.

docs/adr/0036-import-and-copy-of-shares.md has the mathematics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from custody.node.stored_key import StoredKey
from custody.wire.jobs import KeyReference
from custody.wire.tickets import Ticket
from mpc._native import Share, dealt_share
from mpc.ceremonies.ceremony import Admitted
from mpc.ceremonies.tickets import index_of

if TYPE_CHECKING:
    from mpc._native import Received


def hollow_share(
    admitted: Admitted,
    public_key: bytes,
    chain_code: bytes | None,
    dealings: Mapping[int, Received],
) -> Share:
    """Return this signer's share, the sum of its sub-shares. Only Refresh accepts the share.

    ``dealings``: by the index of the dealer. Raises ProtocolAbort for a wrong dealing.
    """
    ticket = admitted.ticket
    return dealt_share(
        protocol=ticket.protocol,
        index=index_of(ticket, admitted.quorum.me),
        threshold=ticket.threshold,
        signers=len(ticket.signers),
        public_key=public_key,
        chain_code=chain_code or b"",
        session_id=admitted.digest,
        dealings=dealings,
    )


def dealt_key(
    ticket: Ticket, key: KeyReference, public_key: bytes, chain_code: bytes | None
) -> StoredKey:
    """Return the facts of the key that the ceremony must end with."""
    return StoredKey(
        id=ticket.key_id,
        algorithm=key.algorithm,
        network=key.network,
        public_key=public_key,
        chain_code=chain_code,
        holders=ticket.holders,
    )
