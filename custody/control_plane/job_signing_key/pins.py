"""Which nodes and delivery servers pin a job-signing key, as heartbeats say."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from custody.control_plane.database import AnyRow
from custody.control_plane.jobs.queue import SEEN_LATELY_SECONDS
from custody.database.connection import Connection

_NODES = """
    SELECT id, node_group, last_seen, job_signing_keys, delivery_job_signing_keys,
        coalesce(last_seen > now() - make_interval(secs => :seen_lately), false) AS is_alive
    FROM nodes ORDER BY node_group, id
"""

_UNFINISHED = """
    SELECT signing_key_id, count(*) AS requests, max(expires_at) AS last_expires_at
    FROM jobs WHERE finished_at IS NULL GROUP BY signing_key_id ORDER BY signing_key_id
"""


@dataclass(frozen=True)
class Pins:
    """The job-signing keys that one node or delivery server pins, by id; None: it did not say.

    ``group``: a node's group; None for a delivery server. ``last_seen``: of a delivery server, when
    the signer was seen that told of it.
    """

    name: str
    group: str | None
    is_alive: bool
    last_seen: datetime | None
    keys: tuple[str, ...] | None

    def pin(self, key_id: str) -> bool:
        """Return True if it said that it pins this key."""
        return key_id in (self.keys or ())


@dataclass(frozen=True)
class Unfinished:
    """The unfinished requests whose jobs one key has signed."""

    signing_key_id: str
    requests: int
    last_expires_at: datetime


async def read_pins(connection: Connection, delivery_servers: Sequence[str]) -> list[Pins]:
    """Return the pins of each registered node and each configured delivery server."""
    rows = await connection.rows(_NODES, {"seen_lately": SEEN_LATELY_SECONDS})
    nodes = [
        Pins(
            row.id,
            row.node_group,
            row.is_alive,
            row.last_seen,
            None if row.job_signing_keys is None else tuple(row.job_signing_keys),
        )
        for row in rows
    ]
    alive = [row for row in rows if row.is_alive]
    return nodes + [_of_server(name, alive) for name in delivery_servers]


async def read_unfinished(connection: Connection) -> list[Unfinished]:
    """Return the unfinished requests by the key that signed their jobs."""
    return [
        Unfinished(row.signing_key_id, row.requests, row.last_expires_at)
        for row in await connection.rows(_UNFINISHED)
    ]


def in_the_way(pins: Sequence[Pins], key_id: str) -> list[Pins]:
    """Return the nodes and delivery servers that are alive and do not pin a key."""
    return [each for each in pins if each.is_alive and not each.pin(key_id)]


def _of_server(name: str, signers: Sequence[AnyRow]) -> Pins:
    """Join what living signers say of a delivery server: a key counts if all of them name it.

    A signer that says nothing of the server has not reached it since that signer started.
    """
    said = [row for row in signers if name in row.delivery_job_signing_keys]
    if not said:
        return Pins(name, None, is_alive=False, last_seen=None, keys=None)
    keys = set.intersection(*(set(row.delivery_job_signing_keys[name]) for row in said))
    last_seen = max(row.last_seen for row in said)
    return Pins(name, None, is_alive=True, last_seen=last_seen, keys=tuple(sorted(keys)))
