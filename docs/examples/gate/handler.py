"""An example of a validation gate: the HTTP handler that a keys' owner runs beside the nodes.

    python docs/examples/gate/handler.py --config gate.toml

Python 3.11 and its standard library are all that it needs. It answers each question of a node
(docs/reference/wire-protocol/gates.md) by policy.toml, which is read again each time. What
the policy leaves to a person waits until somebody writes the decision into a file: see README.md.
"""

import argparse
import hashlib
import hmac
import json
import re
import socket
import ssl
import sys
import time
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HEADER = "Custody-Gate-Signature"
HEADER_FORM = re.compile(r"t=(\d{1,12}),v1=([0-9a-f]{64})")
MAX_BODY = 1024 * 1024
MAX_AGE_SECONDS = 60
"""A question signed longer ago may be somebody's recording of it."""
MIN_KEY = 16
HANDSHAKE_SECONDS = 10
SIGNED = {"Message", "BareHash", "SolanaTransaction"}
"""The types of ``decoded`` of a signature. Questions of other kinds have no text to judge."""

Answer = tuple[str, str]
"""A decision (approve, reject or pending) and its reason."""


def is_from_node(key: bytes, header: str, body: bytes, now: float) -> bool:
    """Whether who has the HMAC key sent this, and just now."""
    form = HEADER_FORM.fullmatch(header)
    if form is None or abs(now - int(form[1])) > MAX_AGE_SECONDS:
        return False
    expected = hmac.new(key, form[1].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, form[2])


def by_policy(policy: dict[str, Any], question: dict[str, Any]) -> Answer:
    """What the policy says without a person."""
    if question["kind"] == "Ping":
        return "reject", "a ping: nothing is decided"
    known = policy["applications"]
    if known and question["application"] not in known:
        return "reject", f"requests of {question['application']} are not for this gate"
    if question["kind"] in policy["by_hand"]:
        return "pending", f"{question['kind']} waits for a person"
    decoded = question["decoded"]
    if decoded["type"] not in SIGNED:
        return "pending", f"{question['kind']} signs nothing: a person has to decide"
    if decoded["type"] == "BareHash":
        return policy["bare_hashes"], "a bare hash: nobody can say what stands behind it"
    if decoded["type"] == "SolanaTransaction":
        return policy["transactions"], "a transaction: decode it, and decide by its instructions"
    if decoded["could_be"]:
        return policy["transactions"], f"could be: {', '.join(decoded['could_be'])}"
    text = decoded["text"]
    if text is None:
        return "pending", "not text: a person has to look at it"
    for word in policy["refuse_words"]:
        if word in text:
            return "reject", f"the message has {word!r} in it"
    if len(text) > policy["approve_up_to"]:
        return "pending", f"longer than {policy['approve_up_to']} characters"
    return "approve", "by policy"


class Decisions:
    """A folder: NAME.json is a question that waits; NAME holds what a person decided about it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, question: dict[str, Any], because: str) -> Answer:
        # one decision is for this very request and digest, and no other
        name = f"{question['request_id']}-{question['digest'].removeprefix('0x')}"
        if not re.fullmatch(r"[0-9a-f-]{101}", name):
            return "reject", "no such request id and digest"
        try:
            decision, _, reason = (self._folder / name).read_text().strip().partition(" ")
        except FileNotFoundError:
            (self._folder / f"{name}.json").write_text(json.dumps(question, indent=2))
            return "pending", because
        if decision not in ("approve", "reject"):
            return "pending", "the decision's file does not begin with approve or reject"
        return decision, reason or "by hand"


class Gate:
    """Decides by the current contents of the policy's file, then by what people have decided."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.key = (folder / config["hmac_key_file"]).read_bytes().rstrip(b"\r\n")
        if len(self.key) < MIN_KEY:
            sys.exit(f"the HMAC key has less than {MIN_KEY} bytes")
        self._policy = folder / config["policy"]
        self._decisions = Decisions(folder / config["decisions"])

    def answer(self, question: dict[str, Any]) -> dict[str, str]:
        decision, reason = by_policy(tomllib.loads(self._policy.read_text()), question)
        if decision == "pending":
            decision, reason = self._decisions.of(question, reason)
        # repeat the digest: an answer counts for what was shown, and for nothing else
        return {"decision": decision, "digest": question["digest"], "reason": reason}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75
    server: "Server"

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > MAX_BODY:
            self.close_connection = True
            self._say(413, {"error": "too large, or of unknown size"})
            return
        body = self.rfile.read(int(size))
        if not is_from_node(self.server.gate.key, self.headers.get(HEADER, ""), body, time.time()):
            self._say(401, {"error": f"{HEADER} is wrong, or too old"})
            return
        try:
            answer = self.server.gate.answer(json.loads(body))
        except Exception as error:  # whatever goes wrong here must not look like a decision
            self._say(500, {"error": type(error).__name__})
            return
        self._say(200, answer)

    def _say(self, status: int, answer: dict[str, str]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        print(status, answer, flush=True)

    def log_message(self, *_: Any) -> None:
        """_say has said it."""


class Server(ThreadingHTTPServer):
    """One thread a connection; the TLS handshake is in that thread, so none holds up others."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], gate: Gate, tls: ssl.SSLContext) -> None:
        super().__init__(address, Handler)
        self.gate = gate
        self._tls = tls

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(HANDSHAKE_SECONDS)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._tls.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        print(f"{client_address[0]}: {sys.exc_info()[1]}", file=sys.stderr, flush=True)


def tls_context(config: dict[str, Any], folder: Path) -> ssl.SSLContext:
    """TLS 1.3; with client_ca, only for clients that have a certificate under that root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / config["certificate"], folder / config["private_key"])
    if "client_ca" in config:
        context.load_verify_locations(folder / config["client_ca"])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def main() -> None:
    parser = argparse.ArgumentParser(description="An example of a validation gate.")
    parser.add_argument("--config", type=Path, required=True, help="gate.toml, beside README.md")
    path: Path = parser.parse_args().config
    config, folder = tomllib.loads(path.read_text()), path.resolve().parent
    server = Server(
        (config["host"], config["port"]), Gate(config, folder), tls_context(config, folder)
    )
    print(f"listening on https://{config['host']}:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
