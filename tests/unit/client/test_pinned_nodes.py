"""With nodes pinned, a client hands out only what they attest, whatever the service says. Pure."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from custody.client import (
    Curve,
    Failed,
    Key,
    KeyStatus,
    Network,
    NotAttested,
    NotFinal,
    PinnedNodes,
    Protection,
    Reason,
    Scheme,
    Store,
    UnexpectedAnswer,
    Unknown,
    Wallet,
    operations,
    read_pinned_nodes,
)
from custody.client.as_asked import require_filtered
from custody.client.calls import Calls, Wish, wish
from custody.client.pinned_nodes import AttestedKeys
from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.answers import known
from custody.wire.attestations import Unattested
from custody.wire.derivation import format_path
from custody.wire.jobs import Endpoint, wallet_id_of
from custody.wire.node_api import NodeHealth
from custody.wire.requests import CreateWallet
from custody.wire.resources import Node
from custody.wire.signed_bytes import SignedBytes
from tests.unit.wire.test_attestations import (
    ADDRESS,
    APPLICATION,
    BARE,
    CHILD,
    EXTERNAL_ID,
    HSM,
    KEY_ID,
    MADE_FOR,
    MPC,
    OTHER_ID,
    OTHER_KEY,
    PINNED,
    PUBLIC_KEY,
    SIGNERS,
    by_all,
    identity,
    signed,
)

WALLET_ID = wallet_id_of(KEY_ID)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER_ADDRESS = address_of(Network.ETHEREUM, ECDSA_SECP256K1, OTHER_KEY)

KEY = Key(
    id=KEY_ID,
    status=KeyStatus.ACTIVE,
    store=Store.HSM,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    network=Network.ETHEREUM,
    public_key=PUBLIC_KEY,
    protection=Protection.HSM,
    signer_group=None,
    threshold=None,
    signers=None,
    generation=None,
    root=None,
    path=None,
    chain_code=None,
    attestations=[signed(HSM)],
    external_id=None,
    name=None,
    tags=[],
    reason=None,
    created_at=NOW,
)
WALLET = Wallet(
    id=WALLET_ID,
    status=KeyStatus.ACTIVE,
    store=Store.HSM,
    network=Network.ETHEREUM,
    signer_group=None,
    key_id=KEY_ID,
    address=ADDRESS,
    external_id=EXTERNAL_ID,
    name=None,
    tags=[],
    reason=None,
    created_at=NOW,
)
MPC_KEY = KEY.model_copy(
    update={
        "store": Store.MPC,
        "protection": Protection.MPC,
        "signer_group": "treasury",
        "threshold": 3,
        "signers": SIGNERS,
        "generation": 0,
        "chain_code": MPC.chain_code,
        "attestations": by_all(),
    }
)
MPC_WALLET = WALLET.model_copy(update={"store": Store.MPC, "signer_group": "treasury"})
CHILD_KEY = MPC_KEY.model_copy(
    update={
        "id": CHILD.id,
        "root": CHILD.root,
        "path": format_path(CHILD.path),
        "public_key": CHILD.public_key,
        "chain_code": CHILD.chain_code,
    }
)
CHILD_WALLET = MPC_WALLET.model_copy(
    update={"id": wallet_id_of(CHILD.id), "key_id": CHILD.id, "address": CHILD.address}
)


def run(
    calls: Calls[Any], wallet: Wallet = WALLET, key: Key = KEY, parent: Key | None = None
) -> Any:
    """An operation of a client with pinned nodes, of a service that shows this wallet and key.

    ``parent``: what it shows under KEY_ID, where that is another key.
    """
    checked = AttestedKeys(PINNED).checked(calls)
    answer: Any = None
    while True:
        try:
            call = checked.send(answer)
        except StopIteration as end:
            return end.value
        answer = wallet if "/wallets" in call.path else key
        if parent is not None and call.path == f"/v1/keys/{KEY_ID}":
            answer = parent


def test_what_the_nodes_attest_is_handed_out():
    assert run(operations.create_wallet(Network.ETHEREUM, external_id=EXTERNAL_ID)) == WALLET
    assert run(operations.get_wallet(WALLET_ID)) == WALLET
    assert run(operations.get_key(KEY_ID)) == KEY
    assert run(operations.get_wallet(WALLET_ID), MPC_WALLET, MPC_KEY) == MPC_WALLET
    assert run(operations.get_key(KEY_ID), key=MPC_KEY) == MPC_KEY
    assert run(operations.get_wallet(CHILD_WALLET.id), CHILD_WALLET, CHILD_KEY) == CHILD_WALLET
    assert run(operations.get_key(CHILD.id), key=CHILD_KEY) == CHILD_KEY


SEPOLIA = WALLET.model_copy(
    update={
        "id": wallet_id_of(KEY_ID, Network.ETHEREUM_SEPOLIA),
        "network": Network.ETHEREUM_SEPOLIA,
        "external_id": None,
    }
)
BARE_KEY = KEY.model_copy(
    update={
        "network": None,
        "external_id": EXTERNAL_ID,
        "attestations": [signed(HSM.model_copy(update={"network": None, "made_for": BARE}))],
    }
)
OF_BARE_KEY = SEPOLIA.model_copy(
    update={"id": wallet_id_of(KEY_ID, Network.ETHEREUM), "network": Network.ETHEREUM}
)


def test_a_wallet_that_was_added_is_handed_out():
    add = operations.add_wallet(KEY_ID, Network.ETHEREUM_SEPOLIA)
    assert run(add, SEPOLIA) == SEPOLIA
    assert run(operations.get_wallet(SEPOLIA.id), SEPOLIA) == SEPOLIA
    assert run(operations.add_wallet(KEY_ID, Network.ETHEREUM), OF_BARE_KEY, BARE_KEY)


@pytest.mark.parametrize(
    "lie",
    [
        {"external_id": EXTERNAL_ID},  # another wallet of the application has this name
        {"external_id": "order-8"},
        {"id": WALLET_ID},
        {"id": wallet_id_of(OTHER_ID, Network.ETHEREUM_SEPOLIA)},
        {"address": OTHER_ADDRESS},
        {"key_id": OTHER_ID},
        {"store": Store.MPC},
        {"network": Network.BITCOIN, "id": wallet_id_of(KEY_ID, Network.BITCOIN)},
        {"network": Unknown("Cardano")},
    ],
    ids=str,
)
def test_a_wallet_that_was_added_is_not_handed_out_with(lie):
    wallet = SEPOLIA.model_copy(update=lie)
    with pytest.raises(NotAttested):
        run(operations.get_wallet(wallet.id), wallet)


@pytest.mark.parametrize("asked", [wallet_id_of(OTHER_ID), SEPOLIA.id, OTHER_ID], ids=str)
def test_a_wallet_is_not_handed_out_under_the_id_of_another_wallet(asked):
    """Each is of a key of this application, and its nodes attest each of the keys."""
    wallet = WALLET.model_copy(update={"id": asked})
    with pytest.raises(NotAttested, match=f"is not the wallet of key {KEY_ID} on Ethereum"):
        run(operations.get_wallet(asked), wallet)
    child = CHILD_WALLET.model_copy(update={"id": asked})
    with pytest.raises(NotAttested, match=f"is not the wallet of key {CHILD.id} on Ethereum"):
        run(operations.get_wallet(asked), child, CHILD_KEY)


def test_a_wallet_that_was_added_is_none_that_a_request_creates():
    """Its key was made for another customer."""
    for wallet, key in ((SEPOLIA, KEY), (OF_BARE_KEY, BARE_KEY)):
        network = known(wallet.network)
        with pytest.raises(NotAttested):
            run(operations.create_wallet(network, external_id=EXTERNAL_ID), wallet, key)
        named = wallet.model_copy(update={"external_id": EXTERNAL_ID})
        with pytest.raises(NotAttested):
            run(operations.create_wallet(network, external_id=EXTERNAL_ID), named, key)


def test_another_wallet_than_the_one_to_add_is_refused():
    for key_id, network in (
        (OTHER_ID, Network.ETHEREUM_SEPOLIA),
        (KEY_ID, Network.ETHEREUM),
    ):
        with pytest.raises(UnexpectedAnswer):
            run(operations.add_wallet(key_id, network), SEPOLIA)


create_wallet = partial(operations.create_wallet, Network.ETHEREUM, external_id=EXTERNAL_ID)
OPERATIONS: dict[str, Callable[[], Calls[Any]]] = {
    "create_wallet": lambda: operations.create_wallet(
        Network.ETHEREUM, external_id=EXTERNAL_ID, wait=0.001
    ),
    "create_wallet without waiting": lambda: operations.create_wallet(
        Network.ETHEREUM, external_id=EXTERNAL_ID, wait=0
    ),
    "get_wallet": lambda: operations.get_wallet(WALLET_ID),
}
LIES: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "another address": ({"address": OTHER_ADDRESS}, {}),
    "another key and its address": ({"address": OTHER_ADDRESS}, {"public_key": OTHER_KEY}),
    "another key": ({}, {"public_key": OTHER_KEY}),
    "an address that is there before the wallet is Active": (
        {"address": OTHER_ADDRESS, "status": KeyStatus.PENDING},
        {"public_key": OTHER_KEY, "status": KeyStatus.PENDING},
    ),
    "no attestation": ({}, {"attestations": []}),
    "an attestation of nobody pinned": ({}, {"attestations": [signed(HSM, by="mallory")]}),
    "a key without public key": ({}, {"public_key": None}),
    "a key of another network": ({}, {"network": Network.BITCOIN}),
    "a key of another store": ({}, {"store": Store.MPC}),
    "a wallet of another store": ({"store": Store.MPC}, {}),
    "an imported wallet": ({"imported": True}, {}),
    "another key's id": ({"key_id": OTHER_ID}, {}),
    "another wallet's key": ({"key_id": OTHER_ID}, {"id": OTHER_ID}),
    "a better protection": ({}, {"protection": Protection.MPC}),
    "a signer group": ({"signer_group": "treasury"}, {}),
    "another request's external id": ({"external_id": "order-8"}, {}),
    "no external id": ({"external_id": None}, {}),
    "an attestation of the first version": (
        {},
        {"attestations": [signed(HSM.model_copy(update={"version": 1}))]},
    ),
}


@pytest.mark.parametrize("calls", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_wallet_is_not_handed_out_with(calls, lie):
    wallet, key = WALLET.model_copy(update=lie[0]), KEY.model_copy(update=lie[1])
    with pytest.raises(NotAttested):
        run(calls(), wallet, key)


@pytest.mark.parametrize(
    "lie",
    [
        {"public_key": OTHER_KEY},
        {"chain_code": bytes(32)},
        {"threshold": 5},
        {"signers": SIGNERS[:3]},
        {"signer_group": "other"},
        {"attestations": by_all()[:4]},
        {"path": "m/0/6", "root": CHILD.root},
        {"path": "m/0'", "root": CHILD.root},
        {"path": "anywhere", "root": CHILD.root},
        {"curve": Curve.SECP256R1},
    ],
    ids=str,
)
def test_a_key_is_not_handed_out_with(lie):
    with pytest.raises(NotAttested):
        run(operations.get_key(KEY_ID), key=MPC_KEY.model_copy(update=lie))


@pytest.mark.parametrize("name", ["store", "scheme", "curve", "network", "protection"])
def test_a_key_of_a_kind_that_came_later_is_not_handed_out(name):
    later = KEY.model_copy(update={name: Unknown("later")})
    with pytest.raises(NotAttested, match="does not know 'later'"):
        run(operations.get_key(KEY_ID), key=later)


def test_a_wallet_of_an_imported_key_is_not_handed_out_as_a_generated_one():
    """The key is read for the check alone: an application that has the wallet does not see it."""
    made_for = MADE_FOR.model_copy(update={"imported": True})
    key = KEY.model_copy(
        update={"imported": True, "attestations": attested(imported=True, made_for=made_for)}
    )
    imported = WALLET.model_copy(update={"imported": True})
    assert run(operations.get_wallet(WALLET_ID), imported, key) == imported
    with pytest.raises(NotAttested, match="another key than its own"):
        run(operations.get_wallet(WALLET_ID), WALLET, key)


def test_what_is_asked_for_by_id_is_what_is_handed_out():
    elsewhere = MPC_KEY.model_copy(update={"id": OTHER_ID})
    with pytest.raises(NotAttested, match="shows another one"):
        run(operations.get_key(KEY_ID), key=elsewhere)
    with pytest.raises(NotAttested, match="shows another one"):
        run(operations.get_wallet(OTHER_ID))


def test_less_than_was_asked_for_is_not_handed_out_though_it_is_attested():
    body = CreateWallet(
        network=Network.ETHEREUM, store=Store.MPC, signer_group="treasury", external_id=EXTERNAL_ID
    )
    with pytest.raises(NotAttested, match="store: asked for mpc, was given hsm"):
        run(iter(wish("/v1/wallets", Wish(Endpoint.WALLETS, body), Wallet)))
    of_others = MPC_WALLET.model_copy(update={"signer_group": "others"})
    with pytest.raises(NotAttested, match="signer_group: asked for treasury, was given others"):
        run(iter(wish("/v1/wallets", Wish(Endpoint.WALLETS, body), Wallet)), of_others)
    with pytest.raises(NotAttested, match="network: asked for Bitcoin"):
        run(operations.create_wallet(Network.BITCOIN))
    with pytest.raises(NotAttested, match="curve: asked for secp256r1"):
        run(operations.create_key(Scheme.ECDSA, Curve.SECP256R1))


def attested(**changes: object) -> list[SignedBytes]:
    return [signed(HSM.model_copy(update=changes))]


def test_another_applications_wallet_is_not_handed_out():
    """It is attested, and was asked for under the same external id."""
    made_for = MADE_FOR.model_copy(update={"application": identity("other shop").public_key})
    theirs = KEY.model_copy(update={"attestations": attested(made_for=made_for)})
    for calls in OPERATIONS.values():
        with pytest.raises(NotAttested, match="made for the application with key"):
            run(calls(), WALLET, theirs)
    with pytest.raises(NotAttested, match="made for the application with key"):
        run(operations.get_key(KEY_ID), key=theirs)


def test_another_wallet_of_this_application_is_not_handed_out():
    """What the service says that the external id is does not help it."""
    made_for = MADE_FOR.model_copy(update={"external_id": "order-8"})
    other = KEY.model_copy(update={"attestations": attested(made_for=made_for)})
    for calls in OPERATIONS.values():
        with pytest.raises(NotAttested, match="made for external_id order-8, not order-7"):
            run(calls(), WALLET, other)
    told = WALLET.model_copy(update={"external_id": "order-8"})
    assert run(operations.get_wallet(WALLET_ID), told, other) == told
    with pytest.raises(NotAttested, match="asked for order-7, was given order-8"):
        run(OPERATIONS["create_wallet"](), told, other)
    with pytest.raises(UnexpectedAnswer, match="has external_id order-8, not order-7"):
        run(operations.get_wallet(WALLET_ID, external_id=EXTERNAL_ID), told, other)


def test_the_same_request_again_after_a_restart_gets_the_same_wallet():
    """The body is signed again then, with another expiry: the external id is what stays."""
    for _ in range(2):
        assert run(OPERATIONS["create_wallet"]()) == WALLET
    assert run(operations.get_wallet(WALLET_ID, external_id=EXTERNAL_ID)) == WALLET


def test_a_bare_key_is_that_of_its_own_request():
    bare = {"network": None, "external_id": EXTERNAL_ID}
    key = KEY.model_copy(update={**bare, "attestations": attested(network=None, made_for=BARE)})
    create = partial(operations.create_key, Scheme.ECDSA, Curve.SECP256K1)
    assert run(create(external_id=EXTERNAL_ID), key=key) == key
    with pytest.raises(NotAttested, match="asked for order-8, was given order-7"):
        run(create(external_id="order-8"), key=key)
    told = key.model_copy(update={"external_id": "order-8"})
    with pytest.raises(NotAttested, match="made for external_id order-7, not order-8"):
        run(create(external_id="order-8"), key=told)
    of_wallet = key.model_copy(update={"attestations": attested(network=None)})
    with pytest.raises(NotAttested, match="made for a request to wallets"):
        run(create(external_id=EXTERNAL_ID), key=of_wallet)


def test_a_key_of_liars_under_the_groups_name_is_not_handed_out():
    """Two signers and the service, as in "cold" of 3 of 5: each of them is pinned."""
    liars = SIGNERS[:2]
    theirs = by_all(MPC.model_copy(update={"threshold": 2, "signers": liars}))
    key = MPC_KEY.model_copy(update={"threshold": 2, "signers": liars, "attestations": theirs})
    for calls in (
        operations.create_wallet(
            Network.ETHEREUM, Store.MPC, signer_group="treasury", external_id=EXTERNAL_ID
        ),
        operations.get_wallet(WALLET_ID),
    ):
        with pytest.raises(NotAttested, match="threshold 2 is attested, but 3 is pinned"):
            run(calls, MPC_WALLET, key)


def derived(path: str) -> list[Calls[Any]]:
    """Both ways to ask for a child."""
    return [
        operations.create_wallet(Network.ETHEREUM, Store.MPC, master_key=KEY_ID, path=path),
        operations.derive_key(KEY_ID, path),
    ]


def test_a_derived_key_is_the_child_that_was_asked_for():
    path = format_path(CHILD.path)
    assert [run(calls, CHILD_WALLET, CHILD_KEY, MPC_KEY) for calls in derived(path)] == [
        CHILD_WALLET,
        CHILD_KEY,
    ]
    for calls in derived("m/0/6"):
        with pytest.raises(NotAttested, match=f"is not the child m/0/6 of key {KEY_ID}"):
            run(calls, CHILD_WALLET, CHILD_KEY, MPC_KEY)


def test_a_child_of_another_applications_root_is_not_handed_out():
    made_for = MADE_FOR.model_copy(update={"application": identity("other shop").public_key})
    theirs = {"attestations": by_all(MPC.model_copy(update={"made_for": made_for}))}
    child, parent = (key.model_copy(update=theirs) for key in (CHILD_KEY, MPC_KEY))
    for calls in (*derived(format_path(CHILD.path)), operations.get_key(CHILD.id)):
        with pytest.raises(NotAttested, match="made for the application with key"):
            run(calls, CHILD_WALLET, child, parent)


@pytest.mark.parametrize(
    "lie", [{"public_key": OTHER_KEY}, {"public_key": None}, {"chain_code": None}, {"id": OTHER_ID}]
)
def test_a_parent_is_believed_no_more_than_any_key(lie):
    parent = MPC_KEY.model_copy(update=lie)
    for calls in derived(format_path(CHILD.path)):
        with pytest.raises(NotAttested):
            run(calls, CHILD_WALLET, CHILD_KEY, parent)


def test_a_wallet_that_is_not_there_yet_needs_no_attestation():
    pending = WALLET.model_copy(update={"status": KeyStatus.PENDING, "address": None})
    key = KEY.model_copy(
        update={"status": KeyStatus.PENDING, "public_key": None, "attestations": []}
    )
    assert run(operations.get_wallet(WALLET_ID), pending, key) == pending
    assert run(operations.get_key(KEY_ID), pending, key) == key


def test_what_an_error_carries_is_checked_too():
    reason = Reason(code="x", detail="y")
    for status, error in ((KeyStatus.PENDING, NotFinal), (KeyStatus.FAILED, Failed)):
        update = {"status": status, "reason": reason}
        honest = WALLET.model_copy(update={**update, "address": None})
        with pytest.raises(error):
            run(operations.get_wallet(WALLET_ID, wait=1e-9), honest)
        with pytest.raises(NotAttested):
            run(
                operations.get_wallet(WALLET_ID, wait=1e-9),
                honest.model_copy(update={"address": OTHER_ADDRESS}),
            )


def test_the_items_of_lists_are_checked_one_by_one():
    keys = AttestedKeys(PINNED)
    assert list(keys.check(KEY)) == []
    with pytest.raises(NotAttested):
        list(keys.check(KEY.model_copy(update={"attestations": []})))
    node = Node(
        id="zurich-1",
        group="hsm",
        version=None,
        capabilities={},
        health=NodeHealth(status="ok"),
        last_seen=None,
        restores=(),
    )
    assert list(keys.check(node)) == []


@pytest.mark.parametrize(
    "lie",
    [
        {"external_id": "order-8"},
        {"external_id": None},
        {"network": Network.ETHEREUM_SEPOLIA},
        {"address": "0x00"},
        {"key_id": OTHER_ID},
    ],
    ids=str,
)
def test_each_filter_that_finds_one_wallet_is_compared(lie):
    filters = {name: getattr(WALLET, name) for name in lie}
    call = operations.list_wallets(**filters)
    require_filtered(WALLET, call)
    with pytest.raises(UnexpectedAnswer):
        require_filtered(WALLET.model_copy(update=lie), call)


def pins_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_pins_are_read_from_a_file(tmp_path):
    members = ", ".join(f'"{name}"' for name in SIGNERS)
    lines = [
        f'{name} = "{base64.b64encode(identity(name).public_key).decode()}"' for name in SIGNERS
    ]
    driver = base64.b64encode(identity("zurich-1").public_key).decode()
    text = "\n".join(
        [
            f'application = "{base64.b64encode(APPLICATION).decode()}"',
            "[drivers]",
            f'zurich-1 = "{driver}"',
            "[signers]",
            *lines,
            "[driver_groups]",
            'hsm = ["zurich-1"]',
            "[signer_groups.treasury]",
            "threshold = 3",
            f"signers = [{members}]",
        ]
    )
    pinned = read_pinned_nodes(pins_file(tmp_path / "pins.toml", text))
    assert pinned.application == APPLICATION
    pinned.require_drivers_group("hsm", "zurich-1")
    pinned.require_signer_group("treasury", 3, SIGNERS)
    with pytest.raises(Unattested):
        pinned.require_signer_group("treasury", 2, SIGNERS)
    assert pinned.open(Store.HSM, signed(HSM)) == HSM
    assert pinned.open(Store.MPC, signed(MPC)) == MPC
    assert isinstance(pinned, PinnedNodes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[drivers]\nzurich-1 = "AAAA"', "zurich-1: an Ed25519 public key has 32 bytes"),
        ('[drivers]\nzurich-1 = "?"', "drivers.zurich-1: .*base64"),
        ("[drivers]\nzurich-1 = 7", "drivers.zurich-1"),
        ('[nodes]\nzurich-1 = "AAAA"', "nodes: Extra inputs"),
        ("min_threshold = 3", "min_threshold: Extra inputs"),
        ('application = "AAAA"', "an Ed25519 public key has 32 bytes"),
        ('[driver_groups]\nhsm = ["zurich-1"]', "hsm: zurich-1 has no identity key"),
        ('[signer_groups.cold]\nthreshold = 2\nsigners = ["a"]', "threshold 2 of 1 signers"),
        ('[signer_groups.cold]\nsigners = ["a"]', "signer_groups.cold.threshold: Field required"),
        ("no toml", "pins.toml"),
        ("\udcff", "pins.toml"),
    ],
)
def test_a_file_that_pins_nothing_right_is_refused_by_name(tmp_path, text, reason):
    path = tmp_path / "pins.toml"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=reason) as caught:
        read_pinned_nodes(path)
    assert str(path) in str(caught.value)


def test_a_file_of_pins_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read .*pins.toml: No such file"):
        read_pinned_nodes(tmp_path / "pins.toml")
