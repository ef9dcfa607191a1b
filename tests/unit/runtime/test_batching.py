"""Shared round trips."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.runtime.batching import Batcher


class Recorder:
    """Answers each number with its double, slowly when told, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, items: list[int]) -> list[int | Exception]:
        self.batches.append(items)
        await self.gate.wait()
        return [2 * item for item in items]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_lone_item_goes_at_once():
    recorder = Recorder()
    assert await Batcher(recorder.run).submit(1) == 2
    assert recorder.batches == [[1]]


async def test_what_comes_while_a_call_is_under_way_goes_together_in_the_next():
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.run)
    first = asyncio.create_task(batcher.submit(0))
    await settle()
    others = [asyncio.create_task(batcher.submit(item)) for item in (1, 2, 3)]
    await settle()
    assert recorder.batches == [[0]]
    recorder.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6]
    assert recorder.batches == [[0], [1, 2, 3]]


async def test_what_is_ready_at_the_same_moment_goes_together():
    recorder = Recorder()
    batcher = Batcher(recorder.run)
    await asyncio.gather(*(batcher.submit(item) for item in range(10)))
    assert recorder.batches == [list(range(10))]


async def test_a_batch_is_never_larger_than_the_limit():
    recorder = Recorder()
    batcher = Batcher(recorder.run, max_batch=4)
    answers = await asyncio.gather(*(batcher.submit(item) for item in range(10)))
    assert answers == [2 * item for item in range(10)]
    assert [len(batch) for batch in recorder.batches] == [4, 4, 2]


async def test_a_batcher_that_went_idle_works_again():
    recorder = Recorder()
    batcher = Batcher(recorder.run)
    assert await batcher.submit(1) == 2
    await settle()
    assert await batcher.submit(2) == 4
    assert recorder.batches == [[1], [2]]


async def test_an_answer_that_is_an_error_is_raised_to_its_submitter_alone():
    async def run(items: list[int]) -> list[int | Exception]:
        return [ValueError("odd") if item % 2 else item for item in items]

    batcher = Batcher(run)
    answers = await asyncio.gather(*map(batcher.submit, range(4)), return_exceptions=True)
    assert [isinstance(answer, ValueError) for answer in answers] == [False, True, False, True]


async def test_when_the_call_fails_everybody_in_it_is_told_and_the_next_batch_is_tried():
    calls = 0

    async def run(items: list[int]) -> list[int | Exception]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError("away")
        return list(items)

    batcher = Batcher(run, max_batch=2)
    answers = await asyncio.gather(*map(batcher.submit, range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError, ConnectionError, int]


async def test_too_few_answers_are_an_error_and_not_a_mix_up():
    async def run(items: list[int]) -> list[int | Exception]:
        return list(items[1:])

    with pytest.raises(RuntimeError, match="0 answers to a batch of 1"):
        await Batcher(run).submit(1)


async def test_a_submitter_that_leaves_during_the_call_leaves_the_others_their_answers():
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.run)
    leaving, staying = (asyncio.create_task(batcher.submit(item)) for item in (1, 2))
    await settle()
    leaving.cancel()
    await settle()
    recorder.gate.set()
    assert await staying == 4
    assert leaving.cancelled()


async def test_a_submitter_that_leaves_before_the_call_takes_its_item_along():
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.run)
    first, leaving, staying = (asyncio.create_task(batcher.submit(item)) for item in (0, 1, 2))
    batcher._max_batch = 1
    await settle()
    assert recorder.batches == [[0]]
    leaving.cancel()
    recorder.gate.set()
    assert list(await asyncio.gather(first, staying)) == [0, 4]
    assert recorder.batches == [[0], [2]]


async def test_nobody_waits_for_ever_when_the_call_is_cancelled():
    recorder = Recorder()
    recorder.gate.clear()
    batcher = Batcher(recorder.run, max_batch=1)
    tasks = [asyncio.create_task(batcher.submit(item)) for item in range(3)]
    await settle()
    assert batcher._worker is not None
    batcher._worker.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
    recorder.gate.set()
    assert await batcher.submit(9) == 18


@given(
    items=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40),
    max_batch=st.integers(1, 8),
)
@settings(max_examples=60)
def test_everybody_gets_their_own_answer_whatever_the_timing(items, max_batch):
    """Items: how many turns of the loop to wait first, and whether to leave again at once."""

    async def scenario() -> None:
        under_way = 0

        async def run(batch: list[int]) -> list[int | Exception]:
            nonlocal under_way
            under_way += 1
            assert under_way == 1, "two calls at once"
            assert 1 <= len(batch) <= max_batch
            await asyncio.sleep(0)
            under_way -= 1
            return [item + 100 for item in batch]

        batcher = Batcher(run, max_batch)

        async def submit(item: int, turns: int, leave: bool) -> int:
            for _ in range(turns):
                await asyncio.sleep(0)
            task = asyncio.create_task(batcher.submit(item))
            if leave:
                await asyncio.sleep(0)
                task.cancel()
            return await task

        answers = await asyncio.wait_for(
            asyncio.gather(
                *(submit(index, *item) for index, item in enumerate(items)),
                return_exceptions=True,
            ),
            5,
        )
        for index, ((_, leave), answer) in enumerate(zip(items, answers, strict=True)):
            assert answer == index + 100 or (leave and isinstance(answer, asyncio.CancelledError))

    asyncio.run(scenario())
