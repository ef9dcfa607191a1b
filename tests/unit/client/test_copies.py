"""With nodes pinned, a client accepts a copy of a key only if it is the key that was copied.

Fewer than t old signers and the control plane can let honest new signers attest a key of theirs as
the copy: new signers learn the old group from others. The client compares both groups' words.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from custody.client import (
    Key,
    Network,
    NotAttested,
    Scheme,
    Store,
    UnexpectedAnswer,
    change_operations,
    operations,
)
from custody.client.as_asked import require_filtered
from custody.client.calls import Calls, Wish
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1, Curve
from custody.wire.attestations import PinnedGroup, PinnedNodes
from custody.wire.derivation import child_chain_code, child_public_key
from custody.wire.jobs import Endpoint, child_key_id, wallet_id_of
from custody.wire.requests import CopyKey, CreateWallet
from custody.wire.resources import Wallet
from custody.wire.statements import Attestation, MadeFor
from tests.unit.client.test_pinned_nodes import MPC_KEY, MPC_WALLET
from tests.unit.wire.test_attestations import (
    APPLICATION,
    BARE,
    KEY_ID,
    MPC,
    OTHER_KEY,
    PATH,
    SIGNERS,
    by_all,
    identity,
)

ZURICH = ["zurich-a", "zurich-b", "zurich-c"]
COPY_ID = UUID("8d2f6b1c-4f0e-4b6e-9a53-0d1f6c7e2b44")
SECOND_ID = UUID("3f9b7a52-7c1d-4e8a-8b60-5e2d9c4f1a55")
MOVE = "move-7"


def pins(*left_out: str) -> PinnedNodes:
    """Both groups, without those that are named."""
    groups = {"treasury": PinnedGroup(3, SIGNERS), "zurich": PinnedGroup(2, ZURICH)}
    return PinnedNodes(
        drivers={},
        signers={name: identity(name).public_key for name in (*SIGNERS, *ZURICH)},
        driver_groups={},
        signer_groups={name: each for name, each in groups.items() if name not in left_out},
        application=APPLICATION,
    )


PINNED = pins()


def of_copy(
    key_id: UUID = COPY_ID, copied_from: UUID = KEY_ID, application: bytes | None = APPLICATION
) -> Attestation:
    """What a signer of Zurich attests of its copy of the treasury's key."""
    made_for = MadeFor(
        endpoint=Endpoint.COPIES, external_id=MOVE, application=application, copied_from=copied_from
    )
    holders = {"group": "zurich", "threshold": 2, "signers": ZURICH, "node": ZURICH[0]}
    return MPC.model_copy(update={"key_id": key_id, "made_for": made_for, **holders})


def shown(attestation: Attestation, **changes: object) -> Key:
    """Return the key as the API shows it, if the nodes attest this."""
    made_for = attestation.made_for
    assert made_for is not None
    named = made_for.endpoint is not Endpoint.WALLETS
    facts: dict[str, object] = {
        "id": attestation.key_id,
        "scheme": attestation.scheme,
        "curve": attestation.curve,
        "network": attestation.network,
        "public_key": attestation.public_key,
        "chain_code": attestation.chain_code,
        "imported": attestation.imported,
        "signer_group": attestation.group,
        "threshold": attestation.threshold,
        "signers": attestation.signers,
        "attestations": by_all(attestation),
        "external_id": made_for.external_id if named else None,
        "copied_from": made_for.copied_from,
    }
    return MPC_KEY.model_copy(update=facts | changes)


ORIGIN = shown(MPC)
COPY = shown(of_copy())
SECOND = shown(of_copy(SECOND_ID, COPY_ID))
SECOND_UNSIGNED = shown(of_copy(SECOND_ID, COPY_ID, None))


def child_of(root: Key) -> Key:
    assert root.public_key is not None
    assert root.chain_code is not None
    update = {
        "id": child_key_id(root.id, PATH, Network.ETHEREUM),
        "root": root.id,
        "path": "m/0/5",
        "public_key": child_public_key(root.public_key, root.chain_code, PATH),
        "chain_code": child_chain_code(root.public_key, root.chain_code, PATH),
        "copied_from": None,
        "external_id": None,
    }
    return root.model_copy(update=update)


def wallet_of(key: Key) -> Wallet:
    update = {
        "id": wallet_id_of(key.id),
        "key_id": key.id,
        "signer_group": key.signer_group,
        "address": address_of(Network.ETHEREUM, ECDSA_SECP256K1, key.public_key or b""),
        "external_id": None,
    }
    return MPC_WALLET.model_copy(update=update)


def run(
    calls: Calls[Any], *keys: Key, made: Key | None = None, pinned: PinnedNodes = PINNED
) -> Any:
    """An operation with these keys at the service; ``made``: the answer to a POST."""
    checked = AttestedKeys(pinned).checked(calls)
    by_id = {str(key.id): key for key in keys}
    answer: Any = None
    while True:
        try:
            call = checked.send(answer)
        except StopIteration as end:
            return end.value
        if made is not None and call.method == "POST":
            answer = wallet_of(made) if call.path.endswith("wallets") else made
        elif "/wallets/" in call.path:
            named = call.path.rpartition("/")[2]
            answer = next(wallet_of(key) for key in keys if str(wallet_id_of(key.id)) == named)
        else:
            named = call.path.rpartition("/")[2]
            answer = by_id.get(named) if call.may_be_missing else by_id[named]


def copy_key(key_id: UUID = KEY_ID) -> Calls[Key]:
    return change_operations.copy_key(key_id, "zurich", external_id=MOVE)


READS: dict[str, Callable[[Key], Calls[Any]]] = {
    "get_key": lambda key: operations.get_key(key.id),
    "get_wallet": lambda key: operations.get_wallet(wallet_id_of(key.id)),
    "add_wallet": lambda key: operations.add_wallet(key.id, Network.ETHEREUM),
    "a child": lambda key: operations.get_key(child_of(key).id),
    "derive_key": lambda key: operations.derive_key(key.id, "m/0/5"),
    "a wallet of a child": lambda key: operations.create_wallet(
        Network.ETHEREUM, Store.MPC, master_key=key.id, path="m/0/5"
    ),
}


def read(name: str, key: Key, *others: Key) -> Any:
    child = child_of(key)
    made = key if name == "add_wallet" else child
    return run(READS[name](key), key, child, *others, made=made)


@pytest.mark.parametrize("name", READS)
def test_a_copy_is_handed_out_if_both_groups_attest_the_same_key(name: str):
    assert read(name, COPY, ORIGIN).signer_group == "zurich"
    assert read(name, SECOND, COPY, ORIGIN).signer_group == "zurich"


def test_the_copy_that_was_asked_for_is_handed_out():
    assert run(copy_key(), COPY, ORIGIN, made=COPY) == COPY
    assert run(copy_key(COPY_ID), SECOND, COPY, ORIGIN, made=SECOND) == SECOND
    pending = COPY.model_copy(update={"public_key": None, "attestations": []})
    assert run(operations.get_key(COPY_ID), pending) == pending


@pytest.mark.parametrize("name", READS)
def test_a_copy_is_handed_out_whose_origin_is_erased_and_lost_if_its_request_was_signed(name: str):
    """As after a restore of the service. The new signers knew the old group from this client."""
    assert read(name, COPY).signer_group == "zurich"
    assert read(name, SECOND, COPY).signer_group == "zurich"


@pytest.mark.parametrize("name", READS)
def test_a_copy_that_nobody_has_signed_is_not_handed_out_without_its_origin(name: str):
    """Liars and the service could have made it up: without a signature they choose the group."""
    unsigned = pins()
    unsigned.application = None
    copy = shown(of_copy(application=None))
    for calls, keys in (
        (READS[name](copy), [copy, child_of(copy)]),
        (READS[name](SECOND_UNSIGNED), [SECOND_UNSIGNED, copy, child_of(SECOND_UNSIGNED)]),
    ):
        made = keys[0] if name == "add_wallet" else keys[-1]
        with pytest.raises(NotAttested, match="which the service does not have"):
            run(calls, *keys, made=made, pinned=unsigned)


ANOTHER: dict[str, dict[str, object]] = {
    "public_key": {"public_key": OTHER_KEY},
    "chain_code": {"chain_code": bytes(32)},
    "network": {"network": Network.ETHEREUM_SEPOLIA},
    "imported": {"imported": True},
}


@pytest.mark.parametrize("name", READS)
def test_a_key_of_liars_is_not_handed_out_as_a_copy(name: str):
    """All new signers attest it: they were told another old group."""
    theirs = shown(of_copy().model_copy(update={"public_key": OTHER_KEY}))
    with pytest.raises(NotAttested, match=r"is a copy of key .*, and has another public_key"):
        read(name, theirs, ORIGIN)
    second = shown(of_copy(SECOND_ID, COPY_ID).model_copy(update={"public_key": OTHER_KEY}))
    with pytest.raises(NotAttested, match=r"is a copy of key .*, and has another public_key"):
        read(name, second, theirs, ORIGIN)


@pytest.mark.parametrize("what", ANOTHER)
def test_each_fact_of_a_copy_is_compared_with_the_copied_key(what: str):
    theirs = shown(of_copy().model_copy(update=ANOTHER[what]))
    with pytest.raises(NotAttested, match=f"has another {what}"):
        run(operations.get_key(COPY_ID), theirs, ORIGIN)
    of_curve = of_copy().model_copy(update={"curve": Curve.SECP256R1, "chain_code": None})
    with pytest.raises(NotAttested, match="has another curve"):
        run(operations.get_key(COPY_ID), shown(of_curve), ORIGIN)


@pytest.mark.parametrize("name", [MOVE, "order-7"])
def test_a_wallet_of_a_copy_does_not_pass_for_the_wallet_of_that_external_id(name: str):
    """A list of wallets by external id would show the address of another wallet."""
    check = AttestedKeys(PINNED).check(wallet_of(COPY).model_copy(update={"external_id": name}))
    next(check)
    with pytest.raises(NotAttested, match="was added, and has an external_id"):
        check.send(COPY)


def test_the_copies_in_a_list_are_compared_too():
    theirs = shown(of_copy().model_copy(update={"public_key": OTHER_KEY}))
    check = AttestedKeys(PINNED).check(theirs)
    assert next(check).path == f"/v1/keys/{KEY_ID}"
    with pytest.raises(NotAttested, match="has another public_key"):
        check.send(ORIGIN)


def test_a_list_of_copies_has_those_of_the_key_alone():
    for copy, origin in ((COPY, ORIGIN), (SECOND, COPY)):
        require_filtered(copy, change_operations.list_copies(str(origin.id).upper()))
        with pytest.raises(UnexpectedAnswer, match="is not a copy of key"):
            require_filtered(copy, change_operations.list_copies(SECOND_ID))


def test_a_key_id_may_be_written_in_capitals():
    wallet = wallet_of(ORIGIN)
    require_filtered(wallet, operations.list_wallets(key_id=str(ORIGIN.id).upper()))
    with pytest.raises(UnexpectedAnswer, match="key_id"):
        require_filtered(wallet, operations.list_wallets(key_id=COPY.id))


LYING_ORIGINS: dict[str, Key] = {
    "as the copy": ORIGIN.model_copy(update={"public_key": OTHER_KEY}),
    "without attestations": ORIGIN.model_copy(update={"public_key": OTHER_KEY, "attestations": ()}),
    "attested by two liars": shown(
        MPC.model_copy(
            update={"public_key": OTHER_KEY, "threshold": 2, "signers": SIGNERS[:2]},
        )
    ),
    "as not there yet": ORIGIN.model_copy(update={"public_key": None, "attestations": ()}),
    "as another key": shown(MPC.model_copy(update={"key_id": SECOND_ID, "public_key": OTHER_KEY})),
    "as a child": child_of(ORIGIN).model_copy(update={"id": KEY_ID}),
}


@pytest.mark.parametrize("origin", LYING_ORIGINS.values(), ids=LYING_ORIGINS)
def test_the_copied_key_is_believed_no_more_than_any_key(origin: Key):
    theirs = shown(of_copy().model_copy(update={"public_key": OTHER_KEY}))
    served = [theirs, origin.model_copy(update={"id": KEY_ID})]
    for calls in (operations.get_key(COPY_ID), operations.get_wallet(wallet_id_of(COPY_ID))):
        with pytest.raises(NotAttested):
            run(calls, *served)
    with pytest.raises((NotAttested, UnexpectedAnswer)):
        run(copy_key(), *served, made=theirs)


def test_another_key_in_the_place_of_the_copied_one_is_refused():
    other = shown(MPC.model_copy(update={"key_id": SECOND_ID}))
    checks = AttestedKeys(PINNED).check(COPY)
    next(checks)
    with pytest.raises(NotAttested, match="is not shown"):
        checks.send(other)


@pytest.mark.parametrize("group", ["treasury", "zurich"])
def test_both_groups_must_be_pinned(group: str):
    with pytest.raises(NotAttested, match=f"the signer group '{group}' is not pinned"):
        run(operations.get_key(COPY_ID), COPY, ORIGIN, pinned=pins(group))


def test_a_copy_that_is_shown_as_a_key_of_its_own_is_refused():
    for key, origin in ((COPY, ORIGIN), (SECOND, COPY)):
        hidden = key.model_copy(update={"copied_from": None})
        with pytest.raises(NotAttested, match=f"attested as a copy of {origin.id}"):
            run(operations.get_key(key.id), hidden, origin)
    child = child_of(COPY).model_copy(update={"copied_from": KEY_ID})
    with pytest.raises(NotAttested, match="derived key is shown as a copy"):
        run(operations.get_key(child.id), child, COPY, ORIGIN)


def test_copies_of_each_other_are_refused():
    mutual = shown(of_copy(COPY_ID, SECOND_ID)), SECOND
    for key in mutual:
        with pytest.raises(NotAttested, match="copy of its own copy"):
            run(operations.get_key(key.id), *mutual)


def test_a_copy_is_none_of_the_keys_that_a_request_makes():
    """The service could ask for a copy under the external id of a new wallet."""
    bare = of_copy().model_copy(update={"network": None})
    bare_origin = MPC.model_copy(update={"network": None, "made_for": BARE})
    keys = shown(bare), shown(bare_origin)
    create_key = operations.create_key(
        Scheme.ECDSA, Curve.SECP256K1, Store.MPC, signer_group="zurich", external_id=MOVE
    )
    with pytest.raises(NotAttested, match="request was for a key of its own"):
        run(create_key, *keys, made=keys[0])
    body = CreateWallet(
        network=Network.ETHEREUM, store=Store.MPC, signer_group="zurich", external_id=MOVE
    )
    wallet = wallet_of(COPY).model_copy(update={"external_id": MOVE})
    check = AttestedKeys(PINNED).check(wallet, Wish(Endpoint.WALLETS, body))
    next(check)
    with pytest.raises(NotAttested, match="request was for a key of its own"):
        check.send(COPY)


@pytest.mark.parametrize(
    "other",
    [
        ORIGIN,
        SECOND,
        shown(of_copy().model_copy(update={"group": "treasury", "signers": SIGNERS})),
        COPY.model_copy(update={"external_id": "move-8"}),
    ],
    ids=["the copied key", "of another key", "for another group", "of another request"],
)
def test_another_key_than_the_copy_that_was_asked_for_is_refused(other: Key):
    body = CopyKey(signer_group="zurich", external_id=MOVE)
    with pytest.raises(NotAttested, match="asked for"):
        list(AttestedKeys(PINNED).check(other, Wish(Endpoint.COPIES, body, KEY_ID)))


def test_a_child_of_a_copy_is_none_of_the_copied_keys_children():
    """Its public key is the same, and other signers hold it."""
    child = child_of(COPY)
    for calls in (
        operations.derive_key(KEY_ID, "m/0/5"),
        operations.create_wallet(Network.ETHEREUM, Store.MPC, master_key=KEY_ID, path="m/0/5"),
    ):
        with pytest.raises(NotAttested, match="derived from another key"):
            run(calls, child, COPY, ORIGIN, made=child)
