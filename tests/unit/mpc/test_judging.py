"""What a restored signer makes of its peers' answers."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.ban_questions import BanAnswer, SetInUse
from custody.wire.signed_bytes import BAN_ANSWER_TYPE, BAN_QUESTION_TYPE, SignedBytes, SigningKey
from mpc.memory.judging import WholeAnswer, stated_sets, whole_answers

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


def uses(by: str, generation: int, ceremony: UUID, threshold: int = 2, n: int = 3) -> WholeAnswer:
    used = SetInUse(
        key_id=KEY, ceremony=ceremony, generation=generation, threshold=threshold, signers=n
    )
    return WholeAnswer(by, False, (), (used,))


def test_a_set_counts_when_t_peers_use_it():
    new, old = uuid4(), uuid4()
    assert stated_sets([uses("b", 1, new)]) == []
    assert stated_sets([uses("b", 1, new), uses("c", 0, old)]) == []
    [found] = stated_sets([uses("b", 1, new), uses("c", 1, new), uses("d", 0, old)])
    assert (found.ceremony, found.told_by, found.is_proved) == (new, ("b", "c"), True)


def test_where_all_n_must_sign_the_others_prove_nothing_and_are_shown():
    new = uuid4()
    [found] = stated_sets([uses(name, 1, new, threshold=3) for name in ("b", "c")])
    assert not found.is_proved


def test_of_two_sets_the_later_one_counts():
    new, old = uuid4(), uuid4()
    told = [uses(name, 0, old, n=5) for name in ("b", "c")]
    told += [uses(name, 1, new, n=5) for name in ("d", "e")]
    [found] = stated_sets(told)
    assert found.ceremony == new
