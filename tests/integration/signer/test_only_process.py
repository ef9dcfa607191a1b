"""One process of a node at a time, on a real database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from custody.database.pool import Pool
from custody.node.only_process import OnlyProcess, stopped_node
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from mpc import signer
from mpc.settings import SignerSettings

ME = "signer-1"
_CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND datname = current_database()
        AND application_name = 'first'
"""


@asynccontextmanager
async def process(
    url: str, node: str = ME, wait_seconds: float = 0.3, name: str = "first"
) -> AsyncIterator[OnlyProcess]:
    async with (
        Pool(url, 2, name) as pool,
        OnlyProcess(pool, node, wait_seconds) as only,
    ):
        yield only


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)


async def test_a_second_process_of_a_node_does_not_start(signer_database: str):
    async with process(signer_database), process(signer_database, "signer-2") as other:
        assert other.problem() is None
        with pytest.raises(OperatorError, match="another process of signer-1 runs"):
            async with process(signer_database):
                pass


async def test_a_command_for_a_stopped_node_refuses_a_running_one(signer_database: str, pool: Pool):
    async with process(signer_database):
        with pytest.raises(OperatorError, match="signer-1 runs on this database") as refused:
            async with stopped_node(pool, ME):
                pass
        assert "Stop signer-1" in refused.value.todo
    async with stopped_node(pool, ME):
        with pytest.raises(OperatorError, match="another process of signer-1 runs"):
            async with process(signer_database):
                pass


async def test_the_next_process_waits_for_the_last_seconds_of_the_one_before(signer_database: str):
    async with process(signer_database):
        entering = process(signer_database, wait_seconds=10)
        started = asyncio.create_task(entering.__aenter__())
        await asyncio.sleep(0.3)  # a start, which must not come, shows by nothing else
        assert not started.done()
    only = await started
    assert only.problem() is None
    await entering.__aexit__(None, None, None)


async def test_a_lost_lock_is_taken_again(signer_database: str, pool: Pool):
    async with process(signer_database) as only:
        await pool.rows(_CUT)
        await until(lambda: only.problem() is not None)
        await until(lambda: only.problem() is None)


async def test_a_process_that_another_one_has_replaced_takes_no_work(
    signer_database: str, pool: Pool
):
    async with process(signer_database) as before:
        entering = process(signer_database, wait_seconds=10, name="second")
        started = asyncio.create_task(entering.__aenter__())
        while not started.done():
            await pool.rows(_CUT)
            await asyncio.sleep(0.1)
        await until(lambda: "another process of signer-1" in str(before.problem()))
        await entering.__aexit__(None, None, None)
        await until(lambda: before.problem() is None)


async def test_a_signer_does_not_run_beside_another_process_of_it(
    signer_database: str, settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
):
    create_signing_key(settings.identity.private_key)
    monkeypatch.setattr(signer, "OnlyProcess", partial(OnlyProcess, wait_seconds=0.1))
    async with process(signer_database, settings.node.id):
        with pytest.raises(OperatorError, match="another process of"):
            async with asyncio.timeout(10):
                await signer.run_signer(settings)
