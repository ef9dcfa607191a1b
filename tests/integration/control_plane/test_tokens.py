"""Who is let in, and to what."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from custody.control_plane.access.scopes import Scope
from custody.control_plane.access.tokens import create_token, list_tokens, revoke_token
from custody.runtime.cache import Cache
from tests.integration.control_plane.conftest import Replica, assert_problem
from tests.integration.control_plane.node import MemoryNode

WALLET = {"network": "Ethereum", "store": "hsm"}
KEY = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
A_HASH = {"kind": "Hash", "hash": "0x" + "5c" * 32}


def routes(key: UUID) -> dict[tuple[str, str], Scope]:
    """Every route of the API, and the scope that opens it."""
    a_key, a_signature = f"/v1/keys/{key}", f"/v1/keys/{key}/signatures"
    return {
        ("POST", "/v1/wallets"): Scope.WALLETS,
        ("POST", "/v1/keys"): Scope.WALLETS,
        ("POST", "/v1/imports"): Scope.WALLETS,
        ("GET", "/v1/imports"): Scope.READ,
        ("GET", f"/v1/imports/{uuid4()}"): Scope.READ,
        ("POST", a_signature): Scope.SIGN,
        ("GET", "/v1/wallets"): Scope.READ,
        ("GET", f"/v1/wallets/{uuid4()}"): Scope.READ,
        ("PATCH", f"/v1/wallets/{uuid4()}"): Scope.WALLETS,
        ("GET", "/v1/keys"): Scope.READ,
        ("GET", a_key): Scope.READ,
        ("PATCH", a_key): Scope.WALLETS,
        ("GET", a_signature): Scope.READ,
        ("GET", f"{a_signature}/{uuid4()}"): Scope.READ,
        ("POST", f"{a_key}/derive"): Scope.WALLETS,
        ("POST", f"{a_key}/wallets"): Scope.WALLETS,
        ("POST", f"{a_key}/refresh"): Scope.WALLETS,
        ("POST", f"{a_key}/repair"): Scope.WALLETS,
        ("POST", f"{a_key}/copy"): Scope.WALLETS,
        ("GET", f"{a_key}/copies"): Scope.READ,
        ("GET", f"{a_key}/refreshes"): Scope.READ,
        ("GET", f"{a_key}/refreshes/{uuid4()}"): Scope.READ,
        ("GET", f"{a_key}/repairs"): Scope.READ,
        ("GET", f"{a_key}/repairs/{uuid4()}"): Scope.READ,
        ("POST", f"{a_key}/archive"): Scope.WALLETS,
        ("POST", f"{a_key}/unarchive"): Scope.WALLETS,
        ("GET", f"{a_key}/archivals"): Scope.READ,
        ("GET", f"{a_key}/archivals/{uuid4()}"): Scope.READ,
        ("GET", f"{a_key}/unarchivals"): Scope.READ,
        ("GET", f"{a_key}/unarchivals/{uuid4()}"): Scope.READ,
        ("GET", "/v1/nodes"): Scope.READ,
        ("GET", "/v1/signers"): Scope.READ,
        ("GET", "/v1/audit"): Scope.ADMIN,
        ("GET", "/v1/audit/heads"): Scope.ADMIN,
        ("POST", "/v1/signer-groups"): Scope.ADMIN,
        ("GET", "/v1/signer-groups"): Scope.READ,
        ("GET", "/v1/signer-groups/two-of-three"): Scope.READ,
    }


BODIES = {
    "wallets": WALLET,
    "keys": KEY,
    "imports": KEY,
    "signatures": A_HASH,
    "derive": {"path": "m/0"},
    "refresh": {},
    "repair": {"signer": "signer-1"},
    "archive": {},
    "unarchive": {},
    "copy": {"signer_group": "g"},
    "signer-groups": {"name": "g", "signers": ["signer-1", "signer-2"], "threshold": 2},
}
UNSUITED = (409, 422)
"""What a route answers that was let in, and wants a key of store mpc, or signers."""


async def send(client: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    body = None
    if method != "GET":
        body = {"name": "A name"} if method == "PATCH" else BODIES[path.rsplit("/", 1)[1]]
    return await client.request(method, path, json=body)


async def test_the_list_of_routes_above_is_whole(replica: Replica, key: UUID):
    document = (await replica.client(None).get("/openapi.json")).json()
    described = [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        if path.startswith("/v1/")
        for method in methods
    ]
    assert len(described) == len(routes(key))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "Bearer nonsense",
        "Bearer custody_",
        "Bearer custody_" + "A" * 43,
        "Bearer custody_\xe9",
        "Bearer custody_" + "A" * 5000,
    ],
)
async def test_nothing_is_open_without_a_token(replica: Replica, key: UUID, header: str | None):
    client = replica.client(None)
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    for method, path in routes(key):
        answer = await client.request(method, path, headers=headers, content=b"not even JSON")
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scope", list(Scope))
async def test_each_scope_opens_its_own_routes(
    replica: Replica, node: MemoryNode, key: UUID, scope: Scope
):
    client = replica.client((await replica.token([scope])).text)
    for (method, path), needed in routes(key).items():
        answer = await send(client, method, path)
        if scope in (needed, Scope.ADMIN):
            assert answer.status_code in (200, 201, 404, *UNSUITED), answer.text
        else:
            detail = assert_problem(answer, 403, "missing_scope")
            assert f"--scope {needed}" in detail


async def test_a_revoked_token_is_refused_once_the_notification_is_there(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(replica.services.tokens, "_believed", Cache(10, seconds=600))
    token = await replica.token()
    client = replica.client(token.text)
    assert (await client.get("/v1/keys")).status_code == 200
    async with replica.database.transaction() as connection:
        assert await revoke_token(connection, token.id)
        assert await revoke_token(connection, token.id)
        assert not await revoke_token(connection, uuid4())
    for _ in range(1000):
        if (answer := await client.get("/v1/keys")).status_code != 200:
            break
        await asyncio.sleep(0.01)
    assert_problem(answer, 401, "unauthenticated")


async def test_an_expired_token_is_refused(replica: Replica):
    async with replica.database.transaction() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        token = await create_token(connection, "shop", [Scope.ADMIN], past)
    assert_problem(await replica.client(token.text).get("/v1/keys"), 401, "unauthenticated")


async def test_tokens_of_one_application_see_the_same(replica: Replica, node: MemoryNode):
    clients = [replica.client((await replica.token()).text) for _ in range(2)]
    wallet = (await clients[0].post("/v1/wallets", json=WALLET)).json()
    assert (await clients[1].get(f"/v1/wallets/{wallet['id']}")).json() == wallet


async def test_only_the_hash_of_a_token_is_kept(replica: Replica):
    token = await replica.token([Scope.SIGN, Scope.READ])
    async with replica.database.transaction() as connection:
        (row,) = await connection.rows("SELECT * FROM tokens")
        (listed,) = await list_tokens(connection)
    assert token.text not in repr(row)
    assert len(row.hash) == 32
    assert (listed.application, listed.scopes) == ("shop", ["read", "sign"])
