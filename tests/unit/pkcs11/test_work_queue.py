"""Which operation goes to which worker, and which one is blamed for a worker's end."""

import asyncio
from typing import Any

import pytest

from custody.node.errors import Denied
from custody.pkcs11.errors import HsmCrashed, HsmTimeout, HsmUnavailable
from custody.pkcs11.messages import Probe, Signed
from custody.pkcs11.work_queue import MAX_BATCH, PendingOperation, WorkQueue


def pending(**fields: Any) -> PendingOperation:
    future = asyncio.get_running_loop().create_future()
    return PendingOperation(Probe(), future, **fields)


def filled(count: int) -> tuple[WorkQueue, list[PendingOperation]]:
    queue, operations = WorkQueue(), [pending() for _ in range(count)]
    for each in operations:
        queue.add(each)
    return queue, operations


@pytest.mark.parametrize(
    ("count", "workers", "share"), [(1, 2, 1), (5, 2, 3), (6, 3, 2), (100, 2, MAX_BATCH)]
)
async def test_the_workers_share_what_is_ready(count: int, workers: int, share: int) -> None:
    queue, operations = filled(count)
    assert queue.take(workers) == operations[:share]


async def test_what_was_given_back_is_taken_first_and_in_its_order() -> None:
    queue, operations = filled(6)
    first, second = queue.take(2), queue.take(1)
    queue.add(last := pending())
    queue.give_back([first, second])
    assert queue.take(1) == [*operations, last]


async def test_an_operation_that_nobody_waits_for_is_not_taken() -> None:
    queue, operations = filled(3)
    operations[1].answer.cancel()
    assert queue.take(1) == [operations[0], operations[2]]


async def test_an_operation_that_is_no_longer_wanted_raises_why() -> None:
    def require_wanted() -> None:
        raise Denied("expired", "too late")

    queue, operations = WorkQueue(), [pending(require_wanted=require_wanted), pending()]
    for each in operations:
        queue.add(each)
    assert queue.take(1) == operations[1:]
    with pytest.raises(Denied, match="too late"):
        await operations[0].answer


async def test_after_a_crash_each_operation_of_the_batch_runs_alone() -> None:
    queue, operations = filled(2)
    queue.add(behind := pending())
    batch = queue.take(1)[:2]
    queue.give_back([[behind]])
    queue.blame(batch, "ended by SIGABRT", None)
    assert [queue.take(1) for _ in range(3)] == [[operations[0]], [operations[1]], [behind]]


async def test_an_operation_that_ends_two_workers_alone_fails_for_good() -> None:
    queue, [culprit] = filled(1)
    queue.blame(queue.take(1), "ended by SIGABRT", None)
    queue.blame(queue.take(1), "ended by SIGABRT", None)
    with pytest.raises(HsmCrashed, match="ended by SIGABRT"):
        await culprit.answer
    assert not queue


async def test_an_operation_that_hung_alone_fails_at_once_and_in_company_runs_alone() -> None:
    queue, [first, second] = filled(2)
    queue.blame(queue.take(1), "passed its deadline", 10)
    assert queue.take(1) == [first]
    queue.blame([first], "passed its deadline", 10)
    with pytest.raises(HsmTimeout, match="within 10 s"):
        await first.answer
    assert queue.take(1) == [second]


@pytest.mark.parametrize("hung_seconds", [None, 10])
async def test_an_operation_on_foreign_bytes_that_ends_a_worker_fails_for_good(
    hung_seconds: float | None,
) -> None:
    queue = WorkQueue()
    culprit, other = (pending(alone=True, stays=True, foreign=each) for each in (True, False))
    for each in (culprit, other):
        queue.blame([each], "ended by SIGSEGV", hung_seconds, elsewhere=True)
    with pytest.raises(HsmCrashed, match="ended by SIGSEGV"):
        await culprit.answer
    with pytest.raises(HsmUnavailable):
        await other.answer
    assert not queue


async def test_without_workers_everything_that_waits_fails() -> None:
    queue, operations = filled(2)
    queue.retry_alone(operations[0], HsmTimeout("late"))
    queue.take(1)
    queue.fail_all("the token is away")
    with pytest.raises(HsmUnavailable, match="the token is away"):
        await operations[1].answer
    assert not queue


async def test_a_caller_that_has_gone_is_no_error() -> None:
    gone = pending()
    gone.answer.cancel()
    gone.resolve(Signed(signature=b""))
    gone.fail(HsmTimeout("late"))
    assert gone.answer.cancelled()
