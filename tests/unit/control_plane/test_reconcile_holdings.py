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
    agreed,
    open_held,
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


def test_all_signers_of_a_key_agree():
    key = agreed(all_of())
    assert (key.nodes, key.made_for) == (tuple(NODES), MADE_FOR)


def test_a_key_needs_the_statement_of_every_signer():
    by_node = all_of()
    del by_node["three"]
    with pytest.raises(Disagreement, match="three did not say"):
        agreed(by_node)


DISAGREEING = {
    "public_key": made_up_key(EDDSA_ED25519, 2),
    "network": None,
    "threshold": 3,
    "group": "another",
}


@pytest.mark.parametrize("fact", DISAGREEING)
def test_one_signer_that_attests_another_fact_stops_the_adoption(fact: str):
    other = held("three", attestation("three", **{fact: DISAGREEING[fact]}))
    with pytest.raises(Disagreement, match="different facts"):
        agreed(all_of(three=other))


@pytest.mark.parametrize(
    "change",
    [{"share_set_id": uuid4()}, {"generation": 1}, {"holding": Holding.REPAIRED}],
)
def test_a_key_is_adopted_only_with_one_set_in_use(change: dict[str, Any]):
    with pytest.raises(Disagreement):
        agreed(all_of(three=held("three", **change)))


def test_the_request_is_known_if_t_signers_state_it():
    unknown = attestation("three", made_for=None)
    assert agreed(all_of(three=held("three", unknown))).made_for == MADE_FOR
    both = {name: held(name, attestation(name, made_for=None)) for name in ("two", "three")}
    assert agreed(all_of(**both)).made_for is None  # one signer alone may lie
    other = MadeFor(endpoint=Endpoint.WALLETS, external_id="user-18", application=None)
    with pytest.raises(Disagreement, match="different requests"):
        agreed(all_of(three=held("three", attestation("three", made_for=other))))


def test_one_driver_is_enough_and_two_must_agree():
    assert agreed({"one": hsm("one")}).nodes == ("one",)
    assert agreed({"one": hsm("one"), "two": hsm("two")}).made_for == MADE_FOR
    with pytest.raises(Disagreement, match="different facts"):
        agreed({"one": hsm("one"), "two": hsm("two", network=None)})
