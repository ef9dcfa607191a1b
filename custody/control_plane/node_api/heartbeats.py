"""Heartbeats: what a node says of itself, and the identity key that it is held to."""

import json
from datetime import datetime

from custody.control_plane.database import Database
from custody.control_plane.node_api.authorisation import RegisteredNode
from custody.control_plane.problems import Code, ProblemError
from custody.wire.node_api import HeartbeatRequest

_BEAT = """
    UPDATE nodes SET
        version = :version,
        capabilities = CAST(:capabilities AS jsonb),
        health = CASE WHEN audit_alarm IS NULL THEN CAST(:health AS jsonb)
            ELSE jsonb_build_object('status', 'failing', 'detail', audit_alarm) END,
        identity_public_key = :identity,
        slots = :slots,
        has_gate = :has_gate,
        sends_audit_records = :sends_audit_records,
        delivery_problems = CAST(:delivery_problems AS jsonb),
        job_signing_keys = :job_signing_keys,
        delivery_job_signing_keys = CAST(:delivery_job_signing_keys AS jsonb),
        left_in_flight = coalesce(CAST(:left_in_flight AS jsonb), left_in_flight),
        last_seen = now()
    WHERE id = :node AND coalesce(identity_public_key, :identity) = :identity
    RETURNING clock_timestamp() AS time
    """


class Heartbeats:
    """Records heartbeats.

    A node's identity key signs its audit heads. It is believed at the first heartbeat after the
    operator has registered the node, and held to from then on: a node that could change it could
    disown its audit chain. After the node was set up again, the operator removes and adds it again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, node: RegisteredNode, beat: HeartbeatRequest) -> datetime:
        """Returns the control plane's time. Raises ProblemError."""
        if beat.group != node.group:
            raise ProblemError(
                Code.WRONG_GROUP,
                f"Node {node.id} is registered in group {node.group}, and its configuration says "
                f"{beat.group}. Correct the registration or the configuration.",
            )
        row = await self._database.row(
            _BEAT,
            {
                "node": node.id,
                "version": beat.version,
                "capabilities": json.dumps(beat.capabilities),
                "health": beat.health.model_dump_json(),
                "identity": beat.identity_public_key,
                "slots": beat.slots,
                "has_gate": beat.has_gate,
                "sends_audit_records": beat.sends_audit_records,
                "delivery_problems": json.dumps(beat.delivery_problems),
                "job_signing_keys": list(beat.job_signing_keys),
                "delivery_job_signing_keys": json.dumps(beat.delivery_job_signing_keys),
                "left_in_flight": _left_in_flight(beat),
            },
        )
        if row is None:
            raise ProblemError(
                Code.IDENTITY_CHANGED,
                f"Node {node.id} has shown another identity key before. If it was set up again, "
                f"run: control-plane node remove {node.id}, then: control-plane node add "
                f"{node.id} --group {node.group} --certificate FILE. Otherwise somebody else "
                "has its certificate.",
            )
        time: datetime = row.time
        return time


def _left_in_flight(beat: HeartbeatRequest) -> str | None:
    """Return None if the node does not know: its earlier statement stands."""
    if beat.left_in_flight is None:
        return None
    return json.dumps([left.model_dump(mode="json") for left in beat.left_in_flight])
