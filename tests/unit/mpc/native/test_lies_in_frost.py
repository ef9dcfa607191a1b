import hashlib

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import ED25519, TAPROOT, key
from tests.unit.mpc.native.lies import flip, lie, put

DIGEST = hashlib.sha256(b"a message").digest()
BOTH = [ED25519, TAPROOT]
LIAR = 2
IDENTITY = {ED25519: b"\x01" + bytes(31), TAPROOT: bytes(33)}
GENERATOR = {
    ED25519: bytes.fromhex("58" + "66" * 31),
    TAPROOT: bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
}
FIRST = 43  # after the message's header and the library's
FIRST_OF_MANY = 44


def abort_of(ended: pytest.ExceptionInfo[parties.Ended], index: int) -> native.ProtocolAbort:
    error = ended.value.errors[index]
    assert isinstance(error, native.ProtocolAbort)
    return error


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("point", [IDENTITY, GENERATOR], ids=["identity", "generator"])
def test_a_wrong_commitment_in_a_dkg_names_the_liar(protocol: str, point: dict[str, bytes]) -> None:
    change = put(FIRST_OF_MANY, point[protocol])
    with pytest.raises(parties.Ended) as ended:
        parties.run(parties.dkg_sessions(protocol, 2, 3), lie(LIAR, 1, "broadcast", change))
    assert abort_of(ended, 1).culprits == abort_of(ended, 3).culprits == (LIAR,)


@pytest.mark.parametrize("protocol", BOTH)
def test_a_wrong_proof_in_a_dkg_names_the_liar(protocol: str) -> None:
    at = -1 if protocol == TAPROOT else -32  # the response's lowest byte
    with pytest.raises(parties.Ended) as ended:
        parties.run(parties.dkg_sessions(protocol, 2, 3), lie(LIAR, 1, "broadcast", flip(at)))
    assert abort_of(ended, 1).culprits == abort_of(ended, 3).culprits == (LIAR,)


@pytest.mark.parametrize("protocol", BOTH)
def test_a_polynomial_of_another_degree_names_the_liar(protocol: str) -> None:
    session = parties.session_id()
    sessions = {index: native.Dkg(protocol, index, 2, 3, session) for index in (1, 2, 3)}
    longer = native.Dkg(protocol, LIAR, 3, 3, session).start().broadcast
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 1, "broadcast", lambda true: true[:38] + longer[38:]))
    for index in (1, 3):
        assert abort_of(ended, index).culprits == (LIAR,)
        assert "degree" in abort_of(ended, index).reason


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("kind", ["dkg", "refresh"])
def test_a_wrong_share_names_the_liar_to_whom_it_went(protocol: str, kind: str) -> None:
    sessions = (
        parties.dkg_sessions(protocol, 2, 3)
        if kind == "dkg"
        else parties.refresh_sessions(key(protocol))
    )
    at = -1 if protocol == TAPROOT else FIRST
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 2, "private", flip(at), only_to=3))
    assert set(ended.value.errors) == {3}
    assert abort_of(ended, 3).culprits == (LIAR,)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("kind", ["dkg", "refresh"])
def test_another_outcome_is_found_by_the_comparison(protocol: str, kind: str) -> None:
    sessions = (
        parties.dkg_sessions(protocol, 2, 3)
        if kind == "dkg"
        else parties.refresh_sessions(key(protocol))
    )
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 3, "broadcast", flip(-1)))
    assert set(ended.value.errors) == {1, 3}
    assert abort_of(ended, 1).culprits == abort_of(ended, 3).culprits == (LIAR,)


@pytest.mark.parametrize("protocol", BOTH)
def test_with_no_majority_nobody_is_named_for_another_outcome(protocol: str) -> None:
    with pytest.raises(parties.Ended) as ended:
        parties.run(parties.dkg_sessions(protocol, 2, 2), lie(LIAR, 3, "broadcast", flip(-1)))
    assert abort_of(ended, 1).culprits == ()


@pytest.mark.parametrize("protocol", BOTH)
def test_a_wrong_signature_share_names_the_liar(protocol: str) -> None:
    at = -1 if protocol == TAPROOT else FIRST
    sessions = parties.signing_sessions(key(protocol, 3, 5), [1, 2, 5], DIGEST)
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 2, "broadcast", flip(at)))
    assert abort_of(ended, 1).culprits == abort_of(ended, 5).culprits == (LIAR,)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("point", [IDENTITY, GENERATOR], ids=["identity", "generator"])
def test_wrong_nonce_commitments_give_no_signature(protocol: str, point: dict[str, bytes]) -> None:
    change = put(FIRST, point[protocol])
    with pytest.raises(parties.Ended) as ended:
        parties.run(
            parties.signing_sessions(key(protocol), [1, 2], DIGEST),
            lie(LIAR, 1, "broadcast", change),
        )
    assert abort_of(ended, 1).culprits == (LIAR,)


@pytest.mark.parametrize("protocol", BOTH)
def test_different_nonces_to_different_peers_give_no_signature(protocol: str) -> None:
    shares = key(protocol, 3, 5)
    session = parties.session_id()
    sessions = {i: native.Signing(shares[i], [1, 2, 3], DIGEST, session) for i in (1, 2, 3)}
    other = native.Signing(shares[LIAR], [1, 2, 3], DIGEST, session).start().broadcast
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 1, "broadcast", lambda _: other, only_to=1))
    assert {1, 3} <= set(ended.value.errors)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("exchange", [1, 2])
def test_a_share_repaired_wrongly_is_refused(protocol: str, exchange: int) -> None:
    at = 69 if protocol == TAPROOT else 38  # the scalar's lowest byte
    sessions = parties.repair_sessions(key(protocol), 3, [1, 2])
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, exchange, "private", flip(at)))
    assert "the repaired share is not that of its verifying share" in abort_of(ended, 3).reason


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("at", [-1, -2])  # whether it is tweaked, the ceremony
def test_helpers_that_disagree_repair_nothing(protocol: str, at: int) -> None:
    sessions = parties.repair_sessions(key(protocol), 3, [1, 2])
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, 2, "private", flip(at)))
    assert "differ" in abort_of(ended, 3).reason
    assert abort_of(ended, 3).culprits == ()


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("garbage", [b"", b"x", bytes(38), bytes(60), bytes(300_000)])
@pytest.mark.parametrize("exchange", [1, 2])
def test_garbage_and_silence_name_their_sender(
    protocol: str, exchange: int, garbage: bytes
) -> None:
    sessions = parties.signing_sessions(key(protocol), [1, 2], DIGEST)
    with pytest.raises(parties.Ended) as ended:
        parties.run(sessions, lie(LIAR, exchange, "broadcast", lambda _: garbage))
    assert abort_of(ended, 1).culprits == (LIAR,)
