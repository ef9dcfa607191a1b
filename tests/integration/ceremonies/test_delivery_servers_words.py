"""What a delivery server says of others goes no further than it may be true."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.delivery import DeliveryCode, DeliveryProblem
from custody.wire.outcomes import OutcomeStatus
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.parties import NAMES, Organisation, wanted
from tests.integration.ceremonies.scripted_delivery import ScriptedDelivery

ONE, TWO, THREE = NAMES[:3]
MUCH = "\x00\n" * 100_000


@pytest.fixture
async def server(organisation: Organisation) -> AsyncIterator[ScriptedDelivery]:
    async with ScriptedDelivery().serving(organisation.server_leaf) as server:
        yield server


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", "", '{"error": 17}'])
async def test_what_a_gateway_answers_is_tried_again_with_the_same_bytes(
    with_key, server, status, body
):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    answered = set[object]()

    def once_as_a_gateway(_, ceremony, number, recipient, messages):
        if recipient != ONE or (ceremony, number) in answered:
            return messages
        answered.add((ceremony, number))
        return web.Response(status=status, text=body, headers={"Retry-After": "0.1"})

    server.deceit = once_as_a_gateway
    outcomes = await parties.hold(orders.sign(key, key.quorum, wanted(key)).until(10))
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}
    assert answered


async def test_a_gateway_that_asks_for_too_long_a_pause_ends_the_attempt(with_key, server):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    server.deceit = lambda *_: web.Response(status=503, headers={"Retry-After": "60"})
    outcome = (await parties.hold(orders.sign(key, key.quorum, wanted(key)).until(10)))[ONE]
    assert (outcome.code, outcome.transient) == ("delivery_unavailable", True)
    assert "a gateway answered 503" in (outcome.reason or "")


@pytest.mark.parametrize("status", [410, 503])
async def test_a_newer_servers_code_ends_the_attempt_and_another_server_is_taken(
    with_key, server, status
):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    text = '{"code": "moved", "detail": "to delivery-2", "where": "delivery-2"}'
    server.deceit = lambda *_: web.Response(status=status, text=text)
    order = orders.sign(key, key.quorum, wanted(key)).until(5)
    outcome = (await parties.hold(order))[ONE]
    assert (outcome.code, outcome.transient) == ("delivery_unavailable", True)
    assert "to delivery-2" in (outcome.reason or "")


@pytest.mark.parametrize(
    ("problem", "code", "culprits"),
    [
        (
            {"code": DeliveryCode.EXPIRED, "silent": [TWO, THREE, "nobody", "\x00", MUCH]},
            "peer_silent",
            (TWO,),
        ),
        (
            {"code": DeliveryCode.ABORTED, "signer": MUCH, "abort_reason": MUCH.encode()},
            "peer_aborted",
            (),
        ),
        (
            {"code": DeliveryCode.ABORTED, "signer": THREE, "abort_reason": b"a b"},
            "peer_aborted",
            (),
        ),
        ({"code": DeliveryCode.BUSY, "detail": MUCH}, "delivery_unavailable", ()),
        ({"code": DeliveryCode.CONFLICT, "detail": MUCH}, "delivery_unavailable", ()),
    ],
    ids=["silent", "ended by nobody", "ended by another", "busy", "refused"],
)
async def test_no_names_but_participants_and_no_more_than_a_report_holds(
    with_key, server, problem, code, culprits
):
    parties, key = await with_key(EDDSA_ED25519, delivery_url=server.url)
    text = DeliveryProblem(**({"detail": ""} | problem)).model_dump_json()
    server.deceit = lambda *_: web.Response(status=409, text=text)
    order = orders.sign(key, key.quorum, wanted(key)).until(5)
    outcome = (await parties.hold(order))[ONE]
    assert (outcome.code, outcome.culprits) == (code, culprits)
    assert outcome.reason is not None
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < 1_000
    assert THREE not in outcome.reason
