"""Claims that come at the same time share a statement; each gets its signer's tasks alone."""

import asyncio
from itertools import chain

from custody.control_plane.tables import tasks
from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import JobKind
from custody.wire.tickets import Ticket
from tests.integration.conductor.conftest import Troupe


async def test_claims_at_the_same_time_take_each_task_once_and_no_more_than_they_have_slots_for(
    troupe: Troupe,
):
    wallet = await troupe.wallet()
    for signer in troupe.signers.values():
        await signer.stop()
    for number in range(3):
        await troupe.sign(wallet["key_id"], f"message {number}", wait=0)

    async def is_planned() -> bool:
        return len(await troupe.rows(tasks, tasks.c.is_open)) >= 6

    await troupe.until(is_planned)
    names = [name for name in troupe.signers for _ in range(3)]
    asked = (troupe.signers[name].node.claim(slots=2, kinds=[JobKind.SIGN]) for name in names)
    answers = await asyncio.gather(*asked)
    assert all(len(claimed) <= 2 for claimed in answers)
    leases = [job.lease for job in chain(*answers)]
    assert leases
    assert len(leases) == len(set(leases))
    for name, claimed in zip(names, answers, strict=True):
        for job in claimed:
            assert job.ticket is not None
            ticket = Ticket.model_validate_json(job.ticket.payload)
            assert name in [each.signer for each in ticket.participants]
            assert job.delivery_ticket is not None
            shown = DeliveryTicket.model_validate_json(job.delivery_ticket.payload)
            assert shown == DeliveryTicket.of(ticket)
    leased = await troupe.rows(tasks, tasks.c.lease.in_(leases))
    assert {row.lease for row in leased} == set(leases)
