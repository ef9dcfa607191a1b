"""A fault at each statement of a job, in turn: the job has one effect, and nothing is lost."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from uuid import uuid4

import httpx
import pytest

from custody.database.causes import DATABASE_ERRORS, is_transient
from custody.database.pool import Pool
from custody.node import journal
from custody.wire.audit import GENESIS, chain_hash
from custody.wire.node_api import ClaimedJob
from custody.wire.outcomes import Outcome
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts, node_parts
from tests.integration.outages.broken_statements import BrokenStatements, Fault

TRIES = 20
LAPSE_TRIES = 500
LAPSE = "UPDATE jobs SET lease_until = now() WHERE lease_until IS NOT NULL"
MOST = 100


# The node's side: look a job up, commit its outcome, mark it as reported


@pytest.fixture
async def node(driver_database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NodeParts]:
    monkeypatch.setattr(journal, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(journal, "LONGEST_PAUSE", 0.01)
    async with Pool(driver_database, 4, "test") as pool:
        yield node_parts(pool, "driver-1")


@pytest.mark.parametrize("key_row", [False, True], ids=["signature", "key"])
@pytest.mark.parametrize("fault", Fault)
async def test_a_job_of_a_node_is_committed_once_whichever_statement_fails(
    node: NodeParts, broken_statements: BrokenStatements, fault: Fault, key_row: bool
):
    jobs = []
    for number in range(1, MOST):
        broken_statements.arm(number, fault)
        wanted = commit(key_row=key_row)
        assert await node.journal.look_up(wanted.job_id) is None
        recorded = await node.journal.commit(wanted)
        assert recorded == await node.journal.look_up(wanted.job_id)
        assert set(await node.journal.unreported()) == {wanted.job_id}
        digest = hashlib.sha256(recorded.outcome).digest()
        await node.journal.mark_reported({wanted.job_id: digest})
        jobs.append(wanted.job_id)
        if broken_statements.fired is None:
            break
    broken_statements.disarm()
    assert len(jobs) > 4, "each of the statements was broken once"
    await check_chain(node, len(jobs))
    pool = node.journal.database._pool
    [found] = await pool.rows(
        "SELECT (SELECT count(*) FROM journal) AS outcomes,"
        " (SELECT count(*) FROM wrapped_keys) AS made"
    )
    assert (found.outcomes, found.made) == (len(jobs), len(jobs) if key_row else 0)


async def check_chain(node: NodeParts, records: int) -> None:
    """Require that the chain has so many records, and that each follows from the one before."""
    pool = node.journal.database._pool
    rows = await pool.rows("SELECT sequence, record, hash FROM audit ORDER BY sequence")
    assert [row.sequence for row in rows] == list(range(1, records + 1))
    last = GENESIS
    for row in rows:
        last = chain_hash(last, row.record)
        assert row.hash == last


# The control plane's side: a request, its job, the report of its outcome


@pytest.fixture
async def replica(control_plane_database: str) -> AsyncIterator[Replica]:
    replica = Replica(control_plane_database)
    await replica.start()
    yield replica
    await replica.stop()


async def repeated(send: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Send a request again as our client does: after 503, under the same external id."""
    for _ in range(TRIES):
        answer = await send()
        if answer.status_code != 503:
            return answer
        await asyncio.sleep(0.02)
    raise AssertionError(f"still {answer.status_code}: {answer.text}")


async def worked(replica: Replica, node: MemoryNode) -> None:
    """Do the node's jobs; repeat the same report until the control plane has answered.

    Jobs of a claim without an answer come again once their lease has lapsed.
    """
    outcomes: list[tuple[ClaimedJob, Outcome]] = []
    for _ in range(LAPSE_TRIES):
        try:
            outcomes = outcomes or [(job, node.do(job)) for job in await node.claim()]
            if outcomes:
                await node.report(outcomes)
                return
            await replica.database.rows(LAPSE)
            await replica.queue.sweep()
        except DATABASE_ERRORS as error:
            if not is_transient(error):
                raise
        await asyncio.sleep(0.02)
    raise AssertionError("no job came")


@pytest.mark.parametrize("fault", Fault)
async def test_a_request_has_one_result_whichever_statement_fails(
    replica: Replica, broken_statements: BrokenStatements, fault: Fault
):
    api = replica.client((await replica.token()).text)
    node = MemoryNode(replica.database, replica.queue, replica.notifications)
    await node.report_in()
    numbers = 0
    for number in range(1, MOST):
        numbers = number
        broken_statements.arm(number, fault)
        wallet = {"network": "Ethereum", "store": "hsm", "external_id": str(uuid4())}
        made = await repeated(partial(api.post, "/v1/wallets", json=wallet))
        assert made.status_code in (200, 201), made.text
        await worked(replica, node)
        path = f"/v1/keys/{made.json()['key_id']}/signatures"
        wanted = {"kind": "Message", "message": "0x00", "external_id": str(uuid4())}
        asked = await repeated(partial(api.post, path, json=wanted))
        assert asked.status_code in (200, 201), asked.text
        await worked(replica, node)
        for url, status in (
            (f"/v1/wallets/{made.json()['id']}", "Active"),
            (f"{path}/{asked.json()['id']}", "Signed"),
        ):
            read = await repeated(partial(api.get, url))
            assert read.json()["status"] == status, read.text
        if broken_statements.fired is None:
            break
    broken_statements.disarm()
    assert numbers > 10, "each of the statements was broken once"
    [found] = await replica.database.rows(
        "SELECT (SELECT count(*) FROM wallets) AS wallets, (SELECT count(*) FROM keys) AS made,"
        " (SELECT count(*) FROM jobs) AS jobs"
    )
    assert (found.wallets, found.made, found.jobs) == (numbers, numbers, 2 * numbers)
