"""The client against a real HTTPS server that misbehaves: what it retries, and what it says."""

import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import Any

import pytest

from custody.client import (
    AsyncCustody,
    Custody,
    ExternalIdConflict,
    GatewayAnswer,
    Key,
    MissingScope,
    Network,
    NotAttested,
    NotFound,
    Refused,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
    connections,
)
from custody.client.calls import get, get_if_there
from devstack.certificates import Certificates
from tests.unit.client.test_pinned_nodes import KEY, OTHER_ADDRESS, WALLET
from tests.unit.wire.test_attestations import OTHER_ID, PINNED

EMPTY_PAGE: dict[str, object] = {"items": [], "next_cursor": None}
NODE: dict[str, object] = {
    "id": "zurich-1",
    "group": "hsm",
    "version": "9.0.0",
    "capabilities": {"ECDSA/secp256k1": "vault"},
    "health": {"status": "resting", "detail": None, "since": "noon"},
    "last_seen": None,
    "restores": [],
}


def problem(status: int, code: str) -> dict[str, object]:
    return {"type": f"urn:{code}", "title": code, "status": status, "code": code, "detail": "why"}


@dataclass
class Answers:
    """What the server answers, one after the other. Seconds: it breaks the connection then."""

    queue: list[tuple[int, object, dict[str, str]] | float] = field(default_factory=list)
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, status: int, body: object, **headers: str) -> None:
        self.queue.append((status, body, headers))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("client") / "pki")


@pytest.fixture
def server(certificates, tmp_path) -> Iterator[tuple[str, Answers]]:
    answers = Answers()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answers.seen.append((f"{self.command} {self.path}", body))
            planned = answers.queue.pop(0)
            if isinstance(planned, float):
                time.sleep(planned)
                self.close_connection = True
                return
            self.close_connection = "Content_Length" in planned[2]
            status, content, headers = planned
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer  # noqa: N815 (the names that http.server looks for)

        def log_message(self, *_: object) -> None:
            pass

    leaf = certificates.server(f"server-{tmp_path.name[:40].lower().rstrip('_')}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.private_key)
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.server_port}", answers
    listener.shutdown()
    listener.server_close()


@pytest.fixture
def custody(server, certificates) -> Iterator[Custody]:
    with Custody(server[0], "custody_secret", certificates.ca, patience=5) as custody:
        yield custody


def test_a_broken_connection_and_503_are_tried_again_with_the_same_body(server, custody):
    answers = server[1]
    answers.queue.append(0.0)
    answers.add(503, problem(503, "unavailable"), Retry_After="0.1")
    answers.add(409, problem(409, "external_id_conflict"))
    with pytest.raises(ExternalIdConflict):
        custody.create_wallet(Network.ETHEREUM)
    assert len(answers.seen) == 3
    assert len(set(answers.seen)) == 1


async def test_the_async_client_tries_again_too(server, certificates):
    url, answers = server
    answers.queue.append(0.0)
    answers.add(200, EMPTY_PAGE)
    async with AsyncCustody(url, "custody_secret", certificates.ca) as custody:
        assert [wallet async for wallet in custody.list_wallets()] == []
    assert len(answers.seen) == 2


def test_only_what_may_be_missing_is_answered_with_none(server, custody):
    path = "/v1/keys/4d3f0f1e-7d3a-4a83-8f8b-0f7f5b0f3c11"
    server[1].add(404, problem(404, "not_found"))
    assert custody.connection.run(iter(get_if_there(path, Key))) is None
    server[1].add(404, problem(404, "not_found"))
    with pytest.raises(NotFound):
        custody.connection.run(iter(get(path, Key)))
    server[1].add(403, problem(403, "missing_scope"))
    with pytest.raises(MissingScope):
        custody.connection.run(iter(get_if_there(path, Key)))


def test_lists_go_on_to_the_last_page(server, custody):
    answers = server[1]
    answers.add(200, {"items": [], "next_cursor": "abc"})
    answers.add(200, EMPTY_PAGE)
    assert list(custody.list_wallets()) == []
    assert [request for request, _ in answers.seen] == [
        "GET /v1/wallets",
        "GET /v1/wallets?cursor=abc",
    ]


SIGNATURE: dict[str, object] = {
    "id": "01920000-0000-7000-8000-000000000001",
    "key_id": "01920000-0000-7000-8000-000000000002",
    "status": "Pending",
    "kind": "Message",
    "message": "hello",
    "transaction": None,
    "digest": None,
    "signature": None,
    "external_id": "order-7",
    "reason": None,
    "created_at": "2026-01-01T00:00:00Z",
    "expires_at": "2026-01-01T00:15:00Z",
}


async def test_an_item_that_a_filter_leaves_out_is_not_handed_out(server, certificates, custody):
    """An application takes the first item for the one that it has asked for."""
    url, answers = server
    key_id = str(SIGNATURE["key_id"])
    for _ in range(3):
        answers.add(200, {"items": [SIGNATURE], "next_cursor": None})
    [found] = custody.list_signatures(key_id, external_id="order-7")
    assert found.external_id == "order-7"
    with pytest.raises(UnexpectedAnswer, match="asked for order-8, was given order-7"):
        list(custody.list_signatures(key_id, external_id="order-8"))
    async with AsyncCustody(url, "custody_secret", certificates.ca) as asynchronous:
        with pytest.raises(UnexpectedAnswer, match="asked for order-8, was given order-7"):
            await anext(asynchronous.list_signatures(key_id, external_id="order-8"))


SWAPPED = WALLET.model_copy(update={"address": OTHER_ADDRESS})
ATTESTED = KEY.model_copy(update={"external_id": WALLET.external_id})
ORPHAN = WALLET.model_copy(update={"key_id": OTHER_ID})


def pinning(url: str, certificates: Certificates) -> dict[str, Any]:
    return {"url": url, "token": "custody_secret", "ca": certificates.ca, "pinned_nodes": PINNED}


def list_a_wallet_behind_two_others(answers: Answers) -> None:
    """Two pages: a wallet with another address, one whose key the service denies, a right one."""
    first, orphan, right = (
        json.loads(each.model_dump_json()) for each in (SWAPPED, ORPHAN, WALLET)
    )
    key = json.loads(ATTESTED.model_dump_json())
    answers.add(200, {"items": [first], "next_cursor": "abc"})
    answers.add(200, key)
    answers.add(200, {"items": [orphan, right], "next_cursor": None})
    answers.add(404, problem(404, "not_found"))
    answers.add(200, key)


async def test_a_list_continues_behind_what_is_not_attested(server, certificates):
    url, answers = server
    told: list[NotAttested] = []
    list_a_wallet_behind_two_others(answers)
    with Custody(**pinning(url, certificates)) as custody:
        assert list(custody.list_wallets(on_not_attested=told.append)) == [WALLET]
    list_a_wallet_behind_two_others(answers)
    async with AsyncCustody(**pinning(url, certificates)) as asynchronous:
        found = [each async for each in asynchronous.list_wallets(on_not_attested=told.append)]
    assert found == [WALLET]
    assert [each.item_id for each in told] == [SWAPPED.id, ORPHAN.id] * 2
    assert "address" in str(told[0])
    assert "does not have its key" in str(told[1])
    assert OTHER_ADDRESS not in "".join(map(str, told))
    assert not answers.queue


async def test_a_list_ends_at_what_is_not_attested_unless_it_is_told_otherwise(
    server, certificates
):
    url, answers = server
    list_a_wallet_behind_two_others(answers)
    with Custody(**pinning(url, certificates)) as custody, pytest.raises(NotAttested) as raised:
        list(custody.list_wallets())
    assert raised.value.item_id == SWAPPED.id
    assert "on_not_attested" in raised.value.__notes__[0]
    answers.queue.clear()
    list_a_wallet_behind_two_others(answers)
    async with AsyncCustody(**pinning(url, certificates)) as asynchronous:
        with pytest.raises(NotAttested):
            await anext(asynchronous.list_wallets())


def test_a_list_ends_if_the_application_raises_when_it_is_told(server, certificates):
    def stop(error: NotAttested) -> None:
        raise LookupError(error.item_id)

    list_a_wallet_behind_two_others(server[1])
    with Custody(**pinning(server[0], certificates)) as custody, pytest.raises(LookupError):
        list(custody.list_wallets(on_not_attested=stop))


async def test_a_list_is_not_begun_if_nobody_could_be_told(server, certificates, custody):
    """Without pins nothing is checked. A coroutine that nobody awaits tells nobody."""
    told: list[NotAttested] = []
    for listing in (custody.list_wallets, custody.list_keys, partial(custody.list_copies, KEY.id)):
        with pytest.raises(ValueError, match="pin the nodes first"):
            list(listing(on_not_attested=told.append))
    async with AsyncCustody(server[0], "custody_secret", certificates.ca) as asynchronous:
        with pytest.raises(ValueError, match="pin the nodes first"):
            await anext(asynchronous.list_wallets(on_not_attested=told.append))

    async def never_awaited(error: NotAttested) -> None:
        told.append(error)

    async with AsyncCustody(**pinning(server[0], certificates)) as asynchronous:
        with pytest.raises(ValueError, match="plain function"):
            asynchronous.list_wallets(on_not_attested=never_awaited)  # type: ignore[arg-type]
    assert not server[1].seen


def test_a_list_ends_if_it_only_learns_then_that_nobody_is_told(server, certificates):
    async def never_awaited(error: NotAttested) -> None:
        raise AssertionError(error)

    list_a_wallet_behind_two_others(server[1])
    is_refused = pytest.raises(ValueError, match="plain function")
    with Custody(**pinning(server[0], certificates)) as custody, is_refused:
        list(custody.list_wallets(on_not_attested=lambda error: never_awaited(error)))  # type: ignore[arg-type]


def test_a_refusal_is_not_tried_again(server, custody):
    server[1].add(403, problem(403, "missing_scope"))
    with pytest.raises(MissingScope, match="why") as refused:
        list(custody.list_keys())
    assert refused.value.code == "missing_scope"
    assert len(server[1].seen) == 1


def test_what_is_not_our_service_is_said_to_be_so(server, custody):
    server[1].add(200, {"hello": "world"})
    with pytest.raises(UnexpectedAnswer, match="GET /v1/nodes"):
        list(custody.list_nodes())


def test_a_newer_service_is_read_by_an_older_client(server, custody):
    page = {"items": [{**NODE, "shelf": "B"}], "next_cursor": None, "total": 1}
    server[1].add(200, page)
    [node] = custody.list_nodes()
    assert (node.id, node.health.status) == ("zurich-1", "resting")
    server[1].add(409, {**problem(409, "key_is_resting"), "until": "noon"})
    with pytest.raises(Refused, match="key_is_resting: why"):
        list(custody.list_nodes())


HTML = b"<html><h1>Bad Gateway</h1></html>"
OTHER_JSON = {"error": {"code": 17}}
GATEWAYS = [
    (502, HTML, "text/html"),
    (502, b"", ""),
    (503, HTML, "text/html; charset=utf-8"),
    (503, OTHER_JSON, "application/json"),
    (504, b"\xff\x00", "application/octet-stream"),
    (429, b"slow down", "text/plain"),
    (429, OTHER_JSON, "application/json"),
    (408, b"", ""),
]


@pytest.mark.parametrize(("status", "body", "media_type"), GATEWAYS)
def test_what_a_gateway_answers_is_tried_again_whatever_its_body(
    server, custody, status, body, media_type
):
    answers = server[1]
    answers.add(status, body, Content_Type=media_type)
    answers.add(409, problem(409, "external_id_conflict"))
    with pytest.raises(ExternalIdConflict):
        custody.create_wallet(Network.ETHEREUM)
    assert len(answers.seen) == 2
    assert len(set(answers.seen)) == 1


async def test_the_async_client_tries_a_gateways_answers_again_too(server, certificates):
    url, answers = server
    for status, body, media_type in GATEWAYS[:3]:
        answers.add(status, body, Content_Type=media_type)
    answers.add(200, EMPTY_PAGE)
    async with AsyncCustody(url, "custody_secret", certificates.ca) as custody:
        assert [wallet async for wallet in custody.list_wallets()] == []
    assert len(answers.seen) == 4


def test_a_gateway_that_stays_is_named_in_the_end(server, certificates):
    url, answers = server
    for _ in range(9):
        answers.add(502, HTML, Content_Type="text/html")
    with (
        Custody(url, "custody_secret", certificates.ca, patience=0.4) as custody,
        pytest.raises(GatewayAnswer, match=r"GET /v1/keys: status 502 with 33 bytes of text/html"),
    ):
        list(custody.list_keys())
    assert len(answers.seen) > 1


def test_patience_begins_when_a_call_that_was_held_open_breaks(server, certificates):
    url, answers = server
    answers.queue.append(1.0)
    answers.add(200, EMPTY_PAGE)
    with Custody(url, "custody_secret", certificates.ca, patience=0.5) as custody:
        assert list(custody.list_keys()) == []


@pytest.mark.parametrize("in_seconds", [True, False])
def test_a_retry_after_beyond_patience_is_cut(server, certificates, in_seconds):
    url, answers = server
    later = "3600" if in_seconds else format_datetime(datetime.now(UTC) + timedelta(hours=1), True)
    for _ in range(2):
        answers.add(503, HTML, Retry_After=later)
    started = time.monotonic()
    with (
        Custody(url, "custody_secret", certificates.ca, patience=0.5) as custody,
        pytest.raises(GatewayAnswer),
    ):
        list(custody.list_keys())
    assert 0.4 < time.monotonic() - started < 60
    assert len(answers.seen) == 2


def test_a_gateways_answer_that_says_the_request_is_wrong_is_not_tried_again(server, custody):
    server[1].add(413, HTML, Content_Type="text/html")
    with pytest.raises(UnexpectedAnswer, match="status 413 with 33 bytes of text/html"):
        custody.create_wallet(Network.ETHEREUM)
    assert len(server[1].seen) == 1


@pytest.mark.parametrize("told", [{"Content_Length": "100"}, {"Connection": "close"}])
def test_half_an_answer_is_tried_again(server, custody, told):
    answers = server[1]
    answers.add(200, b'{"items": [], "next_', Content_Type="application/json", **told)
    answers.add(200, EMPTY_PAGE)
    assert list(custody.list_keys()) == []
    assert len(answers.seen) == 2


def test_an_answer_in_an_encoding_that_does_not_open_is_tried_again(server, custody):
    answers = server[1]
    answers.add(200, b"no gzip", Content_Encoding="gzip")
    answers.add(200, EMPTY_PAGE)
    assert list(custody.list_keys()) == []


def test_a_page_of_somebody_else_is_said_to_be_one(server, custody):
    server[1].add(200, HTML, Content_Type="text/html")
    with pytest.raises(UnexpectedAnswer, match=r"200 with 33 bytes of text/html.*Check the URL"):
        list(custody.list_keys())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_since_the_token_would_go_along(server, custody, status):
    answers = server[1]
    answers.add(status, b"", Location=f"{server[0]}/elsewhere")
    with pytest.raises(UnexpectedAnswer, match="a redirect, which is not followed") as refused:
        custody.create_wallet(Network.ETHEREUM)
    assert len(answers.seen) == 1
    assert "custody_secret" not in str(refused.value)


def test_an_answer_without_end_is_given_up(server, custody, monkeypatch):
    monkeypatch.setattr(connections, "MAX_ANSWER", 1000)
    server[1].add(200, b" " * 1001)
    with pytest.raises(UnexpectedAnswer, match="more than 1000 bytes"):
        list(custody.list_keys())


def test_another_ca_is_not_believed_and_not_tried_again(server, tmp_path):
    stranger = Certificates(tmp_path / "other")
    with (
        Custody(server[0], "custody_secret", stranger.ca, patience=60) as custody,
        pytest.raises(Untrusted, match="Give the CA"),
    ):
        list(custody.list_nodes())


def test_a_service_that_is_away_is_unreachable_after_some_patience(certificates):
    with (
        Custody("https://127.0.0.1:1", "custody_secret", certificates.ca, patience=0.3) as custody,
        pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"),
    ):
        list(custody.list_nodes())


def test_logs_hold_no_token(server, custody, caplog):
    caplog.set_level("DEBUG")
    server[1].add(200, EMPTY_PAGE)
    list(custody.list_nodes())
    assert "custody_secret" not in caplog.text
