"""Malformed and oversized requests: a clear problem, and nothing is made of them."""

from collections.abc import Iterator

import pytest

LIMIT = 256 * 1024


def assert_problem(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


@pytest.fixture
def signatures(keys) -> str:
    return f"/v1/keys/{keys['Ethereum'].id}/signatures"


@pytest.mark.parametrize("path", ["/v1/wallets", "/v1/keys", "signatures"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"network": "Ethereum"', b"{'network': 1}", b"nul"]
)
def test_what_is_not_json_is_malformed(api, signatures, path, content):
    path = signatures if path == "signatures" else path
    answer = api.post(path, content=content, headers={"content-type": "application/json"})
    assert_problem(answer, 400, "malformed_json")


@pytest.mark.parametrize(
    "content", [b"[]", b"null", b"7", b'""', b"{}", b'{"kind": "Message"}', b'{"a": 1}']
)
def test_json_of_another_shape_is_invalid(api, signatures, content):
    for path in ("/v1/wallets", "/v1/keys", signatures):
        answer = api.post(path, content=content, headers={"content-type": "application/json"})
        assert_problem(answer, 422, "invalid_request")


def test_a_field_too_many_is_invalid_and_named(api, signatures):
    answer = api.post(signatures, json={"kind": "Message", "message": "hi", "gas": 1})
    assert_problem(answer, 422, "invalid_request")
    assert "gas" in answer.json()["detail"]


def test_deeply_nested_json_is_refused(api, signatures):
    depth = 100_000
    answer = api.post(
        signatures,
        content=b"[" * depth + b"]" * depth,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_too_large(api, signatures, chunked):
    body = b'{"kind": "Message", "message": "' + b"a" * LIMIT + b'"}'

    def parts() -> Iterator[bytes]:
        yield from (body[start : start + 4096] for start in range(0, len(body), 4096))

    answer = api.post(
        signatures,
        content=parts() if chunked else body,
        headers={"content-type": "application/json"},
    )
    assert_problem(answer, 413, "too_large")


def test_a_message_over_its_limit_is_invalid(api, signatures):
    answer = api.post(signatures, json={"kind": "Message", "message": "a" * 65_537})
    assert_problem(answer, 422, "invalid_request")


def test_nothing_was_made_of_any_of_it(api, keys, custody):
    before = len(list(custody.list_signatures(keys["ECDSA secp256r1"].id)))
    path = f"/v1/keys/{keys['ECDSA secp256r1'].id}/signatures"
    for body in (b"{", b"[]", b'{"kind": "Message", "message": "' + b"a" * LIMIT + b'"}'):
        assert api.post(path, content=body).is_client_error
    assert len(list(custody.list_signatures(keys["ECDSA secp256r1"].id))) == before


@pytest.mark.parametrize(
    "path",
    ["/v1/nothing", "/v1/keys/not-a-uuid", "/v1/wallets/00000000-0000-4000-8000-000000000000"],
)
def test_what_is_not_there_is_a_problem_too(api, path):
    answer = api.get(path)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("wait", ["-1", "x", "1e9", "nan"])
def test_a_wait_is_a_number_of_seconds_within_reason(api, signatures, wait):
    answer = api.post(f"{signatures}?wait={wait}", json={"kind": "Message", "message": "hi"})
    assert_problem(answer, 422, "invalid_request")
