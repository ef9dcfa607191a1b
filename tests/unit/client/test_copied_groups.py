"""The request for a copy names both groups as the application has pinned them. Pure."""

from typing import Any

import pytest

from custody.client import NotAttested, change_operations
from custody.client.copied_groups import with_pinned_groups
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.attestations import PinnedGroup, PinnedNodes
from custody.wire.jobs import KeyHolders
from custody.wire.requests import CopyKey
from custody.wire.resources import Key
from tests.unit.client.test_pinned_nodes import MPC_KEY
from tests.unit.wire.test_attestations import APPLICATION, KEY_ID, MPC, SIGNERS, by_all, identity

NEW = ("berne-2", "geneva-1", "geneva-2")
PINS = PinnedNodes(
    drivers={},
    signers={name: identity(name).public_key for name in {*SIGNERS, *NEW}},
    driver_groups={},
    signer_groups={
        "treasury": PinnedGroup(3, SIGNERS),
        "two-of-five": PinnedGroup(2, SIGNERS),
        "zurich": PinnedGroup(2, NEW),
    },
    application=APPLICATION,
)


def sent(group: str, origin: Key) -> CopyKey:
    """Return the request that the client sends, of a service that shows this origin."""
    calls = with_pinned_groups(change_operations.copy_key(KEY_ID, group), AttestedKeys(PINS))
    call: Any = next(calls)
    while call.method == "GET":
        call = calls.send(origin)
    assert call.wish is not None
    assert call.wish.request == CopyKey.model_validate_json(call.body)  # what is signed is sent
    return CopyKey.model_validate_json(call.body)


def test_the_request_names_the_pinned_new_group_and_the_attested_old_one():
    request = sent("zurich", MPC_KEY)
    assert (request.threshold, request.signers) == (2, list(NEW))
    assert request.held_by == KeyHolders(group="treasury", threshold=3, signers=tuple(SIGNERS))


def test_a_group_that_is_not_pinned_is_not_asked_for():
    with pytest.raises(NotAttested, match="'geneva' is not pinned"):
        sent("geneva", MPC_KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"signer_group": "two-of-five", "threshold": 2},
        {"attestations": by_all(MPC.model_copy(update={"group": "two-of-five", "threshold": 3}))},
        {"attestations": ()},
    ],
)
def test_the_old_group_is_the_one_that_its_signers_attest(changes):
    """A control plane that names a group of lower threshold would make two liars enough."""
    with pytest.raises(NotAttested):
        sent("zurich", MPC_KEY.model_copy(update=changes))


def test_a_key_that_is_not_active_is_left_to_the_service():
    nothing = {"public_key": None, "signer_group": None, "threshold": None, "signers": None}
    request = sent("zurich", MPC_KEY.model_copy(update={**nothing, "attestations": ()}))
    assert (request.threshold, request.signers, request.held_by) == (None, None, None)
