"""Clocks against what a ticket's life allows: at signers, delivery servers and the conductor."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from custody.control_plane.conductor.planning.decisions import Begin, Pause
from custody.control_plane.conductor.planning.facts import Member
from custody.control_plane.conductor.planning.plan import plan
from custody.control_plane.conductor.planning.servers import NO_SERVER, usable_servers
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.delivery.clock import ServerClock
from custody.node.clock import Clock
from custody.wire.clocks import TICKET_LIFE, allowed_offset, said
from custody.wire.delivery import ServerFacts
from mpc.delivery_clocks import DeliveryClocks, clock_problem
from tests.unit.control_plane.conductor.stories import THREE, sign

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ALLOWED = allowed_offset(TICKET_LIFE)


def clock(ahead: float = 0, told: float | None = ALLOWED.total_seconds()) -> Clock:
    """A node's, so many seconds ahead of the control plane's, at NOW by its own."""
    made = Clock(timedelta(seconds=30))
    made.allow(told)
    made.compare(NOW - timedelta(seconds=ahead), NOW, NOW)
    return made


def test_the_offset_follows_from_what_the_shortest_ticket_lives():
    assert timedelta(seconds=CeremoniesSection().sign_seconds) == TICKET_LIFE
    assert CeremoniesSection().max_clock_offset_seconds == ALLOWED.total_seconds() == 5
    assert CeremoniesSection(sign_seconds=60).max_clock_offset_seconds == 20
    assert CeremoniesSection(sign_seconds=600).max_clock_offset_seconds == 40  # keys_seconds / 3


@pytest.mark.parametrize(
    ("ahead", "text"),
    [
        (20, "20 s ahead of the control plane's: 5 s are allowed"),
        (-20, "20 s behind the control plane's: 5 s are allowed"),
        (600, "10 min ahead of the control plane's: 5 s are allowed"),
        (-7200, "2 h behind the control plane's: 5 s are allowed"),
    ],
)
def test_a_signer_whose_clock_is_off_says_how_far_and_to_which_side(ahead: float, text: str):
    assert clock(ahead).problem(NOW) == text


def test_a_driver_has_no_tickets_and_more_time():
    assert clock(20, told=None).problem(NOW) is None
    assert clock(31, told=None).problem(NOW) is not None


def test_a_control_plane_allows_no_more_than_the_node_does():
    assert clock(31, told=3600).problem(NOW) is not None
    assert clock(4).problem(NOW) is None
    assert clock(1, told=-1).problem(NOW) is not None


@pytest.mark.parametrize("ours", [0, 20, -20])
def test_a_delivery_servers_clock_is_compared_with_the_control_planes(ours: float):
    """However far the asking signer's own is off."""
    control_plane = NOW - ours * SECOND
    for ahead, text in ((0, None), (4, None), (-4, None), (20, "20 s ahead"), (-20, "20 s behind")):
        found = clock_problem(control_plane + ahead * SECOND, NOW, NOW, clock(ours))
        assert (found is None) if text is None else (found is not None and text in found)
    assert clock_problem(None, NOW, NOW, clock(ours)) is None  # an older server's


def test_a_delivery_server_hears_from_most_signers_how_its_clock_is():
    own = ServerClock(ALLOWED)
    assert own.problem(NOW) is None
    for signer, ahead in (("a", 20), ("b", 20), ("liar", -3600)):
        own.hear(signer, (NOW - ahead * SECOND).isoformat(), NOW)
    assert own.problem(NOW) == "20 s ahead of the signers': 5 s are allowed"
    own.hear("a", NOW.isoformat(), NOW)  # it was set
    own.hear("b", NOW.isoformat(), NOW)
    assert own.problem(NOW) is None


def test_what_a_delivery_server_was_told_counts_for_a_while_and_nonsense_never():
    own = ServerClock(ALLOWED)
    for nonsense in ("", "yesterday", "2026-01-01T00:00:00", "9" * 400, "NaN"):
        own.hear("a", nonsense, NOW)
    assert own.offset(NOW) is None
    own.hear("a", (NOW - 20 * SECOND).isoformat(), NOW)
    assert own.problem(NOW) is not None
    assert own.problem(NOW + timedelta(minutes=3)) is None


EDGES = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999-12:00",
)


@pytest.mark.parametrize("told", EDGES)
@pytest.mark.parametrize("ours", [0, 20, -20])
def test_a_delivery_server_that_tells_the_first_or_the_last_year_disagrees(told: str, ours: float):
    time = ServerFacts(name="d", version="1", time=told).time
    found = clock_problem(time, NOW, NOW, clock(ours))
    assert found is not None
    assert ("behind" if told.startswith("0") else "ahead of") in found


@pytest.mark.parametrize("told", EDGES)
def test_a_control_plane_that_tells_the_first_or_the_last_year_stops_no_node(told: str):
    ours = Clock(timedelta(seconds=30))
    ours.compare(datetime.fromisoformat(told), NOW, NOW)
    assert ours.problem(NOW) is not None
    for edge in (datetime.min, datetime.max):
        expires_at = edge.replace(tzinfo=UTC)
        assert ours.is_over(expires_at, NOW) is (edge is datetime.min)
        assert clock_problem(expires_at, NOW, NOW, ours) is not None
    assert abs(ours.deadline(NOW) - NOW) <= 30 * SECOND


@pytest.mark.parametrize("told", [1e300, float("inf"), float("nan"), -1e300])
def test_what_a_control_plane_allows_is_never_more_than_the_settings_do(told: float):
    ours = clock(0, told=told)
    assert ours.allowed == timedelta(seconds=30 if told > 0 else 0)


@pytest.mark.parametrize("told", EDGES)
def test_a_signer_that_tells_the_first_or_the_last_year_is_heard_as_far_off(told: str):
    own = ServerClock(ALLOWED)
    own.hear("a", told, NOW)
    problem = own.problem(NOW)
    assert problem is not None
    assert ("ahead of" if told.startswith("0") else "behind") in problem


class Servers:
    """Delivery servers of which one tells the last year and one answers nonsense."""

    async def facts(self, name: str) -> ServerFacts:
        if name == "odd":
            raise RecursionError("an answer that nobody expected")
        time = datetime.max.replace(tzinfo=UTC) if name == "last" else datetime.now(UTC)
        return ServerFacts(name=name, version="1", time=time)


async def test_no_answer_of_a_delivery_server_ends_the_comparing():
    ours, now = Clock(timedelta(seconds=30)), datetime.now(UTC)
    ours.compare(now - SECOND, now, now)
    clocks = DeliveryClocks(cast(Any, Servers()), ["odd", "last", "right"], ours)
    comparing = asyncio.create_task(clocks.compare_repeatedly())
    await asyncio.sleep(0.05)  # an end, which must not come
    assert not comparing.done()
    comparing.cancel()
    assert list(clocks.problems()) == ["last"]


def member(*off: str) -> Member:
    return Member(delivery_problems=dict.fromkeys(off, "its clock is 20 s ahead"))


def test_a_server_is_left_out_once_t_signers_say_so_and_another_one_is_taken():
    a, b, c = THREE
    servers = ("delivery-1", "delivery-2")
    one_liar = {a: member(*servers), b: member(), c: member()}
    assert usable_servers(sign(members=one_liar, servers=servers)) == servers
    two = {a: member("delivery-1"), b: member("delivery-1"), c: member()}
    request = sign(members=two, servers=servers)
    assert usable_servers(request) == ("delivery-2",)
    assert isinstance(plan(request, 0.5).decision, Begin)


def test_where_no_server_is_left_nothing_is_tried_and_the_reason_says_why():
    members = {signer: member("delivery-1") for signer in THREE}
    decision = plan(sign(members=members, servers=("delivery-1",)), 0.5).decision
    assert isinstance(decision, Pause)
    assert decision.reason.code == NO_SERVER
    assert "delivery-1: its clock is 20 s ahead" in decision.reason.text


def test_no_time_between_is_shown_to_people_as_python_has_it():
    for offset in (timedelta(seconds=-600), timedelta(days=-1, seconds=5), 20 * SECOND):
        assert "day" not in said(offset)
        assert ":" not in said(offset)
