import hashlib
from itertools import combinations

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.native.verification import is_valid

DIGEST = hashlib.sha256(b"a message").digest()
FROST = [ED25519, TAPROOT]


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("quorum", list(combinations([1, 2, 3], 2)))
def test_every_quorum_of_2_of_3_signs(protocol: str, quorum: tuple[int, ...]) -> None:
    shares = key(protocol)
    signature = parties.sign(shares, quorum, DIGEST)
    assert is_valid(protocol, shares[1].public_key, DIGEST, signature)


@pytest.mark.parametrize("protocol", FROST)
@pytest.mark.parametrize("quorum", list(combinations(range(1, 6), 3)))
def test_every_quorum_of_3_of_5_signs(protocol: str, quorum: tuple[int, ...]) -> None:
    shares = key(protocol, 3, 5)
    signature = parties.sign(shares, quorum, DIGEST)
    assert is_valid(protocol, shares[1].public_key, DIGEST, signature)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_signature_of_another_digest_is_not_valid(protocol: str) -> None:
    shares = key(protocol)
    signature = parties.sign(shares, [1, 2], DIGEST)
    assert not is_valid(protocol, shares[1].public_key, bytes(32), signature)


def test_every_ecdsa_signature_has_a_low_s() -> None:
    shares = key(DKLS)
    for number in range(24):  # each would be high half of the time
        digest = hashlib.sha256(bytes([number])).digest()
        signature = parties.sign(shares, [1, 3], digest)
        assert is_valid(DKLS, shares[1].public_key, digest, signature)


@pytest.mark.parametrize("length", [0, 1, 32, 33, 1000])
def test_ed25519_signs_messages_of_any_length(length: int) -> None:
    shares, message = key(ED25519), bytes(length)
    signature = parties.sign(shares, [2, 3], message)
    assert is_valid(ED25519, shares[1].public_key, message, signature)


@pytest.mark.parametrize("protocol", [DKLS, TAPROOT])
def test_a_digest_of_another_length_is_refused(protocol: str) -> None:
    for length in (0, 31, 33):
        with pytest.raises(native.LocalMisuse, match="32 bytes"):
            parties.signing_sessions(key(protocol), [1, 2], bytes(length))


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("quorum", [[1], [1, 2, 3], [1, 1], [1, 4], [0, 1], [1, 256], []])
def test_only_a_quorum_of_exactly_the_threshold_is_accepted(
    protocol: str, quorum: list[int]
) -> None:
    with pytest.raises(native.LocalMisuse):
        native.Signing(key(protocol)[1], quorum, DIGEST, parties.session_id())


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_who_is_not_in_the_quorum_does_not_sign(protocol: str) -> None:
    with pytest.raises(native.LocalMisuse, match="does not take part"):
        native.Signing(key(protocol)[3], [1, 2], DIGEST, parties.session_id())


def test_the_ban_locks_guard_the_first_answer_of_ecdsa_alone() -> None:
    guarded = {
        protocol: parties.signing_sessions(key(protocol), [1, 2], DIGEST)[1].guarded
        for protocol in native.PROTOCOLS
    }
    assert guarded == {DKLS: frozenset({1}), ED25519: frozenset(), TAPROOT: frozenset()}


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_two_digests_within_one_ceremony_end_it(protocol: str) -> None:
    shares, session = key(protocol), parties.session_id()
    other = hashlib.sha256(b"another message").digest()
    with pytest.raises(parties.Ended) as ended:
        parties.run(
            {
                1: native.Signing(shares[1], [1, 2], DIGEST, session),
                2: native.Signing(shares[2], [1, 2], other, session),
            }
        )
    for error in ended.value.errors.values():
        assert isinstance(error, native.ProtocolAbort)
        assert "another ceremony" in error.reason
