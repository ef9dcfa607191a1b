"""A token does what its scopes say, and sees what its application owns."""

from uuid import uuid4

import httpx
import pytest

from tests.acceptance.conftest import raw_client

WALLET = {"network": "Ethereum", "store": "hsm"}
KEY = {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}
MESSAGE = {"kind": "Message", "message": "hi"}
CALLS: dict[str, list[tuple[str, str, dict[str, str] | None]]] = {
    "read": [
        ("GET", "/v1/wallets", None),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/keys/{key}", None),
        ("GET", "/v1/keys/{key}/signatures", None),
        ("GET", "/v1/nodes", None),
    ],
    "wallets": [("POST", "/v1/wallets", WALLET), ("POST", "/v1/keys", KEY)],
    "sign": [("POST", "/v1/keys/{key}/signatures", MESSAGE)],
}


@pytest.mark.parametrize("scope", [*CALLS, "admin"])
def test_a_token_may_do_what_its_scope_says_and_nothing_else(stack, keys, scope):
    token = stack.control_planes[0].create_token("local", (scope,))
    with raw_client(stack, token) as client:
        for needed, calls in CALLS.items():
            for method, path, body in calls:
                answer = client.request(method, path.format(key=keys["Ethereum"].id), json=body)
                if scope in (needed, "admin"):
                    assert answer.is_success, (method, path, answer.text)
                else:
                    assert answer.status_code == 403, (method, path)
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert answer.json()["code"] == "missing_scope"
                    assert needed in answer.json()["detail"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer custody_", "Bearer " + "x" * 5000, "Basic dTpw", "Bearer é"],
)
def test_without_a_token_that_is_known_there_is_nothing(stack, authorization):
    with raw_client(stack) as client:
        del client.headers["authorization"]
        headers = {} if authorization is None else {"authorization": authorization.encode()}
        answer = client.post("/v1/wallets", json=WALLET, headers=headers)
    assert answer.status_code == httpx.codes.UNAUTHORIZED
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_another_applications_keys_are_not_there(stack, keys, custody):
    wallet = next(iter(custody.list_wallets()))
    signature = custody.sign_message(keys["Ethereum"].id, "mine")
    token = stack.control_planes[0].create_token(f"application-{uuid4()}")
    key = keys["Ethereum"].id
    with raw_client(stack, token) as other:
        for method, path, body in (
            ("GET", f"/v1/wallets/{wallet.id}", None),
            ("GET", f"/v1/keys/{key}", None),
            ("GET", f"/v1/keys/{key}/signatures", None),
            ("GET", f"/v1/keys/{key}/signatures/{signature.id}", None),
            ("POST", f"/v1/keys/{key}/signatures", MESSAGE),
        ):
            answer = other.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert other.get("/v1/keys").json()["items"] == []
        assert other.get("/v1/wallets").json()["items"] == []
