"""Which quorums sign first: every share in FROST, every two signers together in DKLs23."""

from dataclasses import replace
from itertools import combinations
from uuid import uuid4

import pytest

from custody.control_plane.conductor.planning.decisions import Begin, Decision
from custody.control_plane.conductor.planning.facts import Member, Request, SignerGroup
from custody.control_plane.conductor.planning.proving import next_proof
from custody.control_plane.conductor.planning.share_sets import ShareSet
from custody.wire.jobs import JobKind
from custody.wire.tickets import Protocol
from tests.unit.control_plane.conductor.stories import begun, ended, paused

DKLS, FROST = Protocol.DKLS23_SECP256K1, Protocol.FROST_ED25519


def request_of(threshold: int, count: int) -> Request:
    signers = tuple(f"signer-{number}" for number in range(1, count + 1))
    group = SignerGroup("treasury", threshold, signers)
    members = {signer: Member() for signer in signers}
    return Request(uuid4(), JobKind.GENERATE_KEY, group, members=members)


def decide(request: Request, made: ShareSet, protocol: Protocol) -> Decision | None:
    return next_proof(request, made, 0, protocol, b"key")


def sign_together(made: ShareSet, quorum: tuple[str, ...]) -> None:
    for signer in quorum:
        made.proved_with.setdefault(signer, set()).update(set(quorum) - {signer})


def proofs(request: Request, protocol: Protocol) -> list[tuple[str, ...]]:
    """The quorums that sign, one after the other."""
    made, quorums = ShareSet(uuid4()), []
    while isinstance(decision := decide(request, made, protocol), Begin):
        assert decision.kind is JobKind.PROVE_KEY
        assert len(set(decision.signers)) == request.group.threshold
        assert decision.signers not in quorums, "none signs twice"
        quorums.append(decision.signers)
        sign_together(made, decision.signers)
    assert decision is None
    return quorums


@pytest.mark.parametrize(
    ("threshold", "count", "most"),
    [(2, 2, 1), (2, 3, 3), (3, 3, 1), (3, 5, 4), (4, 7, 5), (2, 5, 10), (9, 16, 5)],
)
def test_in_dkls23_every_two_signers_sign_together(threshold: int, count: int, most: int):
    request = request_of(threshold, count)
    quorums = proofs(request, DKLS)
    together = {frozenset(pair) for quorum in quorums for pair in combinations(quorum, 2)}
    assert together == {frozenset(pair) for pair in combinations(request.group.signers, 2)}
    assert len(quorums) <= most


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5), (4, 7)])
def test_in_frost_every_share_signs_in_as_few_signatures_as_can_be(threshold: int, count: int):
    request = request_of(threshold, count)
    quorums = proofs(request, FROST)
    assert {signer for quorum in quorums for signer in quorum} == set(request.group.signers)
    assert len(quorums) == -(-count // threshold)


def test_a_pair_of_which_one_alone_says_that_it_signed_signs_again():
    request, made = request_of(2, 2), ShareSet(uuid4())
    made.proved_with["signer-1"] = {"signer-2"}
    assert isinstance(decide(request, made, DKLS), Begin)


def test_a_banned_pair_ends_it_though_quorums_without_the_pair_could_sign():
    pair = frozenset(("signer-2", "signer-4"))
    banning = replace(request_of(3, 5), bans=frozenset((pair,)))
    reason = ended(decide(banning, ShareSet(uuid4()), DKLS))
    assert (reason.code, reason.culprits) == ("no_quorum_left", ("signer-2", "signer-4"))
    assert "signer-2 and signer-4" in reason.text
    assert "signer" not in (reason.summary or "").replace("signers", "")


def test_while_a_signer_is_away_the_others_sign_and_then_it_is_waited_for():
    request, made = request_of(2, 3), ShareSet(uuid4())
    away = replace(request, members={**request.members, "signer-2": Member(is_there=False)})
    decision = begun(decide(away, made, DKLS))
    assert set(decision.signers) == {"signer-1", "signer-3"}
    sign_together(made, decision.signers)
    reason = paused(decide(away, made, DKLS))
    assert reason.text == "2 of the 3 signers needed are there (away: signer-2)"


def test_while_all_slots_are_taken_it_waits_for_one():
    request = request_of(2, 3)
    busy = replace(request, members=dict.fromkeys(request.members, Member(free=0)))
    reason = paused(decide(busy, ShareSet(uuid4()), DKLS))
    assert reason.code == "signers_busy"
    assert "the 2 signers needed" in reason.text


def test_a_proof_names_the_set_its_generation_and_its_public_key():
    made = ShareSet(uuid4())
    decision = begun(next_proof(request_of(2, 3), made, 4, FROST, b"key"))
    assert (decision.share_set_id, decision.generation, decision.public_key) == (made.id, 4, b"key")
