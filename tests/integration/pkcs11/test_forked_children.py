"""A vendor's library may fork children, which keep the socket of a worker that has died."""

import asyncio

import pytest

from custody.pkcs11.messages import Answers, Hello, PinStanding, Probe, Ready
from custody.pkcs11.worker_process import WorkerGone, WorkerProcess
from tests.integration.pkcs11.conftest import ROOT
from tests.integration.pkcs11.forking_worker import AFTER_AN_ANSWER, AT_START, AT_WORK
from tests.integration.pkcs11.test_processes import eventually, is_alive

FORKING = "tests.integration.pkcs11.forking_worker"
DEADLINE = 30.0


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> WorkerProcess[str]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return WorkerProcess(DEADLINE, FORKING)


async def start(worker: WorkerProcess[str], dies: str) -> Ready:
    hello = Hello(
        module="",
        token_label=dies,
        pin="",
        pin_standing=PinStanding.NEW,
        master_key_label="",
        host_signing=[],
        purpose="operations",
    )
    async with asyncio.timeout(DEADLINE / 2):  # long before any deadline of the worker
        return await worker.start(hello, DEADLINE)


@pytest.mark.parametrize("dies", [AT_WORK, AFTER_AN_ANSWER])
async def test_the_end_of_a_worker_is_seen_while_its_child_holds_the_socket(
    worker: WorkerProcess[str], dies: str
):
    answered: list[tuple[str, Answers]] = []
    worker.on_answers = lambda item, answers: answered.append((item, answers))
    child = int((await start(worker, dies)).token)
    assert is_alive(child)
    worker.send("a batch", [Probe()])
    async with asyncio.timeout(DEADLINE / 2):
        assert await worker.ended() == "ended by SIGKILL"
    # its last answer counts, and is read to its end
    assert [item for item, _ in answered] == (["a batch"] if dies == AFTER_AN_ANSWER else [])
    assert list(worker.outstanding) == ([] if answered else ["a batch"])
    assert eventually(lambda: not is_alive(child))


async def test_a_worker_that_dies_at_its_start_is_not_waited_for(worker: WorkerProcess[str]):
    with pytest.raises(WorkerGone, match="ended while it was logging in"):
        await start(worker, AT_START)
