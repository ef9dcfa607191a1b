"""Which delivery servers a ceremony may meet at."""

from custody.control_plane.conductor.planning.facts import Member
from custody.control_plane.conductor.planning.servers import NO_SERVER, no_server, usable_servers
from tests.unit.control_plane.conductor.stories import sign, without


def objecting(*signers: str, **more):
    problem = {"delivery-1": "its certificate has expired"}
    members = {
        signer: Member(delivery_problems=problem if signer in signers else {}) for signer in "abc"
    }
    return sign(members=members, servers=("delivery-1", *more.get("others", ())))


def test_fewer_signers_than_the_threshold_keep_no_server_from_anybody():
    assert usable_servers(objecting("a")) == ("delivery-1",)
    assert no_server(objecting("a")) is None


def test_a_server_is_left_out_that_a_threshold_of_signers_cannot_use():
    request = objecting("a", "b", others=["delivery-2"])
    assert usable_servers(request) == ("delivery-2",)
    assert no_server(request) is None


def test_a_signer_that_is_away_has_no_say():
    assert usable_servers(without(objecting("a", "b"), "b")) == ("delivery-1",)


def test_the_reason_names_each_server_and_what_a_signer_says_of_it():
    pause = no_server(objecting("a", "b"))
    assert pause is not None
    assert pause.reason.code == NO_SERVER
    assert pause.reason.text == (
        "no delivery server can be used: delivery-1: its certificate has expired"
    )


def test_without_a_known_server_there_is_nothing_to_say():
    assert no_server(sign(servers=())) is None
