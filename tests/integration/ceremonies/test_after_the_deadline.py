"""A signer's last message releases the signature: after the request's time none leaves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.outcomes import Outcome, OutcomeStatus
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.orders import Order
from tests.integration.ceremonies.parties import Organisation, Parties, Party, wanted
from tests.integration.ceremonies.scripted_delivery import ScriptedDelivery

AHEAD = timedelta(seconds=20)
"""How far the control plane's clock is ahead of the signers': within what counts as agreement."""
LAST_EXCHANGE = 1
"""Of a FROST signature: the first messages go along with the hello."""


@pytest.fixture
async def server(organisation: Organisation) -> AsyncIterator[ScriptedDelivery]:
    async with ScriptedDelivery().serving(organisation.server_leaf) as server:
        yield server


async def do(parties: Parties, party: Party, order: Order) -> Outcome:
    """As ``Party.do``, for a signer whose clock is behind."""
    now = datetime.now(UTC)
    party._loop._clock.compare(now + AHEAD, now, now)
    claimed = parties.control_plane.claimed(order)
    return Outcome.model_validate_json(await party._loop._run_job(claimed))


@pytest.mark.parametrize(("seconds", "leaves"), [(10.0, True), (0.8, False)])
async def test_no_message_leaves_after_the_requests_time_by_either_clock(
    with_key, server: ScriptedDelivery, seconds: float, leaves: bool
):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    expires_at = datetime.now(UTC) + AHEAD + timedelta(seconds=seconds)
    order = orders.sign(key, key.quorum, wanted(key)).with_job(expires_at=expires_at)
    server.delay = 1.2
    outcomes = await asyncio.gather(
        *(do(parties, parties[name], order) for name in order.participants)
    )
    assert (LAST_EXCHANGE in {number for _, number in server.handed}) is leaves
    assert [outcome.status is OutcomeStatus.DONE for outcome in outcomes] == [leaves] * 2
