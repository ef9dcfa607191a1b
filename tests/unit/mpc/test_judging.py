"""What a restored signer makes of its peers' answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.ban_questions import BanAnswer, SetInUse
from custody.wire.signed_bytes import BAN_ANSWER_TYPE, BAN_QUESTION_TYPE, SignedBytes, SigningKey
from mpc.restored.judging import (
    Group,
    StatedSet,
    WholeAnswer,
    named_signers,
    stated_sets,
    whole_answers,
)

NONCE = bytes(32)
AT = datetime(2026, 1, 1, tzinfo=UTC)
PEERS = {name: SigningKey(Ed25519PrivateKey.generate()) for name in ("b", "c", "d")}
IDENTITIES = {name: key.public_key for name, key in PEERS.items()}
KEY = UUID(int=1)


def said(by: str, kind: str = BAN_ANSWER_TYPE, **changes: object) -> SignedBytes:
    fields = {
        "signer": by,
        "asker": "a",
        "nonce": NONCE,
        "at": AT,
        "part": 1,
        "parts": 1,
        "is_asking": False,
    }
    answer = BanAnswer.model_validate(fields | changes)
    return PEERS[by].sign(kind, answer.model_dump_json().encode())


def signers(*statements: SignedBytes) -> list[str]:
    return [each.signer for each in whole_answers(statements, "a", NONCE, IDENTITIES)]


def test_each_peer_answers_for_itself():
    assert signers(said("c"), said("b")) == ["b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [
        said("b", signer="c"),
        said("b", asker="d"),
        said("b", nonce=bytes([1]) * 32),
        said("b", kind=BAN_QUESTION_TYPE),
        said("b").model_copy(update={"payload": b"{}"}),
        said("b").model_copy(update={"signing_key_id": "0" * 16}),
        PEERS["b"].sign(BAN_ANSWER_TYPE, b"not an answer"),
    ],
)
def test_what_the_peer_did_not_say_to_this_signer_and_question_is_left_out(wrong):
    assert signers(wrong) == []


def test_an_answer_counts_with_all_its_parts_and_the_newest_one_counts():
    ban = PEERS["b"].sign(BAN_QUESTION_TYPE, b"stands for a ban")
    first = said("b", parts=2, bans=(ban,))
    assert signers(first) == []
    assert signers(first, said("b", part=2, parts=2, at=AT + timedelta(seconds=1))) == []
    [whole] = whole_answers([said("b", part=2, parts=2), first], "a", NONCE, IDENTITIES)
    assert whole.bans == (ban,)
    again = said("b", at=AT + timedelta(seconds=1), is_asking=True)
    [newest] = whole_answers([again, said("b")], "a", NONCE, IDENTITIES)
    assert newest.is_asking


def uses(
    by: str,
    generation: int,
    ceremony: UUID,
    threshold: int = 2,
    of: tuple[str, ...] = ("a", "b", "c"),
    key_id: UUID = KEY,
) -> WholeAnswer:
    used = SetInUse(
        key_id=key_id, ceremony=ceremony, generation=generation, threshold=threshold, signers=of
    )
    return WholeAnswer(by, False, (), (used,))


def stated(answers: list[WholeAnswer], threshold: int = 2, n: int = 3) -> list[StatedSet]:
    """By signer a, which has a share of the key."""
    group = Group(threshold, ("a", "b", "c", "d", "e")[:n])
    return stated_sets(answers, "a", {KEY: group})


def test_a_set_counts_when_t_peers_use_it():
    new, old = uuid4(), uuid4()
    assert stated([uses("b", 1, new)]) == []
    assert stated([uses("b", 1, new), uses("c", 0, old)]) == []
    [found] = stated([uses("b", 1, new), uses("c", 1, new), uses("d", 0, old)])
    assert (found.ceremony, found.told_by, found.is_proved) == (new, ("b", "c"), True)


def test_where_all_n_must_sign_the_others_prove_nothing_and_are_shown():
    new = uuid4()
    [found] = stated([uses(name, 1, new, threshold=3) for name in ("b", "c")], threshold=3)
    assert not found.is_proved


def test_of_two_sets_the_later_one_counts():
    new, old, all_five = uuid4(), uuid4(), ("a", "b", "c", "d", "e")
    told = [uses(name, 0, old, of=all_five) for name in ("b", "c")]
    told += [uses(name, 1, new, of=all_five) for name in ("d", "e")]
    [found] = stated(told, n=5)
    assert found.ceremony == new


def test_the_threshold_is_the_one_that_this_signer_has_stored():
    """Peers that lie may claim a lower one, or that fewer signers hold shares."""
    told = [uses(name, 1, UUID(int=7), threshold=2, of=("a", "b", "c")) for name in ("b", "c")]
    assert stated(told, threshold=3, n=5) == []
    [found] = stated(told, threshold=2, n=5)
    assert (found.threshold, found.is_proved) == (2, True)


def test_peers_that_state_another_group_do_not_make_a_share_certain():
    """A forged share copy has the real key id and ceremony, and may have another group."""
    new, all_four = uuid4(), ("a", "b", "c", "d")
    told = [uses(name, 1, new, of=all_four) for name in ("b", "c")]
    assert [each.is_same_group for each in stated(told, n=4)] == [True]
    for other in (
        uses("c", 1, new, threshold=3, of=all_four),
        uses("c", 1, new, of=("b", "a", "c", "d")),
    ):
        assert [each.is_same_group for each in stated([told[0], other], n=4)] == [False]
        # nor does one liar keep the share uncertain
        liar = replace(other, signer="d")
        assert [each.is_same_group for each in stated([*told, liar], n=4)] == [True]


def test_only_signers_of_the_key_tell_of_its_sets():
    """Another pinned peer may name itself a signer."""
    new = uuid4()
    liar = uses("d", 1, new, of=("a", "b", "d"))
    assert stated([uses("b", 1, new), liar]) == []
    [found] = stated([uses("b", 1, new), uses("c", 1, new), liar])
    assert found.told_by == ("b", "c")
    assert stated([uses(name, 1, new, of=("b", "c", "d")) for name in ("b", "c")]) == []


def test_the_set_of_an_unknown_key_is_shown_and_proves_nothing():
    new, all_five = uuid4(), ("a", "b", "c", "d", "e")
    told = [uses(name, 1, new, 2, all_five, UUID(int=2)) for name in ("b", "c")]
    [found] = stated(told)
    assert (found.threshold, found.told_by, found.is_proved) == (2, ("b", "c"), False)
    strict = uses("d", 1, new, 4, all_five, UUID(int=2))
    assert stated([*told, strict]) == []  # the highest threshold counts
    narrow = uses("d", 1, new, 2, ("a", "b", "d"), UUID(int=2))
    [found] = stated([*told, narrow])
    assert found.told_by == ("b", "d")  # and the signers that are in all claims


def test_answers_that_the_operator_does_without_are_not_waited_for_and_do_not_count():
    old, group = uuid4(), {KEY: Group(2, ("a", "b", "c"))}
    [found] = stated_sets([uses("b", 0, old)], "a", group, {"c"})
    assert (found.told_by, found.is_proved) == (("b",), False)
    assert stated_sets([uses("c", 0, old)], "a", group, {"c"}) == []
    assert stated_sets([], "a", group, {"b", "c"}) == []


def test_an_answer_names_the_other_signers_of_common_keys():
    answer = uses("b", 0, uuid4(), of=("a", "b", "d"))
    assert named_signers(answer, "a") == ("b", "d")
    assert named_signers(answer, "c") == ()  # a key of others
    assert named_signers(uses("c", 0, uuid4(), of=("a", "b", "d")), "a") == ()
