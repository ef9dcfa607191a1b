"""Refresh and repair: the key stays, the shares do not."""

import hashlib
from itertools import combinations

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.native.verification import is_valid

DIGEST = hashlib.sha256(b"a message").digest()
SIZES = [(DKLS, 2, 3), (ED25519, 2, 3), (TAPROOT, 2, 3), (ED25519, 3, 5), (TAPROOT, 3, 5)]


@pytest.mark.parametrize(("protocol", "threshold", "signers"), SIZES)
def test_refreshed_shares_sign_for_the_same_key(
    protocol: str, threshold: int, signers: int
) -> None:
    before = key(protocol, threshold, signers)
    after = parties.refresh(before)
    for quorum in combinations(after, threshold):
        signature = parties.sign(after, quorum, DIGEST)
        assert is_valid(protocol, before[1].public_key, DIGEST, signature)
    for index, share in after.items():
        assert share.public_key == before[1].public_key
        assert share.chain_code == before[1].chain_code
        assert share.verifying_shares[index] != before[index].verifying_shares[index]
        assert share.transcript() == after[1].transcript() != before[1].transcript()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_shares_of_two_generations_do_not_sign_together(protocol: str) -> None:
    before = key(protocol)
    after = parties.refresh(before)
    for mixed in ({1: before[1], 2: after[2]}, {1: after[1], 2: before[2]}):
        with pytest.raises(parties.Ended) as ended:
            parties.sign(mixed, [1, 2], DIGEST)
        assert {type(error) for error in ended.value.errors.values()} == {native.ProtocolAbort}


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_shares_of_two_generations_are_not_refreshed_together(protocol: str) -> None:
    before = key(protocol)
    after = parties.refresh(before)
    with pytest.raises(parties.Ended) as ended:
        parties.refresh({**after, 2: before[2]})
    for error in ended.value.errors.values():
        assert "a message of another ceremony" in str(error)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("target", [1, 2, 3])
def test_a_lost_share_is_repaired_and_signs_once_refreshed(protocol: str, target: int) -> None:
    whole = key(protocol)
    helpers = [index for index in whole if index != target]
    repaired = parties.repair(whole, target, helpers)
    assert repaired.is_repaired
    assert repaired.index == target
    assert repaired.transcript() == whole[1].transcript()
    assert repaired.taproot_tweaked == (protocol == TAPROOT)
    if protocol == DKLS and target != 2:
        return  # the refresh takes seconds: once is enough
    after = parties.refresh({**whole, target: repaired})
    assert not any(share.is_repaired for share in after.values())
    for quorum in combinations(after, 2):
        signature = parties.sign(after, quorum, DIGEST)
        assert is_valid(protocol, whole[1].public_key, DIGEST, signature)


@pytest.mark.parametrize("protocol", [ED25519, TAPROOT])
@pytest.mark.parametrize("helpers", list(combinations([1, 2, 3, 5], 3)))
def test_any_quorum_of_3_of_5_repairs(protocol: str, helpers: tuple[int, ...]) -> None:
    whole = key(protocol, 3, 5)
    repaired = parties.repair(whole, 4, list(helpers))
    assert repaired.verifying_shares == whole[4].verifying_shares
    assert repaired.public_key == whole[4].public_key


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_repaired_share_is_stored_but_neither_signs_nor_helps(protocol: str) -> None:
    whole = key(protocol)
    stored = parties.repair(whole, 3, [1, 2]).to_bytes()
    repaired = native.Share.load(stored)
    assert repaired.is_repaired
    with pytest.raises(native.LocalMisuse, match="only once refreshed"):
        native.Signing(repaired, [1, 3], DIGEST, parties.session_id())
    with pytest.raises(native.LocalMisuse, match="only once refreshed"):
        native.Repair(protocol, 3, 2, [1, 3], repaired, parties.session_id())


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_repair_takes_exactly_the_threshold_of_helpers_with_shares(protocol: str) -> None:
    share, session = key(protocol)[1], parties.session_id()
    wrong = [
        (1, 3, [1], share),  # too few
        (1, 3, [1, 2, 3], share),  # the target helps itself
        (1, 3, [1, 1], share),  # one twice
        (1, 4, [1, 2], share),  # no such signer
        (1, 3, [1, 4], share),
        (1, 3, [2, 4], share),  # not a helper
        (2, 3, [1, 2], share),  # another's share
        (1, 3, [1, 2], None),  # a helper without a share
        (3, 3, [1, 2], key(protocol)[3]),  # a target with one
    ]
    for index, target, helpers, held in wrong:
        with pytest.raises(native.LocalMisuse):
            native.Repair(protocol, index, target, helpers, held, session)


def test_a_taproot_key_is_tweaked_once_and_never_again() -> None:
    shares = key(TAPROOT)
    output_key = shares[1].public_key
    for _ in range(2):
        shares = parties.refresh(shares)
        assert {(share.public_key, share.taproot_tweaked) for share in shares.values()} == {
            (output_key, True)
        }
    assert not key(ED25519)[1].taproot_tweaked
