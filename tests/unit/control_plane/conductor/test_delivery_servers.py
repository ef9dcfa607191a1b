"""Which delivery servers a ceremony may meet at."""

from dataclasses import replace

from custody.control_plane.conductor.planning.facts import Member, Request
from custody.control_plane.conductor.planning.plan import plan
from custody.control_plane.conductor.planning.servers import NO_SERVER, no_server, usable_servers
from custody.wire.jobs import JobKind
from tests.unit.control_plane.conductor.stories import THREE, begun, paused, sign, without


def objecting(
    *signers: str, good: tuple[str, ...] = (), bad: tuple[str, ...] = ("one",)
) -> Request:
    """These signers cannot use the bad servers."""
    problems = dict.fromkeys(bad, "its certificate has expired")
    members = {
        signer: Member(delivery_problems=problems if signer in signers else {}) for signer in THREE
    }
    return sign(members=members, servers=(*bad, *good))


def test_fewer_signers_than_the_threshold_keep_no_server_from_anybody():
    assert usable_servers(objecting("a")) == ("one",)
    assert no_server(objecting("a")) is None


def test_a_server_is_left_out_that_a_threshold_of_signers_cannot_use():
    request = objecting("a", "b", good=("another",))
    assert usable_servers(request) == ("another",)
    assert no_server(request) is None


def test_a_signer_that_is_away_has_no_say():
    assert usable_servers(without(objecting("a", "b"), "b")) == ("one",)


def test_the_reason_names_each_server_and_what_a_signer_says_of_it():
    reason = paused(no_server(objecting("a", "b", bad=("one", "two"))))
    assert reason.code == NO_SERVER
    assert reason.text == (
        "no delivery server can be used: one: its certificate has expired; "
        "two: its certificate has expired"
    )


def test_only_a_ceremony_needs_a_server():
    request = objecting("a", "b")
    assert paused(plan(request, 0.5).decision).code == NO_SERVER
    members = {signer: replace(each, has_gate=True) for signer, each in request.members.items()}
    asking = begun(plan(replace(request, members=members), 0.5).decision)
    assert asking.kind is JobKind.APPROVE


def test_without_a_known_server_there_is_nothing_to_say():
    assert no_server(sign(servers=())) is None
