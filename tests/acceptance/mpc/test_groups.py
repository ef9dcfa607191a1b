"""Signer groups and signers, as the API shows them."""

import pytest

from custody.client import InvalidRequest
from tests.acceptance.mpc.conftest import GROUPS, members


def test_a_group_shows_its_signers_and_who_owns_them(custody):
    groups = {group.name: group for group in custody.list_signer_groups()}
    assert set(GROUPS) <= set(groups)
    group = groups["3-of-5"]
    assert (group.threshold, group.signers) == (3, members(5))
    assert group.owners == ["acme", "bank", "acme", "bank", "acme"]
    assert custody.get_signer_group("3-of-5") == group


def test_a_group_says_whether_an_owner_alone_reaches_the_threshold(custody):
    split = custody.create_signer_group("split", ["signer-1", "signer-2"], 2)
    assert split.single_owner_quorum is None
    united = custody.create_signer_group("united", ["signer-1", "signer-2", "signer-3"], 2)
    assert united.single_owner_quorum == "acme"


def test_the_same_group_again_is_the_same_and_another_of_its_name_is_refused(custody):
    again = custody.create_signer_group("2-of-3", members(3), 2)
    assert again == custody.get_signer_group("2-of-3")
    with pytest.raises(Exception, match="2-of-3"):
        custody.create_signer_group("2-of-3", members(3), 3)


def test_a_group_has_no_signers_that_nobody_knows(custody):
    with pytest.raises(InvalidRequest, match="signer-99"):
        custody.create_signer_group("strangers", ["signer-1", "signer-99"], 2)


def test_signers_show_who_they_are_and_how_they_do(stack, custody):
    signers = {signer.id: signer for signer in custody.list_signers()}
    assert set(signers) == {signer.node_id for signer in stack.signers.all}
    for signer in stack.signers.all:
        shown = signers[signer.node_id]
        assert shown.owner == signer.owner
        assert shown.version
        assert shown.last_seen is not None
        assert shown.health.status == "ok"
        assert (shown.has_gate, shown.bans) == (False, [])
