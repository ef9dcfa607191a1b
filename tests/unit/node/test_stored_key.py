"""A job and its ticket are about the key that is stored, in each fact."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from custody.node.errors import Failed, NotDone, Refused
from custody.node.stored_key import StoredKey, require_same_key
from custody.wire.algorithms import (
    ADDRESS_TYPE_ALGORITHM,
    ALGORITHMS,
    NETWORK_ALGORITHMS,
    SCHNORR_SECP256K1,
    Network,
)
from custody.wire.derivation import child_public_key
from custody.wire.jobs import JobKind, KeyHolders, child_key_id
from custody.wire.tickets import ALGORITHM, PROTOCOL, Ticket
from tests.unit.node.requests import KEY, complete, job_around

POINT = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
CHAIN_CODE = bytes(range(32))
PATH = (0, 5)
STORED = StoredKey(KEY.id, KEY.algorithm, KEY.network, POINT)
ROOT = replace(STORED, chain_code=CHAIN_CODE)


def ended(stored: StoredKey, kind: JobKind = JobKind.SIGN, **changes: Any) -> str | None:
    """The code; None where the job is about the stored key."""
    key = KEY.model_copy(update={"public_key": POINT, **changes})
    job = job_around(complete()).model_copy(update={"kind": kind.value, "key": key})
    try:
        require_same_key(stored, job)
    except NotDone as error:
        return error.code
    return None


def child(network: Network | None) -> dict[str, Any]:
    return {
        "id": child_key_id(KEY.id, PATH, network),
        "root": KEY.id,
        "path": PATH,
        "network": network,
        "public_key": child_public_key(POINT, CHAIN_CODE, PATH),
    }


def test_the_stored_key_is_the_jobs():
    assert ended(STORED) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"id": uuid4()},
        {"network": None},
        {"network": Network.BITCOIN},
        {"scheme": SCHNORR_SECP256K1.scheme},
        {"scheme": SCHNORR_SECP256K1.scheme, "network": Network.BITCOIN},
        {"public_key": b"\x03" + POINT[1:]},
        {"public_key": None},
    ],
    ids=",".join,
)
def test_every_fact_that_is_told_otherwise_is_a_mismatch(changes):
    assert ended(STORED, **changes) == "key_mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"group": "another"},
        {"threshold": 3},
        {"signers": ["signer-2", "signer-1", "signer-3"]},
        {"key_id": uuid4()},
    ],
    ids=",".join,
)
def test_every_fact_that_a_ticket_tells_otherwise_is_a_bad_ticket(changes):
    signers = ("signer-1", "signer-2", "signer-3")
    stored = replace(STORED, holders=KeyHolders(group="treasury", threshold=2, signers=signers))
    told = {"key_id": KEY.id, "group": "treasury", "threshold": 2, "signers": list(signers)}
    ticket = Ticket.model_construct(**(told | changes))
    job = job_around(complete()).model_copy(
        update={"key": KEY.model_copy(update={"public_key": POINT})}
    )
    if not changes:
        require_same_key(stored, job, ticket)
        return
    with pytest.raises(Refused) as caught:
        require_same_key(stored, job, ticket)
    assert caught.value.code == "bad_ticket"


def test_only_orders_that_erase_need_no_public_key():
    for kind in JobKind:
        may = kind in (JobKind.ABANDON, JobKind.DISCARD)
        assert (ended(STORED, kind, public_key=None) is None) is may, kind


def test_a_child_is_what_follows_from_its_root_and_path():
    assert ended(ROOT, **child(Network.ETHEREUM)) is None
    for changes in ({"path": (0, 6)}, {"root": uuid4()}, {"public_key": POINT}):
        assert ended(ROOT, **(child(Network.ETHEREUM) | changes)) == "key_mismatch"


def test_a_key_without_a_chain_code_has_no_children():
    """Nor has any key of HSM mode."""
    assert ended(STORED, **child(Network.ETHEREUM)) == "key_mismatch"


def test_the_children_of_a_wallets_key_are_of_its_network_and_those_of_a_bare_key_of_any():
    bare = replace(ROOT, network=None)
    for network in (None, Network.ETHEREUM, Network.BITCOIN):
        assert ended(bare, **child(network)) is None
        fits = network is ROOT.network
        assert (ended(ROOT, **child(network)) is None) is fits, network


def test_the_text_names_the_fact_and_the_key():
    key = KEY.model_copy(update={"public_key": b"\x03" + POINT[1:]})
    job = job_around(complete()).model_copy(update={"key": key})
    with pytest.raises(Failed, match=f"the job's public key is not that of the key {KEY.id}"):
        require_same_key(STORED, job)


def test_the_facts_that_are_not_stored_follow_from_those_that_are():
    """Else a Bitcoin wallet's key could sign for the other address type unseen."""
    bitcoin = NETWORK_ALGORITHMS[Network.BITCOIN]
    assert sorted(ADDRESS_TYPE_ALGORITHM.values()) == sorted(bitcoin)
    assert len(set(ADDRESS_TYPE_ALGORITHM.values())) == len(ADDRESS_TYPE_ALGORITHM)
    assert {ALGORITHM[protocol] for protocol in PROTOCOL.values()} == set(PROTOCOL)
    assert len(set(PROTOCOL.values())) == len(PROTOCOL) < len(ALGORITHMS)
