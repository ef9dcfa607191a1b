"""Signer groups and signers through the API: who may make a group, and of which signers."""

import httpx
import pytest
from sqlalchemy import func, insert

from custody.control_plane.access.scopes import Scope
from custody.control_plane.tables import nodes
from tests.integration.control_plane.conftest import Replica, assert_problem

GROUP = {"name": "treasury", "signers": ["signer-1", "signer-2", "signer-3"], "threshold": 2}


@pytest.fixture(autouse=True)
async def registered(replica: Replica) -> None:
    """Three signers; the third does Ed25519 alone, a fourth has never reported."""
    capabilities = {"ECDSA/secp256k1": "mpc", "EdDSA/ed25519": "mpc"}
    rows = [
        {
            "id": f"signer-{number}",
            "node_group": "mpc",
            "owner": "acme" if number < 3 else "bank",
            "capabilities": capabilities if number < 3 else {"EdDSA/ed25519": "mpc"},
            "health": {"status": "ok", "detail": None},
            "last_seen": func.now(),
        }
        for number in range(1, 4)
    ]
    rows.append({"id": "signer-4", "node_group": "mpc"})
    async with replica.engine.begin() as connection:
        for row in rows:
            await connection.execute(insert(nodes).values(row))


async def test_a_group_says_whose_signers_could_sign_alone(api: httpx.AsyncClient):
    made = await api.post("/v1/signer-groups", json=GROUP)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/signer-groups/treasury")
    shown = made.json()
    assert shown["owners"] == ["acme", "acme", "bank"]
    assert shown["single_owner_quorum"] == "acme"
    all_of_them = await api.post("/v1/signer-groups", json={**GROUP, "name": "b", "threshold": 3})
    assert all_of_them.json()["single_owner_quorum"] is None
    assert (await api.get("/v1/signer-groups/treasury")).json() == shown
    listed = (await api.get("/v1/signer-groups")).json()["items"]
    assert [group["name"] for group in listed] == ["b", "treasury"]


async def test_the_same_group_again_is_the_same_and_another_of_its_name_is_refused(
    api: httpx.AsyncClient,
):
    first = await api.post("/v1/signer-groups", json=GROUP)
    again = await api.post("/v1/signer-groups", json=GROUP)
    assert (again.status_code, again.json()) == (200, first.json())
    for change in ({"threshold": 3}, {"signers": ["signer-2", "signer-1", "signer-3"]}):
        answer = await api.post("/v1/signer-groups", json={**GROUP, **change})
        assert "choose another name" in assert_problem(answer, 409, "group_exists")


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 1},
        {"threshold": 4},
        {"signers": ["signer-1", "signer-1"]},
        {"signers": ["signer-1"]},
        {"name": "no spaces"},
        {"name": ""},
        {"owner": "acme"},
    ],
    ids=str,
)
async def test_what_is_no_group_is_refused(api: httpx.AsyncClient, change: dict[str, object]):
    answer = await api.post("/v1/signer-groups", json={**GROUP, **change})
    assert_problem(answer, 422, "invalid_request")


async def test_a_group_has_registered_signers_only(api: httpx.AsyncClient):
    body = {**GROUP, "signers": ["signer-1", "driver-1"]}
    answer = await api.post("/v1/signer-groups", json=body)
    detail = assert_problem(answer, 422, "unknown_signer")
    assert "control-plane node add driver-1 --group mpc" in detail


async def test_only_an_admin_makes_groups_and_every_reader_sees_them(replica: Replica):
    scopes = {Scope.READ, Scope.WALLETS, Scope.SIGN}
    api = replica.client((await replica.token(scopes)).text)
    assert_problem(await api.post("/v1/signer-groups", json=GROUP), 403, "missing_scope")
    assert (await api.get("/v1/signer-groups")).json()["items"] == []
    assert len((await api.get("/v1/signers")).json()["items"]) == 4


async def test_signers_are_listed_with_owner_and_health(api: httpx.AsyncClient):
    signers = (await api.get("/v1/signers")).json()["items"]
    assert [(each["id"], each["owner"]) for each in signers[:3]] == [
        ("signer-1", "acme"),
        ("signer-2", "acme"),
        ("signer-3", "bank"),
    ]
    assert signers[0]["health"]["status"] == "ok"
    never = {"status": "failing", "detail": "has never reported", "works": False, "warnings": []}
    assert signers[3]["health"] == never
    assert signers[3]["last_seen"] is None


WALLET = {"network": "Ethereum", "store": "mpc"}


async def test_a_key_needs_a_group_whose_every_signer_can_make_it(api: httpx.AsyncClient):
    await api.post("/v1/signer-groups", json=GROUP)
    silent = {**GROUP, "name": "silent", "signers": ["signer-1", "signer-4"]}
    await api.post("/v1/signer-groups", json=silent)
    assert_problem(await api.post("/v1/wallets", json=WALLET), 422, "invalid_request")
    unknown = await api.post("/v1/wallets", json={**WALLET, "signer_group": "none"})
    assert_problem(unknown, 422, "unknown_signer_group")
    unable = await api.post("/v1/wallets", json={**WALLET, "signer_group": "treasury"})
    assert "signer-3 of signer group treasury cannot do ECDSA/secp256k1" in assert_problem(
        unable, 422, "unsupported_algorithm"
    )
    never = await api.post("/v1/wallets", json={**WALLET, "signer_group": "silent"})
    assert "signer-4" in assert_problem(never, 422, "no_capable_node")
    able = {**WALLET, "network": "Solana", "signer_group": "treasury"}
    assert (await api.post("/v1/wallets", json=able)).status_code == 201


async def test_a_key_of_drivers_has_no_signer_group(api: httpx.AsyncClient):
    body = {**WALLET, "store": "hsm", "signer_group": "treasury"}
    assert_problem(await api.post("/v1/wallets", json=body), 422, "invalid_request")


async def test_a_group_cannot_make_a_key_of_p_256(api: httpx.AsyncClient):
    await api.post("/v1/signer-groups", json=GROUP)
    body = {"scheme": "ECDSA", "curve": "secp256r1", "store": "mpc", "signer_group": "treasury"}
    assert_problem(await api.post("/v1/keys", json=body), 422, "unsupported_algorithm")
