"""GET /node/v1/keys: what a node whose database was restored may lack."""

from datetime import UTC, datetime, timedelta

from custody.wire.node_api import ChangedKeys
from custody.wire.outcomes import OutcomeStatus
from tests.integration.node_api.conftest import Nodes
from tests.integration.node_api.nodes import Node, report_of
from tests.integration.node_api.test_admission import problem
from tests.integration.node_api.workload import Workload


async def changed_since(node: Node, since: datetime) -> ChangedKeys:
    answer = await node.http.get("keys", params={"since": since.isoformat()})
    assert answer.status_code == 200, answer.text
    return ChangedKeys.model_validate_json(answer.content)


async def make_key(node: Node, workload: Workload):
    key, job_id = await workload.wallet()
    (job,) = await node.claim()
    outcome = node.outcome(job_id, OutcomeStatus.DONE, result=workload.generated(key))
    await node.report(report_of(job, outcome))
    return key


async def test_a_node_is_told_the_keys_of_its_group_since_a_time(
    node: Node, nodes: Nodes, workload: Workload
):
    before = datetime.now(UTC) - timedelta(seconds=5)
    made = await make_key(node, workload)
    await workload.wallet()  # not made yet
    found = await changed_since(node, before)
    assert [key.key_id for key in found.keys] == [made.id]
    assert found.is_complete
    assert (await changed_since(node, datetime.now(UTC) + timedelta(seconds=5))).keys == []
    other = await nodes.add("driver-2", "other-group")
    assert (await changed_since(other, before)).keys == []


async def test_a_time_without_an_offset_is_refused(node: Node):
    problem(await node.http.get("keys"), 422, "invalid_request")
    problem(
        await node.http.get("keys", params={"since": "2026-01-01T00:00:00"}), 422, "invalid_request"
    )
