"""Comparison of a job's key with the key that this node has stored. Pure.

In both modes, every handler of a job about an existing key uses this comparison.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from custody.node.errors import Failed, Refused
from custody.wire.algorithms import Algorithm, Network
from custody.wire.derivation import child_public_key
from custody.wire.jobs import Job, JobKind, KeyHolders, KeyReference
from custody.wire.tickets import Ticket

NEED_NO_PUBLIC_KEY = frozenset({JobKind.ABANDON, JobKind.DISCARD})
"""Erase a set that may have been made before all signers agreed on its public key."""

Comparison = tuple[str, object, object]
"""A fact's name, its value in the job, and the stored value."""


@dataclass(frozen=True)
class StoredKey:
    """The facts of a stored root key. None of them ever changes.

    A Bitcoin wallet's address type is not among them: it follows from the algorithm.
    ``holders`` is None in HSM mode, where the one driver group of the database holds every key.
    """

    id: UUID
    algorithm: Algorithm
    network: Network | None
    public_key: bytes
    chain_code: bytes | None = None
    holders: KeyHolders | None = None


def require_same_key(stored: StoredKey, job: Job, ticket: Ticket | None = None) -> None:
    """Raise unless each fact in a job and its ticket equals the stored key's.

    A wrong job raises Failed (key_mismatch), because it stays wrong at every attempt. A wrong
    ticket raises Refused (bad_ticket), because another attempt brings another ticket.
    """
    for name, said, known in _of_job(stored, job):
        if said != known:
            raise Failed(
                "key_mismatch",
                f"the job's {name} is not that of the key {stored.id} as this node has stored it",
            )
    if ticket is None:
        return
    for name, said, known in _of_ticket(stored, ticket):
        if said != known:
            raise Refused(
                "bad_ticket",
                f"the ticket's {name} is not that of the key {stored.id} as this node has "
                "stored it",
            )


def _of_job(stored: StoredKey, job: Job) -> Iterator[Comparison]:
    key = job.key
    yield "root" if key.path else "key id", key.root or key.id, stored.id
    yield "algorithm", key.algorithm, stored.algorithm
    if stored.network is not None or not key.path:
        # a child of a wallet's key has that wallet's network; a child of a bare key may have any
        yield "network", key.network, stored.network
    if key.public_key is not None or job.kind not in NEED_NO_PUBLIC_KEY:
        yield "public key", key.public_key, _public_key(stored, key)


def _of_ticket(stored: StoredKey, ticket: Ticket) -> Iterator[Comparison]:
    yield "key_id", ticket.key_id, stored.id
    yield "group, threshold or signers", ticket.holders, stored.holders


def _public_key(stored: StoredKey, key: KeyReference) -> bytes:
    """Return the public key of the stored key or its child. Raise Failed for a childless key."""
    if not key.path:
        return stored.public_key
    if stored.chain_code is None:
        raise Failed("key_mismatch", f"the key {stored.id} has no children")
    return child_public_key(stored.public_key, stored.chain_code, key.path)
