"""DKLs23: lies in DKG, refresh and repair. Two of two where that is enough: it is quicker."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, key
from tests.unit.mpc.native.lies import SEC1_GENERATOR, Change, flip, lie, put

LIAR = 2


def outcome(sessions: Mapping[int, Any], tamper: parties.Tamper) -> Exception:
    """What participant 1 raised."""
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, tamper)
    return ended.value.errors[1]


def of_dkg() -> dict[int, Any]:
    return dict(parties.dkg_sessions(DKLS, 2, 2))


def of_refresh() -> dict[int, Any]:
    return dict(parties.refresh_sessions(key(DKLS, 2, 2)))


BOTH = [of_dkg, of_refresh]
SEED, PROOF_POINT = 40, 39
NAMED = {
    "the commitment to the proof": (2, "broadcast", flip(38)),
    "the commitment to a seed": (2, "private", flip(40)),
    "the proof's point": (3, "broadcast", put(PROOF_POINT, SEC1_GENERATOR)),
    "the seed": (3, "private", flip(SEED)),
    "the multiplication's proofs": (3, "private", flip(100_000)),
}


@pytest.mark.parametrize("sessions", BOTH)
@pytest.mark.parametrize("what", NAMED)
def test_a_lie_that_shows_names_the_liar(sessions: Callable[[], dict[int, Any]], what: str) -> None:
    exchange, part, change = NAMED[what]
    error = outcome(sessions(), lie(LIAR, exchange, part, change))
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (LIAR,)


CHAIN_CODE: list[tuple[int, Change]] = [(2, flip(-1)), (3, flip(-1))]


@pytest.mark.parametrize(("exchange", "change"), CHAIN_CODE)
def test_a_chain_code_other_than_the_one_committed_to_names_the_liar(
    exchange: int, change: Change
) -> None:
    error = outcome(of_dkg(), lie(LIAR, exchange, "broadcast", change))
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (LIAR,)
    assert "chain code" in error.reason


def test_the_sender_named_beside_the_chain_code_must_be_the_sender() -> None:
    error = outcome(of_dkg(), lie(LIAR, 2, "broadcast", put(38 + 32, b"\x01")))
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (LIAR,)
    assert "another sender" in error.reason


@pytest.mark.parametrize("at", [38, 39])
def test_the_route_named_within_a_message_must_be_its_own(at: int) -> None:
    error = outcome(of_dkg(), lie(LIAR, 2, "private", put(at, b"\x07")))
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (LIAR,)
    assert "another sender or recipient" in error.reason


def test_a_wrong_fragment_gives_no_key() -> None:
    sessions = dict(parties.dkg_sessions(DKLS, 2, 3))
    error = outcome(sessions, lie(LIAR, 1, "private", flip(70), only_to=1))
    assert isinstance(error, native.ProtocolAbort)
    assert "polynomial" in error.reason


def test_a_refresh_that_would_move_the_key_is_refused() -> None:
    error = outcome(of_refresh(), lie(LIAR, 1, "private", flip(70)))
    assert isinstance(error, native.ProtocolAbort)
    assert "polynomial" in error.reason


def test_who_tells_each_another_chain_code_is_found_by_the_comparison() -> None:
    """Both stories are whole, each with its own commitment and opening."""
    story = chain_code_of_another_run()

    def another_story(
        exchange: int, sender: int, recipient: int, broadcast: bytes, private: bytes
    ) -> tuple[bytes, bytes]:
        if sender != LIAR or recipient != 1 or exchange not in story:
            return broadcast, private
        opening = story[exchange]  # the sender's index and what follows, at the message's end
        return broadcast[: -len(opening)] + opening, private

    with pytest.raises(parties.Ended) as ended:
        parties.run(parties.dkg_sessions(DKLS, 2, 3), another_story)
    assert set(ended.value.errors) == {1, 2, 3}
    for index, error in ended.value.errors.items():
        assert isinstance(error, native.ProtocolAbort)
        assert "arrived at another key" in error.reason
        assert index not in error.culprits


def chain_code_of_another_run() -> dict[int, bytes]:
    """The liar's commitment and opening, as the ends of its broadcasts 2 and 3."""
    group = parties.dkg_sessions(DKLS, 2, 3)
    sent = {i: one.start() for i, one in group.items()}
    ends = {}
    for exchange, length in ((2, 33), (3, None)):
        following = {}
        for i, one in group.items():
            messages = one.advance(
                {j: (m.broadcast, m.private.get(i, b"")) for j, m in sent.items() if j != i}
            )
            assert messages is not None
            following[i] = messages
        sent = following
        broadcast = sent[LIAR].broadcast
        # The opening is the index, 32 bytes, and a salt with its length in one byte before it.
        size = length or next(
            1 + 32 + 1 + salt
            for salt in range(16, 128)
            if broadcast[-salt - 1] == salt and broadcast[-salt - 34] == LIAR
        )
        ends[exchange] = broadcast[-size:]
    return ends


@pytest.mark.parametrize("at", [38, 39])
def test_a_repair_term_of_another_helper_or_target_names_its_sender(at: int) -> None:
    sessions = parties.repair_sessions(key(DKLS), 3, [1, 2])
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 1, "private", put(at, b"\x01")))
    error = ended.value.errors[3]
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (LIAR,)


@pytest.mark.parametrize("at", [60, -1])  # the term, the ceremony
def test_a_share_repaired_wrongly_is_refused(at: int) -> None:
    sessions = parties.repair_sessions(key(DKLS), 3, [1, 2])
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 1, "private", flip(at)))
    assert isinstance(ended.value.errors[3], native.ProtocolAbort)
