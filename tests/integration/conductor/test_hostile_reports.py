"""A signer that is somebody else's reports what it likes: no more comes of it than its absence."""

import asyncio
from typing import Any

import pytest

from custody.wire.jobs import Job, JobKind
from custody.wire.tickets import Ticket
from tests.integration.conductor.conftest import Troupe
from tests.integration.conductor.scripted_signer import failed

LIAR = "signer-3"


def naming_strangers(*names: str) -> Any:
    def script(_: Job, __: Ticket) -> None:
        raise failed("bad_message", *names)

    return script


def naming_the_others(_: Job, ticket: Ticket) -> None:
    raise failed("bad_message", *(each.signer for each in ticket.participants[:-1]))


def naming_nobody(_: Job, __: Ticket) -> None:
    raise failed("delivery_unavailable")


@pytest.mark.parametrize(
    "lie",
    [
        naming_strangers("\x00"),
        naming_strangers(*(f"nobody-{number}" for number in range(2000))),
        naming_strangers("signer-1 signer-2"),
        naming_the_others,
        naming_nobody,
    ],
    ids=["no-text", "a-crowd", "two-in-one", "the-others", "nobody"],
)
async def test_a_signer_that_spoils_each_ceremony_is_soon_left_out(troupe: Troupe, lie: Any):
    wallet = await troupe.wallet()
    troupe.signers[LIAR].on[JobKind.SIGN] = lie
    signed = await asyncio.gather(
        *(troupe.sign(wallet["key_id"], f"message {number}", wait=15) for number in range(6))
    )
    assert {each["status"] for each in signed} == {"Signed"}, signed
    for each in signed:
        assert len(await troupe.steps_of(each["id"])) <= 4
