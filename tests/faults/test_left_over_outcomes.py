"""Outcomes committed by an earlier run are reported also when the database is away meanwhile."""

import asyncio
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.pool import Pool
from custody.migrations.schema import migrate
from custody.node.audit import AuditChain
from custody.node.control_plane_client import ControlPlaneClient
from custody.node.freeze import Freeze
from custody.node.journal import Journal
from custody.node.reporter import Reporter
from custody.wire.outcomes import Outcome, OutcomeStatus
from custody.wire.signed_bytes import SigningKey
from devstack.certificates import Leaf
from devstack.postgres import Cluster
from tests.faults.hostile_control_plane import HostileControlPlane


async def test_a_database_that_goes_away_before_the_report_only_delays_it(
    cluster: Cluster, plane: HostileControlPlane, node_leaf: Leaf, tmp_path: Path
):
    url = cluster.create_database("hsm_driver")
    await asyncio.to_thread(migrate, "hsm_driver", url)
    outcome = Outcome(job_id=uuid4(), node="node-1", status=OutcomeStatus.DENIED, code="expired")
    content = outcome.model_dump_json().encode()
    async with (
        Pool(url, 2, "test") as pool,
        ControlPlaneClient(plane.url, node_leaf.client()) as client,
    ):
        chain = AuditChain(pool, "node-1", SigningKey(Ed25519PrivateKey.generate()))
        reporter = Reporter(client, Journal(pool, "node-1", chain), chain, Freeze(tmp_path))
        given = plane.expect(outcome.job_id)
        await asyncio.to_thread(cluster.stop)
        reporting = asyncio.create_task(reporter.report(outcome.job_id, None, content))
        await asyncio.sleep(2)  # an end, which must not come, shows by nothing else
        assert not reporting.done()
        await asyncio.to_thread(cluster.start)
        await asyncio.wait_for(reporting, 30)
    assert given.outcomes == [content]
