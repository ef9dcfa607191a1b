"""Which attestations a reader with pinned nodes takes for a key, and which it does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wire.addresses import address_of
from wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    Curve,
    Network,
    Protection,
    Scheme,
    Store,
)
from wire.attestations import ClaimedKey, PinnedNodes, Unattested, check
from wire.derivation import child_chain_code, child_public_key
from wire.envelope import ATTESTATION_TYPE, CONFIRMATION_TYPE, SignedBytes, Signer
from wire.jobs import child_key_id
from wire.statements import Attestation

KEY_ID = UUID("5b0f4e0e-6a53-4f0a-8a6c-0d6c7e2f9b11")
OTHER_ID = UUID("c1d9a1a4-58b4-4b5e-9d1b-7f3f4a2e6c22")
PUBLIC_KEY = PrivateKey.from_int(7).public_key.format()
OTHER_KEY = PrivateKey.from_int(8).public_key.format()
CHAIN_CODE = bytes(range(32))
SIGNERS = ["berne-1", "berne-2", "basel-1", "basel-2", "basel-3"]


def identity(name: str) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"\0")))


PINNED = PinnedNodes(
    drivers={name: identity(name).public_key for name in ("zurich-1", "zurich-2")},
    signers={name: identity(name).public_key for name in SIGNERS},
)
ADDRESS = address_of(Network.ETHEREUM, ECDSA_SECP256K1, PUBLIC_KEY)

HSM = Attestation(
    key_id=KEY_ID,
    store=Store.HSM,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    public_key=PUBLIC_KEY,
    protection=Protection.HSM,
    group="hsm",
    threshold=1,
    signers=["zurich-1"],
    node="zurich-1",
)
MPC = Attestation(
    key_id=KEY_ID,
    store=Store.MPC,
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    public_key=PUBLIC_KEY,
    chain_code=CHAIN_CODE,
    protection=Protection.MPC,
    group="treasury",
    threshold=3,
    signers=SIGNERS,
    node=SIGNERS[0],
)
HSM_WALLET = ClaimedKey(
    id=KEY_ID,
    root=None,
    path=(),
    store=Store.HSM,
    algorithm=ECDSA_SECP256K1,
    public_key=PUBLIC_KEY,
    network=Network.ETHEREUM,
    address=ADDRESS,
    protection=Protection.HSM,
)
MPC_WALLET = replace(
    HSM_WALLET,
    store=Store.MPC,
    protection=Protection.MPC,
    chain_code=CHAIN_CODE,
    group="treasury",
    threshold=3,
    signers=tuple(SIGNERS),
)
PATH = (0, 5)
CHILD_KEY = child_public_key(PUBLIC_KEY, CHAIN_CODE, PATH)
CHILD = replace(
    MPC_WALLET,
    id=child_key_id(KEY_ID, PATH, Network.ETHEREUM),
    root=KEY_ID,
    path=PATH,
    public_key=CHILD_KEY,
    address=address_of(Network.ETHEREUM, ECDSA_SECP256K1, CHILD_KEY),
    chain_code=child_chain_code(PUBLIC_KEY, CHAIN_CODE, PATH),
)


def signed(
    attestation: Attestation, by: str | None = None, type_: str = ATTESTATION_TYPE
) -> SignedBytes:
    return identity(by or attestation.node).sign(type_, attestation.model_dump_json().encode())


def by_all(attestation: Attestation = MPC, signers: list[str] | None = None) -> list[SignedBytes]:
    """One of each signer, alike in all but who it is by."""
    return [
        signed(attestation.model_copy(update={"node": node}))
        for node in (attestation.signers if signers is None else signers)
    ]


def refused(attestations: list[SignedBytes], key: ClaimedKey, pinned: PinnedNodes = PINNED) -> str:
    with pytest.raises(Unattested) as caught:
        check(attestations, key, pinned)
    return str(caught.value)


def test_a_key_in_an_hsm_is_attested_by_the_driver_that_made_it():
    check([signed(HSM)], HSM_WALLET, PINNED)
    on_host = HSM.model_copy(update={"protection": Protection.HOST})
    check([signed(on_host)], replace(HSM_WALLET, protection=Protection.HOST), PINNED)


def test_an_mpc_key_is_attested_by_each_of_its_signers_in_any_order():
    check(by_all(), MPC_WALLET, PINNED)
    check(by_all()[::-1], MPC_WALLET, PINNED)


def test_a_child_is_attested_by_its_roots_signers():
    check(by_all(), CHILD, PINNED)


@pytest.mark.parametrize(
    ("algorithm", "network", "public_key"),
    [
        (
            SCHNORR_SECP256K1,
            Network.BITCOIN,
            PublicKeyXOnly.from_secret(bytes(31) + b"\7").format(),
        ),
        (EDDSA_ED25519, Network.SOLANA, identity("solana").public_key),
        (ECDSA_SECP256K1, Network.BITCOIN, PUBLIC_KEY),
        (EDDSA_ED25519, None, identity("bare").public_key),
    ],
)
def test_any_algorithm_of_mpc_can_be_attested(algorithm, network, public_key):
    attestation = MPC.model_copy(
        update={
            "scheme": algorithm.scheme,
            "curve": algorithm.curve,
            "public_key": public_key,
            "chain_code": None,
        }
    )
    key = replace(
        MPC_WALLET,
        algorithm=algorithm,
        public_key=public_key,
        network=network,
        address=network and address_of(network, algorithm, public_key),
        chain_code=None,
    )
    check(by_all(attestation), key, PINNED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"public_key": OTHER_KEY}, "another public key"),
        ({"address": address_of(Network.ETHEREUM, ECDSA_SECP256K1, OTHER_KEY)}, "the address is"),
        ({"address": ADDRESS.lower()}, "the address is"),
        ({"network": Network.BITCOIN}, "the address is"),
        ({"network": Network.SOLANA}, "has no public key"),
        ({"network": None}, "of no network"),
        ({"id": OTHER_ID}, "another key that is attested"),
        ({"algorithm": ECDSA_SECP256R1}, "not ECDSA/secp256r1"),
        ({"root": OTHER_ID}, "another key that is attested"),
        ({"path": (0,)}, "a root and a path"),
        ({"protection": Protection.HOST}, "protection"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("key", "attestations"), [(HSM_WALLET, [signed(HSM)]), (MPC_WALLET, by_all())]
)
def test_what_is_claimed_otherwise_than_attested_is_refused(key, attestations, change, reason):
    assert reason in refused(attestations, replace(key, **change))


def test_a_swapped_key_with_its_own_address_is_refused():
    swapped: dict[str, Any] = {
        "public_key": OTHER_KEY,
        "address": address_of(Network.ETHEREUM, ECDSA_SECP256K1, OTHER_KEY),
    }
    for key, attestations in (
        (HSM_WALLET, [signed(HSM)]),
        (MPC_WALLET, by_all()),
        (CHILD, by_all()),
    ):
        assert "another public key" in refused(attestations, replace(key, **swapped))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"chain_code": bytes(32)}, "another chain code"),
        ({"group": "petty cash"}, "group"),
        ({"threshold": 5}, "threshold"),
        ({"signers": tuple(SIGNERS[:3])}, "signers"),
        ({"path": (0, 6)}, "another public key"),
        ({"path": (0,)}, "another public key"),
        ({"path": (0, 2**31)}, "no child m/0/2147483648"),
        ({"path": ()}, "a root and a path"),
        ({"root": OTHER_ID}, "another key that is attested"),
        ({"public_key": PUBLIC_KEY}, "another public key"),
    ],
    ids=str,
)
def test_what_is_claimed_of_a_child_is_computed_again(change, reason):
    assert reason in refused(by_all(), replace(CHILD, **change))


def test_a_child_is_not_shown_under_the_id_of_another():
    """Whoever signs for an id means one key: nobody else keeps which."""
    for network, path in ((None, PATH), (Network.BITCOIN, PATH), (Network.ETHEREUM, (0, 6))):
        other = replace(CHILD, id=child_key_id(KEY_ID, path, network))
        assert "another id" in refused(by_all(), other)
    assert "another id" in refused(by_all(), replace(CHILD, id=OTHER_ID))
    posing = MPC.model_copy(update={"key_id": CHILD.id})
    assert "has the id of one that is" in refused(by_all(posing), replace(MPC_WALLET, id=CHILD.id))


def test_a_key_attested_without_chain_code_has_no_children():
    assert "no children" in refused(by_all(MPC.model_copy(update={"chain_code": None})), CHILD)


def test_a_childs_own_attestation_is_none_of_its_root():
    of_child = MPC.model_copy(update={"key_id": OTHER_ID, "public_key": CHILD_KEY})
    assert "another key that is attested" in refused(by_all(of_child), CHILD)


@pytest.mark.parametrize("key", [HSM_WALLET, MPC_WALLET, CHILD])
def test_nothing_is_believed_without_attestations_or_with_too_many(key):
    assert "0 attestations" in refused([], key)
    assert "17 attestations" in refused([signed(HSM)] * 17, key)


BY_STRANGERS: dict[str, Callable[[], list[SignedBytes]]] = {
    "nobody pinned": lambda: [signed(HSM, by="mallory")],
    "another in its name": lambda: [signed(HSM, by="zurich-2")],
    "as another statement": lambda: [signed(HSM, type_=CONFIRMATION_TYPE)],
    "changed after it was signed": lambda: [
        signed(HSM).model_copy(
            update={"payload": HSM.model_copy(update={"group": "x"}).model_dump_json().encode()}
        )
    ],
    "of a form unknown": lambda: [identity("zurich-1").sign(ATTESTATION_TYPE, b'{"version":2}')],
    "a signer that is pinned, as if it were a driver": lambda: [
        signed(HSM.model_copy(update={"node": "berne-1", "signers": ["berne-1"]}))
    ],
    "twice": lambda: [signed(HSM), signed(HSM)],
}


@pytest.mark.parametrize("attestations", BY_STRANGERS.values(), ids=BY_STRANGERS)
def test_only_the_driver_that_is_pinned_speaks_for_its_key(attestations):
    refused(attestations(), HSM_WALLET)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"store": Store.MPC}, "for store mpc"),
        ({"protection": Protection.MPC}, "protection mpc"),
        ({"threshold": 2}, "alone"),
        ({"signers": ["zurich-1", "zurich-2"]}, "alone"),
        ({"signers": []}, "alone"),
    ],
    ids=str,
)
def test_a_driver_attests_what_drivers_hold(change, reason):
    assert reason in refused([signed(HSM.model_copy(update=change))], HSM_WALLET)


def one_otherwise(**change: Any) -> list[SignedBytes]:
    return [*by_all()[:-1], signed(MPC.model_copy(update={"node": SIGNERS[-1], **change}))]


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": OTHER_KEY},
        {"chain_code": bytes(32)},
        {"threshold": 2},
        {"signers": SIGNERS[:-1]},
        {"group": "other"},
        {"key_id": OTHER_ID},
        {"protection": Protection.HSM},
    ],
    ids=str,
)
def test_signers_must_attest_the_same(change):
    assert "do not attest the same" in refused(one_otherwise(**change), MPC_WALLET)


def test_no_signer_may_be_missing_strange_or_there_twice():
    everybody = by_all()
    assert "each of the signers" in refused(everybody[:-1], MPC_WALLET)
    assert "each of the signers" in refused([*everybody[:-1], everybody[0]], MPC_WALLET)
    assert "each of the signers" in refused([*everybody, everybody[0]], MPC_WALLET)
    with_stranger = MPC.model_copy(update={"signers": [*SIGNERS[:-1], "mallory"]})
    assert "not pinned" in refused(by_all(with_stranger), MPC_WALLET)
    assert "each of the signers" in refused(by_all(with_stranger, SIGNERS), MPC_WALLET)
    doubled = MPC.model_copy(update={"signers": [*SIGNERS, SIGNERS[0]]})
    assert "twice" in refused(by_all(doubled), replace(MPC_WALLET, signers=None))


def test_drivers_do_not_stand_in_for_signers():
    pair = MPC.model_copy(update={"signers": ["zurich-1", "zurich-2"], "threshold": 2})
    assert "not pinned" in refused(by_all(pair), replace(MPC_WALLET, signers=None, threshold=None))


@pytest.mark.parametrize("threshold", [1, 2, 6])
def test_a_threshold_below_the_owners_or_above_the_group_is_refused(threshold):
    pinned = PinnedNodes(
        drivers={}, signers={name: identity(name).public_key for name in SIGNERS}, min_threshold=3
    )
    check(by_all(), MPC_WALLET, pinned)
    attestation = MPC.model_copy(update={"threshold": threshold})
    key = replace(MPC_WALLET, threshold=None)
    assert "not less than 3" in refused(by_all(attestation), key, pinned)


def test_an_attestation_for_one_store_is_none_for_the_other():
    refused([signed(HSM)], MPC_WALLET)
    refused(by_all(), HSM_WALLET)
    assert "not pinned" in refused(by_all()[:1], HSM_WALLET)


def test_pins_are_identity_keys_each_of_one_node():
    key = identity("zurich-1").public_key
    with pytest.raises(ValueError, match="32 bytes"):
        PinnedNodes(drivers={"zurich-1": key[:-1]}, signers={})
    with pytest.raises(ValueError, match="the same identity key"):
        PinnedNodes(drivers={"zurich-1": key}, signers={"berne-1": key})
    with pytest.raises(ValueError, match="the same identity key"):
        PinnedNodes(drivers={}, signers={"berne-1": key, "berne-2": key})
    with pytest.raises(ValueError, match="below 2"):
        PinnedNodes(drivers={}, signers={"berne-1": key}, min_threshold=1)
