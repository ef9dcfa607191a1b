"""The client against a real HTTPS server that misbehaves: what it retries, and what it says."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from control_plane.client import (
    AsyncCustody,
    Custody,
    ExternalIdConflict,
    MissingScope,
    Network,
    Refused,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
)
from devstack.certificates import Certificates

EMPTY_PAGE: dict[str, object] = {"items": [], "next_cursor": None}
NODE: dict[str, object] = {
    "id": "zurich-1",
    "group": "hsm",
    "version": "9.0.0",
    "capabilities": {"ECDSA/secp256k1": "vault"},
    "health": {"status": "resting", "detail": None, "since": "noon"},
    "last_seen": None,
}


def problem(status: int, code: str) -> dict[str, object]:
    return {"type": f"urn:{code}", "title": code, "status": status, "code": code, "detail": "why"}


@dataclass
class Answers:
    """What the server answers, one after the other; None breaks the connection."""

    queue: list[tuple[int, object, dict[str, str]] | None] = field(default_factory=list)
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
            if planned is None:
                self.close_connection = True
                return
            status, content, headers = planned
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
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
    answers.queue.append(None)
    answers.add(503, problem(503, "unavailable"), Retry_After="0.1")
    answers.add(409, problem(409, "external_id_conflict"))
    with pytest.raises(ExternalIdConflict):
        custody.create_wallet(Network.ETHEREUM)
    assert len(answers.seen) == 3
    assert len(set(answers.seen)) == 1


async def test_the_async_client_tries_again_too(server, certificates):
    url, answers = server
    answers.queue.append(None)
    answers.add(200, EMPTY_PAGE)
    async with AsyncCustody(url, "custody_secret", certificates.ca) as custody:
        assert [wallet async for wallet in custody.list_wallets()] == []
    assert len(answers.seen) == 2


def test_lists_go_on_to_the_last_page(server, custody):
    answers = server[1]
    answers.add(200, {"items": [], "next_cursor": "abc"})
    answers.add(200, EMPTY_PAGE)
    assert list(custody.list_wallets()) == []
    assert [request for request, _ in answers.seen] == [
        "GET /v1/wallets",
        "GET /v1/wallets?cursor=abc",
    ]


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
