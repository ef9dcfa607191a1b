"""A job against the request that it carries: they must ask for the same."""

from uuid import uuid4

import pytest

from custody.node.errors import Denied
from custody.node.wanted import wanted_copy, wanted_key, wanted_signature
from custody.wire.algorithms import Curve, Network, Scheme, Store
from custody.wire.imports import ImportedKey
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders, KeyReference
from custody.wire.requests import CopyKey, CreateKey, CreateWallet, SignHash
from tests.unit.node.requests import KEY, complete, job_around


def make(request: CreateWallet | CreateKey, **changes: object) -> Job:
    """A job that makes a key for an Ethereum wallet, but for the changes of the key."""
    fields = {
        "id": uuid4(),
        "scheme": Scheme.ECDSA,
        "curve": Curve.SECP256K1,
        "network": Network.ETHEREUM,
        "public_key": None,
    }
    key = KeyReference(**(fields | changes))
    endpoint = Endpoint.WALLETS if isinstance(request, CreateWallet) else Endpoint.KEYS
    kind = JobKind.GENERATE_KEY.value
    return job_around(request, id=key.id, kind=kind, endpoint=endpoint, key=key)


WALLET = CreateWallet(network=Network.ETHEREUM, store=Store.HSM)
BARE = CreateKey(scheme=Scheme.ECDSA, curve=Curve.SECP256K1, store=Store.HSM)


def code_of(job: Job) -> str:
    with pytest.raises(Denied) as caught:
        wanted_key(job)
    return caught.value.code


def test_a_key_is_made_as_the_request_asks_for_it():
    assert wanted_key(make(WALLET)).network is Network.ETHEREUM
    assert wanted_key(make(BARE, network=None)).network is None


@pytest.mark.parametrize(
    "job",
    [
        make(WALLET, network=Network.BITCOIN),
        make(WALLET, network=None),
        make(WALLET, network=None, curve=Curve.SECP256R1),
        make(BARE),
        make(BARE, network=None, curve=Curve.SECP256R1),
    ],
)
def test_a_key_of_another_algorithm_or_network_is_not_made(job: Job):
    assert code_of(job) == "request_mismatch"


IMPORTING = CreateKey(
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    store=Store.HSM,
    imported=ImportedKey(import_id=uuid4(), public_key=KEY.public_key, wrapped=b"sealed"),
)


def test_a_key_is_imported_only_by_a_job_that_imports():
    """A control plane that generated a key instead would show another public key as its own."""
    job = make(IMPORTING, network=None)
    assert code_of(job) == "request_mismatch"
    imports = job.model_copy(update={"kind": JobKind.IMPORT_KEY.value})
    assert wanted_key(imports).imported == IMPORTING.imported
    generates = make(BARE, network=None).model_copy(update={"kind": JobKind.IMPORT_KEY.value})
    assert code_of(generates) == "request_mismatch"


def test_a_key_that_is_to_be_made_has_no_public_key_yet():
    assert code_of(make(WALLET, public_key=KEY.public_key)) == "malformed_job"


def test_a_key_is_made_for_the_request_with_its_own_id_alone():
    assert code_of(make(WALLET).model_copy(update={"id": uuid4()})) == "malformed_job"


def test_a_request_to_another_endpoint_is_not_signed():
    assert wanted_signature(job_around(complete()))[0] == complete()
    for endpoint in set(Endpoint) - {Endpoint.SIGNATURES}:
        with pytest.raises(Denied, match="no request to"):
            wanted_signature(job_around(complete(), endpoint=endpoint))


def test_a_request_that_cannot_be_read_is_not_signed():
    with pytest.raises(Denied, match="malformed"):
        wanted_signature(job_around(b"{}"))
    assert wanted_signature(job_around(SignHash(kind="Hash", hash=bytes(31) + b"\x01")))[1]


HOLDERS = KeyHolders(group="zurich", threshold=3, signers=("s5", "s6", "s7"))


def copy_job(**changes: object) -> Job:
    """A job of a copy to HOLDERS, of a request with these fields."""
    fields: dict[str, object] = {"signer_group": "zurich", "threshold": 3}
    fields["signers"] = ["s7", "s5", "s6"]  # in the order of the application's pins
    request = CopyKey.model_validate(fields | changes)
    return job_around(request, endpoint=Endpoint.COPIES, holders=HOLDERS)


def test_a_copy_goes_to_the_group_that_the_request_names():
    assert wanted_copy(copy_job()).holders == HOLDERS
    assert wanted_copy(copy_job(threshold=None, signers=None)).holders == HOLDERS
    old = KeyHolders(group="treasury", threshold=2, signers=("s1", "s2"))
    assert wanted_copy(copy_job(held_by=old)).held_by == old


def test_a_copy_does_not_take_the_id_of_the_copied_key():
    """Two groups would attest different keys of one id, and each would archive its own."""
    deals = copy_job()
    takes = deals.model_copy(update={"id": deals.key.id, "copied_from": uuid4()})
    assert wanted_copy(takes).holders == HOLDERS
    for job in (
        deals.model_copy(update={"id": deals.key.id}),
        takes.model_copy(update={"copied_from": takes.key.id}),
    ):
        with pytest.raises(Denied, match="another id") as denied:
            wanted_copy(job)
        assert denied.value.code == "malformed_job"


@pytest.mark.parametrize(
    "changes",
    [
        {"signer_group": "treasury"},
        {"threshold": 2},
        {"signers": ["s5", "s6"]},
        {"signers": ["s5", "s6", "s8"]},
        {"signers": ["s5", "s6", "s7", "s7"]},
    ],
)
def test_a_control_plane_cannot_choose_another_group_of_that_name(changes):
    with pytest.raises(Denied) as caught:
        wanted_copy(copy_job(**changes))
    assert caught.value.code == "request_mismatch"
