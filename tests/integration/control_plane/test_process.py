"""control-plane serve as a process: outages, stopping, refusals at the start."""

import asyncio
import json
import os
import re
import signal
import ssl
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import psycopg
import pytest

from custody.migrations.schema import migrate
from custody.runtime.errors import OperatorError
from devstack.certificates import Certificates
from devstack.control_plane import ControlPlane, ControlPlaneFiles, ControlPlaneOptions
from devstack.launcher import Tied
from devstack.postgres import Cluster
from tests.integration.control_plane.conftest import assert_problem
from tests.waiting import until

WALLET = {"network": "Ethereum", "store": "hsm"}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "pki")


@pytest.fixture
def replica(tmp_path: Path, cluster: Cluster, certificates: Certificates) -> Iterator[ControlPlane]:
    """Not started; its database has no tables yet."""
    files = ControlPlaneFiles(
        tmp_path / "control-plane", certificates, cluster.create_database("control_plane")
    )
    replica = files.replica(
        "control-plane", tmp_path / "control-plane.log", Tied(), ControlPlaneOptions()
    )
    yield replica
    replica.kill()


def client(replica: ControlPlane, certificates: Certificates) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(certificates.ca))
    headers = {"Authorization": f"Bearer {replica.create_token('shop')}"}
    return httpx.AsyncClient(
        base_url=replica.url, headers=headers, verify=context, trust_env=False, timeout=70
    )


def has_reported(cluster: Cluster) -> None:
    """As if a driver had sent a heartbeat."""
    with psycopg.connect(cluster.url("control_plane"), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO nodes (id, node_group, capabilities, last_seen) "
            "VALUES (%s, %s, %s, now())",
            ("driver-1", "hsm", json.dumps({"ECDSA/secp256k1": "hsm"})),
        )


def has_job(cluster: Cluster) -> bool:
    with psycopg.connect(cluster.url("control_plane")) as connection:
        return connection.execute("SELECT FROM jobs").fetchone() is not None


async def metrics(replica: ControlPlane) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as plain:
        return (await plain.get(f"http://127.0.0.1:{replica.metrics_port}/metrics")).text


async def until_answered(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """Ask again while the answer is 503."""
    async with asyncio.timeout(20):
        while (answer := await client.get(path)).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return answer


async def test_an_outage_of_the_database_and_its_end(
    replica: ControlPlane, cluster: Cluster, certificates: Certificates
):
    replica.migrate()
    replica.start()
    has_reported(cluster)
    async with client(replica, certificates) as api:
        before = (await api.post("/v1/wallets", json=WALLET)).json()
        path = f"/v1/wallets/{before['id']}"
        waiting = asyncio.create_task(api.get(f"{path}?wait=6"))
        await asyncio.sleep(0.3)  # nothing outside of the process shows that a GET waits
        await asyncio.to_thread(cluster.stop)
        for method, where in (("GET", path), ("POST", "/v1/wallets"), ("GET", "/readyz")):
            answer = await api.request(method, where, json=WALLET if method == "POST" else None)
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"] == "1"
        assert (await api.get("/healthz")).json() == {"status": "ok"}
        assert "custody_database_up 0.0" in await metrics(replica)
        assert (await waiting).json() == before  # held open through the outage
        await asyncio.to_thread(cluster.start)
        assert (await until_answered(api, path)).json() == before
        assert (await api.post("/v1/wallets", json=WALLET)).status_code == 201
        assert (await until_answered(api, "/readyz")).status_code == 200


async def test_after_a_quick_restart_of_the_database_nobody_notices(
    replica: ControlPlane, cluster: Cluster, certificates: Certificates
):
    replica.migrate()
    replica.start()
    has_reported(cluster)
    async with client(replica, certificates) as api:
        await asyncio.gather(*(api.post("/v1/wallets", json=WALLET) for _ in range(20)))
        await asyncio.to_thread(cluster.stop)
        await asyncio.to_thread(cluster.start)
        answers = await asyncio.gather(*(api.post("/v1/wallets", json=WALLET) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {201}
        assert len((await api.get("/v1/wallets")).json()["items"]) == 40


def until_logged(replica: ControlPlane, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in replica.log.read_text():
        assert time.monotonic() < deadline, replica.log.read_text()
        time.sleep(0.05)


async def test_a_start_without_the_database_waits_for_it(
    replica: ControlPlane, cluster: Cluster, certificates: Certificates
):
    replica.migrate()
    await asyncio.to_thread(cluster.stop)
    replica.start(wait=False)
    await asyncio.to_thread(until_logged, replica, "waiting for the database")
    await asyncio.to_thread(cluster.start)
    await asyncio.to_thread(replica.wait_until_ready)
    async with client(replica, certificates) as api:
        assert (await api.get("/v1/keys")).status_code == 200


async def test_while_it_waits_for_the_database_it_can_be_stopped(
    replica: ControlPlane, cluster: Cluster
):
    await asyncio.to_thread(cluster.stop)
    replica.start(wait=False)
    await asyncio.to_thread(until_logged, replica, "waiting for the database")
    pid = replica.process.pid
    replica.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_database_without_our_tables_is_refused(replica: ControlPlane):
    with pytest.raises(OperatorError, match="control-plane migrate"):
        replica.start()


def test_a_database_that_refuses_us_ends_the_start(replica: ControlPlane):
    text = replica.config.read_text()
    replica.config.write_text(re.sub(r"/control_plane\b", "/of_nobody", text, count=1))
    with pytest.raises(OperatorError, match=r"of_nobody.*does not exist"):
        replica.start()


async def test_sigterm_answers_who_is_waiting_and_ends(
    replica: ControlPlane, cluster: Cluster, certificates: Certificates
):
    replica.migrate()
    replica.start()
    has_reported(cluster)
    async with client(replica, certificates) as api:
        waiting = asyncio.create_task(api.post("/v1/wallets?wait=60", json=WALLET))
        await until(lambda: has_job(cluster))
        replica.process.signal(signal.SIGTERM)
        answer = await asyncio.wait_for(waiting, 5)
        assert (answer.status_code, answer.json()["status"]) == (201, "Pending")
    await asyncio.to_thread(replica.stop)
    assert '"stopped"' in replica.log.read_text()


def test_a_client_that_keeps_its_connection_and_asks_nothing_does_not_hold_up_the_end(
    replica: ControlPlane, certificates: Certificates
):
    replica.migrate()
    replica.start()
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with httpx.Client(base_url=replica.url, verify=context, trust_env=False) as idle:
        assert idle.get("/healthz").is_success
        assert replica.process.stop() == 0  # not killed in the end
        with pytest.raises(httpx.ConnectError):  # it was told: the next request makes another one
            idle.get("/healthz")
    assert '"stopped"' in replica.log.read_text()


async def test_metrics_are_local_and_count_routes(
    replica: ControlPlane, cluster: Cluster, certificates: Certificates
):
    replica.migrate()
    replica.start()
    has_reported(cluster)
    async with client(replica, certificates) as api:
        wallet = (await api.post("/v1/wallets", json=WALLET)).json()
        await api.get(f"/v1/wallets/{wallet['id']}")
        await api.get("/v1/nothing")
    shown = await metrics(replica)
    assert 'route="/v1/wallets/{wallet_id}",status="200"} 1.0' in shown
    assert 'custody_jobs_unfinished{group="hsm",state="Queued"} 1.0' in shown
    assert 'custody_oldest_job_seconds{group="hsm"}' in shown
    assert "custody_audit_alarm{" not in shown
    assert f'custody_build_info{{version="{version("custody")}"}} 1.0' in shown
    assert 'custody_node_silence_seconds{node="driver-1"}' in shown
    assert wallet["id"] not in shown
    assert "custody_database_up 1.0" in shown


def test_migrations_and_serve_agree_on_the_schema(cluster: Cluster, replica: ControlPlane):
    migrate("control_plane", cluster.url("control_plane"))
    replica.start()
