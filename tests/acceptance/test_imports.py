"""Private keys that an application brings into the HSM, from its client library on."""

import base64
import secrets

import psycopg
import pytest
from coincurve import PrivateKey as Secp256k1

from custody.client import (
    AsyncCustody,
    Custody,
    ExternalIdConflict,
    HashFunction,
    Network,
    NotAttested,
    PrivateKey,
    Protection,
    Scheme,
)
from custody.client.importing.sealed_key import seal_key
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    ECDSA_SECP256R1,
    EDDSA_ED25519,
    Algorithm,
    Store,
)
from custody.wire.imports import ImportKeyStatement
from custody.wire.requests import CreateKey
from devstack.stack import Stack
from tests.faults.test_killed_driver import token_objects
from tests.second_opinion import Wanted, check_signature, check_wallet
from tests.waiting import until
from tests.wrapped_imports import ORDER

SMALL = bytes(2) + secrets.token_bytes(30)
"""With leading zeros."""


@pytest.fixture(scope="module")
def pinning(stack: Stack):
    with stack.client(pinned_nodes=stack.pinned_nodes) as custody:
        yield custody


def nothing_is_left(stack: Stack) -> bool:
    return not any("-import" in line for line in token_objects(stack))


@pytest.mark.parametrize(
    ("network", "algorithm"),
    [
        (Network.ETHEREUM, ECDSA_SECP256K1),
        (Network.BITCOIN, ECDSA_SECP256K1),
        (Network.SOLANA, EDDSA_ED25519),
    ],
)
async def test_an_imported_wallet_signs_as_a_generated_one(
    stack: Stack, pinning: Custody, network: Network, algorithm: Algorithm
):
    key = PrivateKey(algorithm, SMALL)
    is_host = algorithm == EDDSA_ED25519
    wallet = pinning.import_wallet(key, network, allow_host=is_host)
    shown = pinning.get_key(wallet.key_id)
    assert (wallet.imported, shown.imported, shown.public_key) == (True, True, key.public_key)
    assert shown.protection is (Protection.HOST if is_host else Protection.HSM)
    check_wallet(wallet, shown)
    signature = pinning.sign_message(wallet.key_id, "hello")
    check_signature(shown, Wanted("Message", b"hello"), signature)
    await until(lambda: nothing_is_left(stack), seconds=20)


async def test_p_256_keys_at_the_edge_are_imported_by_the_async_client(stack: Stack):
    pins = stack.pinned_nodes
    url = stack.control_planes[1].url
    async with AsyncCustody(url, stack.api_token, stack.ca, pinned_nodes=pins) as custody:
        for scalar in (1, ORDER[ECDSA_SECP256R1] - 1):
            key = await custody.import_key(PrivateKey(ECDSA_SECP256R1, scalar.to_bytes(32)))
            made = await custody.sign_message(key.id, b"x", hash_function=HashFunction.SHA_256)
            check_signature(key, Wanted("Message", b"x", HashFunction.SHA_256), made)


def test_a_key_is_not_decrypted_on_a_host_unless_the_caller_allows_it(pinning: Custody):
    with pytest.raises(NotAttested, match="protection host"):
        pinning.import_key(PrivateKey(EDDSA_ED25519, SMALL))


def test_a_client_without_pins_imports_nothing(custody: Custody):
    with pytest.raises(ValueError, match="pin the nodes first"):
        custody.import_key(PrivateKey(ECDSA_SECP256K1, SMALL))


def test_a_repeated_import_finds_the_first_key(pinning: Custody):
    key = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32))
    first = pinning.import_key(key, external_id="imported-once")
    assert pinning.import_key(key, external_id="imported-once") == first
    other = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32))
    with pytest.raises(ExternalIdConflict):
        pinning.import_key(other, external_id="imported-once")


def test_a_wallet_that_is_shown_as_generated_is_not_handed_out(stack: Stack, pinning: Custody):
    key = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32))
    found = pinning.import_key(key, external_id="shown-as-generated")
    with psycopg.connect(stack.databases.control_plane, autocommit=True) as connection:
        connection.execute("UPDATE keys SET imported = false WHERE id = %s", [found.id])
    with pytest.raises(NotAttested, match="imported: True is attested, not False"):
        pinning.get_key(found.id)


def test_another_key_than_the_announced_one_is_refused_and_ends_the_import(api):
    """As somebody without our client would ask."""
    body = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
    made = api.post("/v1/imports?wait=30", json=body).json()
    payload = base64.b64decode(made["statements"][0]["payload"])
    statement = ImportKeyStatement.model_validate_json(payload)
    key = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32))
    sealed = seal_key(key, [statement])
    lie = sealed.model_copy(update={"public_key": Secp256k1().public_key.format()})
    request = CreateKey(
        scheme=Scheme.ECDSA, curve=key.algorithm.curve, store=Store.HSM, imported=lie
    )
    text = request.model_dump_json(exclude_none=True)
    refused = api.post("/v1/keys?wait=30", content=text).json()
    assert (refused["status"], refused["reason"]["code"]) == ("Failed", "bad_import")
    honest = request.model_copy(update={"imported": sealed})
    again = api.post("/v1/keys", content=honest.model_dump_json(exclude_none=True))
    assert again.json()["code"] == "import_not_usable"


def test_a_replayed_import_job_is_denied_by_the_driver(stack: Stack, pinning: Custody, api):
    """A control plane that lets a second request use the import, after the first one has."""
    key = PrivateKey(ECDSA_SECP256K1, secrets.token_bytes(32))
    first = pinning.import_key(key)
    with psycopg.connect(stack.databases.control_plane, autocommit=True) as connection:
        [row] = connection.execute(
            "UPDATE jobs SET key_id = NULL WHERE kind = 'PrepareImport' AND key_id = %s"
            " RETURNING id",
            [first.id],
        ).fetchall()
    body = {
        "scheme": "ECDSA",
        "curve": "secp256k1",
        "store": "hsm",
        "imported": {
            "import_id": str(row[0]),
            "public_key": "0x" + key.public_key.hex(),
            "wrapped": "0xaa",
        },
    }
    refused = api.post("/v1/keys?wait=30", json=body).json()
    assert (refused["status"], refused["reason"]["code"]) == ("Failed", "import_used")
