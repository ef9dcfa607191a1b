"""Which attestations a reader with pinned nodes takes for a key, and which it does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from coincurve import PrivateKey, PublicKeyXOnly
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from custody.wire.addresses import address_of
from custody.wire.algorithms import (
    ALGORITHMS,
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    MAIN_NETWORKS,
    NETWORK_ALGORITHMS,
    SCHNORR_SECP256K1,
    Curve,
    Network,
    Protection,
    Scheme,
    Store,
    may_have_wallet,
)
from custody.wire.attestations import (
    ClaimedKey,
    PinnedGroup,
    PinnedNodes,
    Unattested,
    check_attestations,
)
from custody.wire.derivation import child_chain_code, child_public_key
from custody.wire.jobs import Endpoint, child_key_id
from custody.wire.signed_bytes import ATTESTATION_TYPE, CONFIRMATION_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Attestation, MadeFor

KEY_ID = UUID("5b0f4e0e-6a53-4f0a-8a6c-0d6c7e2f9b11")
OTHER_ID = UUID("c1d9a1a4-58b4-4b5e-9d1b-7f3f4a2e6c22")
PUBLIC_KEY = PrivateKey.from_int(7).public_key.format()
OTHER_KEY = PrivateKey.from_int(8).public_key.format()
CHAIN_CODE = bytes(range(32))
SIGNERS = ["berne-1", "berne-2", "basel-1", "basel-2", "basel-3"]


def identity(name: str) -> SigningKey:
    return SigningKey(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"\0")))


DRIVERS = ("zurich-1", "zurich-2")
APPLICATION = identity("shop").public_key
EXTERNAL_ID = "order-7"
MADE_FOR = MadeFor(endpoint=Endpoint.WALLETS, external_id=EXTERNAL_ID, application=APPLICATION)
BARE = MadeFor(endpoint=Endpoint.KEYS, external_id=EXTERNAL_ID, application=APPLICATION)


def pins(
    group: PinnedGroup | None = None,
    drivers: tuple[str, ...] = DRIVERS,
    application: bytes | None = APPLICATION,
) -> PinnedNodes:
    return PinnedNodes(
        drivers={name: identity(name).public_key for name in DRIVERS},
        signers={name: identity(name).public_key for name in SIGNERS},
        driver_groups={"hsm": drivers},
        signer_groups={"treasury": group or PinnedGroup(3, SIGNERS)},
        application=application,
    )


PINNED = pins()
ADDRESS = address_of(Network.ETHEREUM, ECDSA_SECP256K1, PUBLIC_KEY)

HSM = Attestation(
    key_id=KEY_ID,
    made_for=MADE_FOR,
    network=Network.ETHEREUM,
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
    made_for=MADE_FOR,
    network=Network.ETHEREUM,
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
    external_id=EXTERNAL_ID,
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
        check_attestations(attestations, key, pinned)
    return str(caught.value)


def test_a_key_in_an_hsm_is_attested_by_the_driver_that_made_it():
    check_attestations([signed(HSM)], HSM_WALLET, PINNED)
    on_host = HSM.model_copy(update={"protection": Protection.HOST})
    check_attestations([signed(on_host)], replace(HSM_WALLET, protection=Protection.HOST), PINNED)


def test_an_mpc_key_is_attested_by_each_of_its_signers_in_any_order():
    check_attestations(by_all(), MPC_WALLET, PINNED)
    check_attestations(by_all()[::-1], MPC_WALLET, PINNED)


def test_a_child_is_attested_by_its_roots_signers():
    check_attestations(by_all(), CHILD, PINNED)


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
            "network": network,
            "made_for": MADE_FOR if network else BARE,
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
    check_attestations(by_all(attestation), key, PINNED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"public_key": OTHER_KEY}, "another public key"),
        ({"address": address_of(Network.ETHEREUM, ECDSA_SECP256K1, OTHER_KEY)}, "address differs"),
        ({"address": ADDRESS.lower()}, "address differs"),
        ({"network": Network.BITCOIN}, "network is Ethereum"),
        ({"network": None}, "network is Ethereum"),
        ({"external_id": "order-8"}, "made for external_id order-7, not order-8"),
        ({"external_id": None}, "made for external_id order-7, not None"),
        ({"id": OTHER_ID}, "another key is attested"),
        ({"algorithm": ECDSA_SECP256R1}, "not ECDSA/secp256r1"),
        ({"root": OTHER_ID}, "another key is attested"),
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


def added(key: ClaimedKey, network: Network, address: str | None = None) -> ClaimedKey:
    """The key with the address of a wallet that was added on another network."""
    if address is None:
        address = address_of(network, key.algorithm, key.public_key)
    return replace(key, address=address, address_network=network)


BARE_ATTESTATION = HSM.model_copy(update={"network": None, "made_for": BARE})
BARE_KEY = replace(HSM_WALLET, network=None, address=None)


def test_a_wallet_on_another_network_of_the_family_is_attested_by_its_key():
    check_attestations([signed(HSM)], added(HSM_WALLET, Network.ETHEREUM_SEPOLIA), PINNED)
    check_attestations(by_all(), added(MPC_WALLET, Network.ETHEREUM_SEPOLIA), PINNED)
    check_attestations(by_all(), added(CHILD, Network.ETHEREUM_SEPOLIA), PINNED)
    unnamed = replace(added(HSM_WALLET, Network.ETHEREUM_SEPOLIA), external_id=None)
    check_attestations([signed(HSM)], unnamed, PINNED)


@pytest.mark.parametrize("network", list(Network))
def test_a_bare_key_has_wallets_on_the_networks_of_its_algorithm(network: Network):
    if ECDSA_SECP256K1 in NETWORK_ALGORITHMS[network]:
        check_attestations([signed(BARE_ATTESTATION)], added(BARE_KEY, network), PINNED)
    else:
        told = added(BARE_KEY, network, "an address")
        assert "cannot have a wallet" in refused([signed(BARE_ATTESTATION)], told)


@pytest.mark.parametrize(
    "network", [network for network in Network if network.family is not Network.ETHEREUM]
)
def test_a_wallets_key_has_no_wallet_of_another_family(network: Network):
    for key, attestations in ((HSM_WALLET, [signed(HSM)]), (MPC_WALLET, by_all())):
        told = added(key, network, "an address")
        assert "cannot have a wallet" in refused(attestations, told)


def test_a_key_for_a_test_network_has_no_wallet_where_money_is():
    """Gates may allow more of such a key, and adding a wallet asks no gate."""
    key = replace(HSM_WALLET, network=Network.ETHEREUM_SEPOLIA)
    attested = [signed(HSM.model_copy(update={"network": Network.ETHEREUM_SEPOLIA}))]
    check_attestations(attested, key, PINNED)
    said = refused(attested, added(key, Network.ETHEREUM))
    assert "a key for EthereumSepolia cannot have a wallet on Ethereum" in said


def test_a_key_keeps_its_own_network_whatever_its_wallets_are():
    sepolia = added(HSM_WALLET, Network.ETHEREUM_SEPOLIA)
    for network in (None, Network.ETHEREUM_SEPOLIA):
        told = replace(sepolia, network=network)
        assert "network is Ethereum" in refused([signed(HSM)], told)
    told = replace(added(BARE_KEY, Network.ETHEREUM), network=Network.ETHEREUM)
    assert "network is None" in refused([signed(BARE_ATTESTATION)], told)
    other = added(
        HSM_WALLET,
        Network.ETHEREUM_SEPOLIA,
        address_of(Network.ETHEREUM, ECDSA_SECP256K1, OTHER_KEY),
    )
    assert "address differs" in refused([signed(HSM)], other)


@given(
    st.sampled_from([None, *Network]), st.sampled_from(ALGORITHMS), st.sampled_from(list(Network))
)
def test_which_wallets_a_key_may_have(own, algorithm, network):
    """A key for a network has wallets of the family only; its own network always is one.

    The main network of the family is one only of a key that was made for it.
    """
    allowed = may_have_wallet(own, algorithm, network)
    fits = algorithm in NETWORK_ALGORITHMS[network]
    is_of_money = network in MAIN_NETWORKS
    is_kin = own is not None and own.family is network.family
    assert allowed == (fits and (own in (None, network) or (is_kin and not is_of_money)))
    if own is network:
        assert allowed == fits


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
        ({"root": OTHER_ID}, "another key is attested"),
        ({"public_key": PUBLIC_KEY}, "another public key"),
    ],
    ids=str,
)
def test_what_is_claimed_of_a_child_is_computed_again(change, reason):
    assert reason in refused(by_all(), replace(CHILD, **change))


def test_a_child_is_not_shown_under_the_id_of_another():
    """A signer that signs for an id means one key: nobody else keeps which."""
    for network, path in ((None, PATH), (Network.BITCOIN, PATH), (Network.ETHEREUM, (0, 6))):
        other = replace(CHILD, id=child_key_id(KEY_ID, path, network))
        assert "id does not follow" in refused(by_all(), other)
    assert "id does not follow" in refused(by_all(), replace(CHILD, id=OTHER_ID))
    posing = MPC.model_copy(update={"key_id": CHILD.id})
    assert "has a derived key's id" in refused(by_all(posing), replace(MPC_WALLET, id=CHILD.id))


def test_a_key_attested_without_chain_code_has_no_children():
    assert "no children" in refused(by_all(MPC.model_copy(update={"chain_code": None})), CHILD)


def test_a_childs_own_attestation_is_none_of_its_root():
    of_child = MPC.model_copy(update={"key_id": OTHER_ID, "public_key": CHILD_KEY})
    assert "another key is attested" in refused(by_all(of_child), CHILD)


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
    "of the first version, without the request": lambda: [
        identity("zurich-1").sign(
            ATTESTATION_TYPE,
            HSM.model_copy(update={"version": 1})
            .model_dump_json(exclude={"made_for", "network"})
            .encode(),
        )
    ],
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
        {"network": None},
        {"made_for": None},
        {"made_for": MADE_FOR.model_copy(update={"external_id": "order-8"})},
        {"made_for": MADE_FOR.model_copy(update={"application": None})},
    ],
    ids=str,
)
def test_signers_must_attest_the_same(change):
    said = "attest different requests" if "made_for" in change else "attestations differ"
    assert said in refused(one_otherwise(**change), MPC_WALLET)


def test_no_signer_may_be_missing_strange_or_there_twice():
    everybody = by_all()
    assert "each named signer" in refused(everybody[:-1], MPC_WALLET)
    assert "each named signer" in refused([*everybody[:-1], everybody[0]], MPC_WALLET)
    assert "each named signer" in refused([*everybody, everybody[0]], MPC_WALLET)
    with_stranger = MPC.model_copy(update={"signers": [*SIGNERS[:-1], "mallory"]})
    assert "not pinned" in refused(by_all(with_stranger), MPC_WALLET)
    assert "each named signer" in refused(by_all(with_stranger, SIGNERS), MPC_WALLET)
    doubled = MPC.model_copy(update={"signers": [*SIGNERS, SIGNERS[0]]})
    assert "twice" in refused(by_all(doubled), replace(MPC_WALLET, signers=None))


def test_drivers_do_not_stand_in_for_signers():
    pair = MPC.model_copy(update={"signers": ["zurich-1", "zurich-2"], "threshold": 2})
    assert "not pinned" in refused(by_all(pair), replace(MPC_WALLET, signers=None, threshold=None))


@pytest.mark.parametrize("threshold", [1, 2, 4, 5, 6])
def test_another_threshold_than_the_groups_is_refused(threshold):
    attestation = MPC.model_copy(update={"threshold": threshold})
    key = replace(MPC_WALLET, threshold=None)
    assert f"threshold {threshold} is attested, but 3 is pinned" in refused(
        by_all(attestation), key
    )


def test_two_liars_do_not_pass_off_a_key_of_their_own_as_the_groups():
    """They are fewer than the threshold of 3, and the control plane helps them."""
    liars = SIGNERS[:2]
    key = replace(MPC_WALLET, threshold=2, signers=tuple(liars))
    theirs = MPC.model_copy(update={"threshold": 2, "signers": liars})
    assert "threshold 2 is attested, but 3 is pinned" in refused(by_all(theirs), key)
    of_two = pins(PinnedGroup(2, SIGNERS))
    assert "pinned for 'treasury'" in refused(by_all(theirs), key, of_two)
    renamed = theirs.model_copy(update={"group": "petty cash"})
    key = replace(key, group="petty cash")
    assert "the signer group 'petty cash' is not pinned" in refused(by_all(renamed), key, of_two)


def test_the_members_of_a_group_are_exactly_those_pinned():
    for signers in (SIGNERS[:4], SIGNERS[1:]):
        attestation = MPC.model_copy(update={"signers": signers})
        key = replace(MPC_WALLET, signers=None)
        assert "pinned for 'treasury'" in refused(by_all(attestation), key)
    check_attestations(by_all(), MPC_WALLET, pins(PinnedGroup(3, SIGNERS[::-1])))


def test_a_driver_attests_keys_of_a_group_that_it_is_pinned_in():
    assert "'cold'" in refused([signed(HSM.model_copy(update={"group": "cold"}))], HSM_WALLET)
    assert "zurich-1 is not pinned as a driver of" in refused(
        [signed(HSM)], HSM_WALLET, pins(drivers=("zurich-2",))
    )


OF_ANOTHER = MADE_FOR.model_copy(update={"application": identity("other shop").public_key})


@pytest.mark.parametrize(
    ("made_for", "reason"),
    [
        (OF_ANOTHER, "made for the application with key"),
        (MADE_FOR.model_copy(update={"application": None}), "no application's signature"),
        (None, "do not attest for which request"),
    ],
)
@pytest.mark.parametrize("key", [HSM_WALLET, MPC_WALLET, CHILD])
def test_another_applications_key_is_refused(key, made_for, reason):
    """Its external id may be the same: each application has its own."""
    update = {"made_for": made_for}
    signed_ones = [signed(HSM.model_copy(update=update))]
    if key is not HSM_WALLET:
        signed_ones = by_all(MPC.model_copy(update=update))
    assert reason in refused(signed_ones, key)


def test_an_application_that_signs_nothing_has_keys_of_requests_that_nobody_signed():
    unsigned = MADE_FOR.model_copy(update={"application": None})
    plain = pins(application=None)
    check_attestations([signed(HSM.model_copy(update={"made_for": unsigned}))], HSM_WALLET, plain)
    assert "this application signs nothing" in refused([signed(HSM)], HSM_WALLET, plain)
    other = unsigned.model_copy(update={"external_id": "order-8"})
    attested = [signed(HSM.model_copy(update={"made_for": other}))]
    assert "made for external_id order-8" in refused(attested, HSM_WALLET, plain)


def test_a_bare_key_is_none_of_a_request_for_a_wallet():
    """The same external id may name one of each."""
    bare = replace(HSM_WALLET, network=None, address=None)
    attestation = HSM.model_copy(update={"network": None, "made_for": BARE})
    check_attestations([signed(attestation)], bare, PINNED)
    assert "external_id" in refused([signed(attestation)], replace(bare, external_id="order-8"))
    posing = attestation.model_copy(update={"made_for": MADE_FOR})
    assert "a request to wallets" in refused([signed(posing)], bare)


def test_a_wallets_key_read_without_the_wallet_needs_no_external_id():
    check_attestations([signed(HSM)], replace(HSM_WALLET, address=None, external_id=None), PINNED)


def test_the_external_id_of_a_child_is_not_its_roots():
    check_attestations(by_all(), replace(CHILD, external_id="child-1"), PINNED)


def test_an_attestation_for_one_store_is_none_for_the_other():
    refused([signed(HSM)], MPC_WALLET)
    refused(by_all(), HSM_WALLET)
    assert "not pinned" in refused(by_all()[:1], HSM_WALLET)
    of_mpc = HSM.model_copy(update={"store": Store.MPC})
    assert "attested for store" in refused([signed(of_mpc)], HSM_WALLET)


def test_pins_are_identity_keys_each_of_one_node():
    key = identity("zurich-1").public_key
    with pytest.raises(ValueError, match="32 bytes"):
        PinnedNodes({"zurich-1": key[:-1]}, {}, {}, {})
    with pytest.raises(ValueError, match="32 bytes"):
        PinnedNodes({"zurich-1": key}, {}, {}, {}, application=key[:-1])
    with pytest.raises(ValueError, match="the same identity key"):
        PinnedNodes({"zurich-1": key}, {"berne-1": key}, {}, {})
    with pytest.raises(ValueError, match="the same identity key"):
        PinnedNodes({}, {"berne-1": key, "berne-2": key}, {}, {})


@pytest.mark.parametrize(
    ("threshold", "signers"), [(1, SIGNERS), (6, SIGNERS), (2, []), (2, ["berne-1", "berne-1"])]
)
def test_a_pinned_group_is_one_that_can_be(threshold, signers):
    with pytest.raises(ValueError, match=r"threshold|twice"):
        PinnedGroup(threshold, signers)


def test_the_members_of_pinned_groups_have_pinned_identity_keys():
    key = identity("zurich-1").public_key
    with pytest.raises(ValueError, match="hsm: zurich-2 has no identity key"):
        PinnedNodes({"zurich-1": key}, {}, {"hsm": ["zurich-1", "zurich-2"]}, {})
    group = PinnedGroup(2, ["berne-2", "zurich-1", "basel-1"])
    with pytest.raises(ValueError, match="treasury: basel-1, berne-2 has no identity key"):
        PinnedNodes({}, {"zurich-1": key}, {}, {"treasury": group})


def test_pins_are_of_one_application():
    assert pins().of_application(APPLICATION).application == APPLICATION
    assert pins(application=None).of_application(APPLICATION).application == APPLICATION
    with pytest.raises(ValueError, match="differs from the key that signs"):
        pins().of_application(identity("other shop").public_key)
