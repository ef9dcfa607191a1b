"""Keys of signers, archived and un-archived by the client library and by operators."""

import pytest

from custody.client import Custody, Key, KeyArchived, Rejected
from tests.acceptance.mpc.conftest import make_key, sign_and_check


@pytest.fixture
def key(custody: Custody) -> Key:
    return make_key(custody, "ECDSA")


def test_an_archived_key_and_its_children_sign_nothing_until_it_is_unarchived(custody, key):
    child = custody.derive_key(key.id, "m/0/5")
    custody.archive_key(key.id)
    assert custody.get_key(key.id).archived_at is not None
    for stopped in (key, child):
        with pytest.raises(KeyArchived):
            custody.sign_hash(stopped.id, bytes(32))
    custody.refresh_key(key.id, wait=60)
    custody.unarchive_key(key.id)
    sign_and_check(custody, key, b"1" * 32)
    sign_and_check(custody, child, b"2" * 32)


def test_operators_of_enough_signers_stop_a_key_without_the_control_plane(custody, key, signers):
    for signer in signers[:2]:
        signer.run("archive", "shares", "archive", str(key.id), "--reason", "a drill")
    with pytest.raises(Rejected, match="archived"):
        custody.sign_hash(key.id, bytes(32))
    with pytest.raises(Rejected, match="archived_by_operator"):
        custody.unarchive_key(key.id)
    signers[0].run("unarchive", "shares", "unarchive", str(key.id), "--reason", "its end")
    sign_and_check(custody, key, b"3" * 32)
    signers[1].run("unarchive", "shares", "unarchive", str(key.id), "--reason", "its end")
