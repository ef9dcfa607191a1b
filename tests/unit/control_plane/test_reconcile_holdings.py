"""What nodes say of the keys that they hold: what is believed, and what all holders agree on."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.reconcile.holdings import (
    BadInventory,
    Disagreement,
    Held,
    SignerGroup,
    agreed_by_drivers,
    agreed_by_signers,
    open_held,
    require_not_in_use,
)
from custody.wire.algorithms import EDDSA_ED25519, Network, Protection, Store
from custody.wire.inventory import HeldKey, Holding
from custody.wire.jobs import Endpoint, child_key_id
from custody.wire.signed_bytes import ATTESTATION_TYPE, BAN_TYPE, SigningKey
from custody.wire.statements import Attestation, MadeFor
from tests.made_up_keys import made_up_key

KEY_ID, SET = uuid4(), uuid4()
PUBLIC_KEY = made_up_key(EDDSA_ED25519)
NODES = {name: SigningKey(Ed25519PrivateKey.generate()) for name in ("one", "two", "three")}
MADE_FOR = MadeFor(endpoint=Endpoint.WALLETS, external_id="user-17", application=None)
GROUP = SignerGroup("treasury", 2, tuple(NODES))
NOW = datetime.now(UTC)


def attestation(node: str = "one", **changes: Any) -> Attestation:
    facts: dict[str, Any] = {
        "key_id": KEY_ID,
        "made_for": MADE_FOR,
        "store": Store.MPC,
        "scheme": EDDSA_ED25519.scheme,
        "curve": EDDSA_ED25519.curve,
        "network": Network.SOLANA,
        "public_key": PUBLIC_KEY,
        "protection": Protection.MPC,
        "group": "treasury",
        "threshold": 2,
        "signers": list(NODES),
        "node": node,
    }
    return Attestation(**(facts | changes))


def said(attested: Attestation, by: str | None = None, **changes: Any) -> HeldKey:
    signer = NODES[by or attested.node]
    facts: dict[str, Any] = {"generation": 0, "share_set_id": SET, "holding": Holding.IN_USE}
    return HeldKey(
        key_id=attested.key_id,
        attestation=signer.sign(ATTESTATION_TYPE, attested.model_dump_json().encode()),
        created_at=NOW,
        **(facts | changes),
    )


def held(node: str = "one", attested: Attestation | None = None, **changes: Any) -> Held:
    key = said(attested or attestation(node), **changes)
    return open_held(node, "mpc", Store.MPC, NODES[node].public_key, key)


def hsm(node: str = "one", **changes: Any) -> Held:
    facts: dict[str, Any] = {
        "store": Store.HSM,
        "protection": Protection.HSM,
        "group": "hsm",
        "threshold": 1,
        "signers": [node],
    }
    key = said(attestation(node, **(facts | changes)), generation=None, share_set_id=None)
    return open_held(node, "hsm", Store.HSM, NODES[node].public_key, key)


def all_of(**changes: Held) -> dict[str, Held]:
    return {name: held(name) for name in NODES} | changes


LIES: dict[str, Callable[[], tuple[HeldKey, str]]] = {
    "another node's statement": lambda: (said(attestation("two")), "two"),
    "another key's signature": lambda: (said(attestation("one"), by="two"), "two"),
    "another store": lambda: (
        said(attestation(store=Store.HSM, protection=Protection.HSM, threshold=1)),
        "one",
    ),
    "not a member": lambda: (said(attestation(signers=["two", "three"])), "one"),
    "another key": lambda: (
        said(attestation()).model_copy(update={"key_id": uuid4()}),
        "one",
    ),
    "no proof": lambda: (said(attestation()).model_copy(update={"attestation": None}), "one"),
    "a group of itself": lambda: (said(attestation(signers=["one"], threshold=1)), "one"),
    "a threshold of one": lambda: (said(attestation(threshold=1)), "one"),
    "a threshold above n": lambda: (said(attestation(threshold=4)), "one"),
    "too many signers": lambda: (
        said(attestation(signers=["one", *(f"signer-{number}" for number in range(16))])),
        "one",
    ),
    "a command for a name": lambda: (said(attestation(group="$(reboot)")), "one"),
    "a member twice": lambda: (said(attestation(signers=["one", "one", "two"])), "one"),
    "no share set": lambda: (said(attestation(), share_set_id=None), "one"),
    "a derived key": lambda: (said(attestation(key_id=child_key_id(KEY_ID, (1,), None))), "one"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_statement_is_believed_only_of_its_own_node(lie: str):
    key, _ = LIES[lie]()
    with pytest.raises(BadInventory):
        open_held("one", "mpc", Store.MPC, NODES["one"].public_key, key)


def test_another_kind_of_statement_is_not_an_attestation():
    payload = attestation().model_dump_json().encode()
    key = said(attestation()).model_copy(
        update={"attestation": NODES["one"].sign(BAN_TYPE, payload)}
    )
    with pytest.raises(BadInventory):
        open_held("one", "mpc", Store.MPC, NODES["one"].public_key, key)


def test_a_driver_attests_keys_of_its_own_group_alone():
    assert hsm().key_id == KEY_ID
    with pytest.raises(BadInventory, match="another group"):
        hsm(group="hsm-of-another")


def test_a_driver_has_no_set_of_shares():
    key = said(
        attestation(
            store=Store.HSM,
            protection=Protection.HSM,
            group="hsm",
            threshold=1,
            signers=["one"],
        )
    )
    with pytest.raises(BadInventory, match="set of shares"):
        open_held("one", "hsm", Store.HSM, NODES["one"].public_key, key)


def test_a_share_that_is_not_in_use_comes_without_proof():
    attested = said(attestation(), holding=Holding.WAITING)
    stated = attested.model_copy(update={"attestation": None})
    require_not_in_use("one", Store.MPC, stated)
    with pytest.raises(BadInventory, match="attests"):
        require_not_in_use("one", Store.MPC, attested)
    with pytest.raises(BadInventory):
        require_not_in_use("one", Store.HSM, stated)


def test_all_signers_of_a_key_agree():
    key = agreed_by_signers(all_of(), GROUP)
    assert (key.nodes, key.group, key.made_for) == (tuple(NODES), GROUP, MADE_FOR)


OTHER_GROUPS = {
    "its name": SignerGroup("another", 2, tuple(NODES)),
    "its threshold": SignerGroup("treasury", 3, tuple(NODES)),
    "a member less": SignerGroup("treasury", 2, ("one", "two")),
    "their order": SignerGroup("treasury", 2, ("two", "one", "three")),
}


@pytest.mark.parametrize("group", OTHER_GROUPS.values(), ids=OTHER_GROUPS)
def test_the_group_is_never_the_one_that_the_signers_name(group: SignerGroup):
    with pytest.raises(Disagreement, match="another signer group"):
        agreed_by_signers(all_of(), group)


def test_one_signer_that_names_a_smaller_group_speaks_for_itself_alone():
    lie = attestation(signers=["one", "two"])
    with pytest.raises(Disagreement):
        agreed_by_signers({"one": held("one", lie)}, GROUP)


def test_a_key_needs_the_statement_of_every_signer():
    by_node = all_of()
    del by_node["three"]
    with pytest.raises(Disagreement, match="from three"):
        agreed_by_signers(by_node, GROUP)


DISAGREEING = {
    "public_key": made_up_key(EDDSA_ED25519, 2),
    "network": None,
    "threshold": 3,
    "group": "another",
}


@pytest.mark.parametrize("fact", DISAGREEING)
def test_one_signer_that_attests_another_fact_stops_the_adoption(fact: str):
    other = held("three", attestation("three", **{fact: DISAGREEING[fact]}))
    with pytest.raises(Disagreement, match=r"different facts|another signer group"):
        agreed_by_signers(all_of(three=other), GROUP)


@pytest.mark.parametrize(
    "change",
    [{"share_set_id": uuid4()}, {"generation": 1}],
)
def test_a_key_is_adopted_only_with_one_set_in_use(change: dict[str, Any]):
    with pytest.raises(Disagreement):
        agreed_by_signers(all_of(three=held("three", **change)), GROUP)


def test_the_request_is_known_if_t_signers_state_it():
    unknown = attestation("three", made_for=None)
    assert agreed_by_signers(all_of(three=held("three", unknown)), GROUP).made_for == MADE_FOR
    both = {name: held(name, attestation(name, made_for=None)) for name in ("two", "three")}
    assert agreed_by_signers(all_of(**both), GROUP).made_for is None  # one signer alone may lie
    other = MadeFor(endpoint=Endpoint.WALLETS, external_id="user-18", application=None)
    with pytest.raises(Disagreement, match="different requests"):
        agreed_by_signers(all_of(three=held("three", attestation("three", made_for=other))), GROUP)


def test_one_driver_is_enough_and_two_must_agree():
    assert agreed_by_drivers({"one": hsm("one")}).nodes == ("one",)
    assert agreed_by_drivers({"one": hsm("one"), "two": hsm("two")}).made_for == MADE_FOR
    with pytest.raises(Disagreement, match="different facts"):
        agreed_by_drivers({"one": hsm("one"), "two": hsm("two", network=None)})


def test_a_driver_that_knows_the_request_speaks_for_one_that_does_not():
    agreed = agreed_by_drivers({"one": hsm("one", made_for=None), "two": hsm("two")})
    assert (agreed.nodes, agreed.made_for) == (("two",), MADE_FOR)


def test_drivers_and_signers_never_hold_the_same_key():
    with pytest.raises(Disagreement):
        agreed_by_drivers({"one": hsm("one"), "two": held("two")})
