"""Slots: a job that waits for somebody else holds none."""

import asyncio

from custody.node.slots import Slots


async def test_a_job_outside_makes_room_for_another() -> None:
    slots = Slots(1)
    slots.take()
    waiting = asyncio.create_task(slots.wait_until_busy_at_most(0))
    await asyncio.sleep(0)
    assert not waiting.done()
    with slots.outside():
        await asyncio.wait_for(waiting, 5)
        slots.take()
    assert slots.busy == 2


async def test_nothing_new_is_taken_while_too_many_have_come_back() -> None:
    slots = Slots(1)
    slots.take()
    with slots.outside():
        slots.take()
    waiting = asyncio.create_task(slots.wait_until_busy_at_most(slots.total - 1))
    slots.give_back()
    await asyncio.sleep(0.01)  # an end, which must not come
    assert not waiting.done()
    slots.give_back()
    await asyncio.wait_for(waiting, 5)


def test_a_job_that_fails_outside_holds_its_slot_again() -> None:
    slots = Slots(2)
    slots.take()
    try:
        with slots.outside():
            raise TimeoutError
    except TimeoutError:
        assert slots.busy == 1
