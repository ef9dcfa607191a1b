"""Which lies end in a ban (they test a bit of the OT correlation), and which do not."""

import hashlib

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, key
from tests.unit.mpc.native.lies import SEC1_GENERATOR, Change, flip, lie, put

DIGEST = hashlib.sha256(b"a message").digest()
BINDING, COMMITMENT, EXTENSION = 40, 72, 104
GAMMA_U, GAMMA_V, PSI, PUBLIC_SHARE, INSTANCE_POINT, SALT = 73, 107, 141, 174, 208, 242
LAST = -1

BANNED = {
    "the OT extension's matrix": (1, EXTENSION + 40, flip),
    "the OT extension's check": (1, LAST, flip),
    "the multiplication's answer": (2, LAST, flip),
    "gamma u": (2, GAMMA_U, SEC1_GENERATOR),
    "gamma v": (2, GAMMA_V, SEC1_GENERATOR),
    "the public share": (2, PUBLIC_SHARE, SEC1_GENERATOR),
}
ABORTED = {
    "the first binding": (1, BINDING, flip),
    "the commitment": (1, COMMITMENT, flip),
    "the second binding": (2, BINDING, flip),
    "psi": (2, PSI + 31, flip),
    "the instance point": (2, INSTANCE_POINT, SEC1_GENERATOR),
    "the salt": (2, SALT, flip),
}


def sign_with_lie(exchange: int, change: Change, liar: int, quorum: list[int]) -> dict[int, object]:
    part = "broadcast" if exchange == 3 else "private"
    sessions = parties.signing_sessions(key(DKLS, len(quorum), len(quorum) + 1), quorum, DIGEST)
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(liar, exchange, part, change))
    return dict(ended.value.errors)


def changed(at: int, how: object) -> Change:
    return put(at, how) if isinstance(how, bytes) else flip(at)


@pytest.mark.parametrize("what", BANNED)
@pytest.mark.parametrize("liar", [1, 2])
def test_a_lie_that_could_test_a_bit_of_the_key_is_answered_by_a_ban(what: str, liar: int) -> None:
    exchange, at, how = BANNED[what]
    errors = sign_with_lie(exchange, changed(at, how), liar, [1, 2])
    (error,) = (error for index, error in errors.items() if index != liar)
    assert isinstance(error, native.BanCounterparty)
    assert error.culprit == liar
    assert str(liar) in error.reason


@pytest.mark.parametrize("what", ABORTED)
@pytest.mark.parametrize("liar", [1, 2])
def test_any_other_lie_ends_the_ceremony_and_names_the_liar(what: str, liar: int) -> None:
    exchange, at, how = ABORTED[what]
    errors = sign_with_lie(exchange, changed(at, how), liar, [1, 2])
    (error,) = (error for index, error in errors.items() if index != liar)
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (liar,)
    assert error.reason


@pytest.mark.parametrize("at", [39, 72])  # u, w
def test_a_wrong_part_of_the_signature_gives_no_signature(at: int) -> None:
    errors = sign_with_lie(3, flip(at + 31), 2, [1, 2])
    error = errors[1]
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == ()


def test_the_liar_among_three_is_told_from_the_honest() -> None:
    errors = sign_with_lie(1, flip(LAST), 3, [1, 2, 3])
    for index in (1, 2):
        error = errors[index]
        assert isinstance(error, native.BanCounterparty)
        assert error.culprit == 3


def test_an_answer_from_another_attempt_is_no_ground_for_a_ban() -> None:
    """Both attempts have the same session id: only the OT extension's nonces differ."""
    shares, session = key(DKLS), parties.session_id()

    def attempt() -> dict[int, native.Signing]:
        return {i: native.Signing(shares[i], [1, 2], DIGEST, session) for i in (1, 2)}

    def through_two(sessions: dict[int, native.Signing]) -> dict[int, native.Messages]:
        first = {index: one.start() for index, one in sessions.items()}
        sent = {}
        for index, one in sessions.items():
            messages = one.advance({3 - index: (b"", first[3 - index].private[index])})
            assert messages is not None
            sent[index] = messages
        return sent

    old, new = attempt(), attempt()
    answers = through_two(old)
    through_two(new)
    with pytest.raises(native.ProtocolAbort, match="different signing session"):
        new[1].advance({2: (b"", answers[2].private[1])})


@pytest.mark.parametrize("exchange", [1, 2, 3])
@pytest.mark.parametrize("garbage", [b"", b"x", bytes(38), bytes(200), bytes(300_000)])
def test_garbage_and_silence_are_no_grounds_for_a_ban(exchange: int, garbage: bytes) -> None:
    errors = sign_with_lie(exchange, lambda _: garbage, 2, [1, 2])
    error = errors[1]
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (2,)


SIZES: list[Change] = [
    lambda message: message[:39],
    lambda message: message[:-1],
    lambda message: message + b"\0",
    lambda message: message + bytes(200_000),
]


@pytest.mark.parametrize("exchange", [1, 2, 3])
@pytest.mark.parametrize("change", SIZES)
def test_messages_cut_short_or_too_long_are_no_grounds_for_a_ban(
    exchange: int, change: Change
) -> None:
    error = sign_with_lie(exchange, change, 2, [1, 2])[1]
    assert isinstance(error, native.ProtocolAbort)
    assert error.culprits == (2,)
