"""Parsers of bytes from outside: each input gives a value or a documented error."""

import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.backup import files, layout, manifest
from custody.backup.age import parse_recipients
from custody.backup.errors import BackupError, Damaged
from custody.control_plane.jobs.results import BadResult, read_outcome
from custody.control_plane.problems import ProblemError
from custody.control_plane.resources.pages import Position
from custody.delivery.settings import load_settings as delivery_settings
from custody.node.audit_records import BadRecord, parse_record
from custody.node.gate_messages import BadAnswer, read_answer
from custody.pki.description import describe
from custody.pki.names import names_of as names_of_certificate
from custody.pki.requests import BadRequest, names_in
from custody.pki.signing import read_request
from custody.runtime.errors import OperatorError
from custody.runtime.private_keys import NotAPrivateKey, WrongPassphrase, load_private_key
from custody.runtime.revocation import parse_crls
from custody.runtime.tls import load_certificates
from custody.wire import delivery, solana
from custody.wire.algorithms import Algorithm
from custody.wire.derivation import parse_path
from custody.wire.framing import Malformed, join
from custody.wire.nodes import node_of
from custody.wire.signed_requests import parse_header
from custody.wire.strict_json import NotStrictJson, parse_json
from mpc._native import LocalMisuse, Share
from mpc.ceremonies.hello import Hello, Opened
from mpc.layer4.customer_key import BadCustomerKey, parse_customer_key
from mpc.layer4.share_copy import BadShareCopy, read_share_copy

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A_FEW = settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""The same examples in each run: a failure is the change's own."""


@dataclass(frozen=True)
class Parser:
    """``refusals``: the documented errors. ``seeds``: inputs that the parser takes."""

    name: str
    parse: Callable[[bytes], Any]
    refusals: type[Exception] | tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]


def text(parse: Callable[[str], Any]) -> Callable[[bytes], Any]:
    """Give a parser of text all characters, the first 256 code points as bytes."""
    return lambda content: parse(content.decode("latin-1"))


KEY = ec.derive_private_key(7, ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])


def crl() -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW)
    builder = builder.next_update(NOW + timedelta(days=9))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(KEY.public_key())
    for extension in (x509.CRLNumber(1), identifier):
        builder = builder.add_extension(extension, critical=False)
    entry = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(NOW)
    for reason in (x509.CRLReason(x509.ReasonFlags.superseded), x509.InvalidityDate(NOW)):
        entry = entry.add_extension(reason, critical=False)
    return (
        builder.add_revoked_certificate(entry.build())
        .sign(KEY, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


def request() -> bytes:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:custody:node:a")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(NAME)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    for extension in (names, usage, constraints):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def certificate() -> bytes:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:custody:node:a")])
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).serial_number(3)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9))
    builder = builder.public_key(KEY.public_key())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    for extension in (names, usage, x509.BasicConstraints(ca=False, path_length=None)):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def pem(kind: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {kind}-----\n{body}-----END {kind}-----\n".encode()


def from_file(read: Callable[[Path], Any], folder: Path) -> Callable[[bytes], Any]:
    def parse(content: bytes) -> Any:
        path = folder / "file"
        path.write_bytes(content)
        return read(path)

    return parse


def opened_backup(path: Path) -> None:
    with layout.open_backup(path):
        pass


def names_of(path: Path) -> None:
    names_in(read_request(path))


def names_and_chain(path: Path) -> None:
    for certificate in load_certificates(path):
        describe(certificate)
        names_of_certificate(certificate)
        node_of(certificate)


PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ANY_ID = UUID(int=0)
SETTINGS = b'[delivery]\nname = "a"\n[listen]\nhost = "::1"\nport = 1\n'
JSON = b'{"version": 1, "kind": "X", "at": "2026-01-01T00:00:00Z", "list": [1.5e3, "\\u00e9"]}'
SOLANA = bytes([1, 0, 1, 2]) + bytes(96) + bytes([1, 1, 1, 0, 2, 9, 9])
CURSOR = base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00 " + str(ANY_ID).encode())

SHARES = [bytes([version, protocol]) + bytes(200) for version in (1, 2) for protocol in (1, 2, 3)]

PARSERS = [
    Parser("strict JSON", parse_json, NotStrictJson, (JSON, b"[" * 40, b"1e999")),
    Parser("hand-in", delivery.decode_hand_in, Malformed, (join(b"", b"a", b"x"),)),
    Parser("messages", delivery.decode_messages, Malformed, (join(b"a", b"x", b"b", b"y"),)),
    Parser("abort", delivery.decode_abort, Malformed, (join(join(b"p", b"s", b"k"), b"why"),)),
    Parser("Solana message", solana.read_message, solana.NoTransaction, (SOLANA, b"\x81" + SOLANA)),
    Parser("Solana content", solana.is_transaction, (), (SOLANA, b"\x81" + SOLANA)),
    Parser("path", text(parse_path), ValueError, (b"m/0/5", b"m/" + b"9" * 5000)),
    Parser(
        "signature header",
        text(parse_header),
        ValueError,
        (b"0123456789abcdef:" + base64.b64encode(bytes(64)),),
    ),
    Parser("algorithm", text(Algorithm.parse), ValueError, (b"ECDSA/secp256k1",)),
    Parser("cursor", text(Position.parse), ProblemError, (CURSOR,)),
    Parser("CRL", parse_crls, ValueError, (pem("X509 CRL", crl()),)),
    Parser(
        "private key",
        lambda content: load_private_key(content, "key", lambda _: "words"),
        (NotAPrivateKey, WrongPassphrase),
        (PRIVATE,),
    ),
    Parser("customer key", parse_customer_key, BadCustomerKey, (PUBLIC, b"ssh-ed25519 AAAA x")),
    Parser("share copy", read_share_copy, BadShareCopy, (JSON,)),
    Parser("hello", Hello.from_bytes, ValueError, (join(*[b"1"] * 7),)),
    Parser("opening", Opened.from_bytes, ValueError, (join(b"o", join(b"ban"), b"p"),)),
    Parser("share", Share.load, LocalMisuse, tuple(SHARES)),
    Parser("manifest", lambda content: manifest.decode(content, "x"), Damaged, (JSON,)),
    Parser("packed files", lambda content: files.unpack(content, "x"), Damaged, (bytes(1024),)),
    Parser(
        "recipient",
        text(lambda words: parse_recipients([words])),
        OperatorError,
        (b"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudvm7c5qyx3p5", b"ssh-ed25519 AAAA"),
    ),
    Parser("gate's answer", lambda content: read_answer(content, bytes(32)), BadAnswer, (JSON,)),
    Parser("audit record", parse_record, BadRecord, (JSON,)),
    Parser("outcome", lambda content: read_outcome(content, ANY_ID, "n"), BadResult, (JSON,)),
]
FILE_PARSERS = [
    ("settings", delivery_settings, OperatorError, (SETTINGS, b"a = " + b"[" * 5000)),
    ("backup", opened_backup, BackupError, (bytes(1536), b"manifest.json" + bytes(1523))),
    ("request", names_of, (OperatorError, BadRequest), (pem("CERTIFICATE REQUEST", request()),)),
    ("certificates", load_certificates, OperatorError, (pem("CERTIFICATE", certificate()),)),
]


def mutated(seeds: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Bytes at random, and seeds cut, repeated or with changed bytes."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        content = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(content)))
            until = draw(st.integers(at, min(len(content), at + 4)))
            content[at:until] = draw(st.binary(max_size=4))
        return bytes(content)

    return st.one_of(change(), st.binary(max_size=200))


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_bytes_give_a_value_or_the_documented_error(parser: Parser):
    @A_FEW
    @given(content=mutated(parser.seeds))
    def holds(content: bytes) -> None:
        refuses_or_parses(parser.parse, parser.refusals, content)

    for seed in parser.seeds:
        refuses_or_parses(parser.parse, parser.refusals, seed)
    holds()


@pytest.mark.parametrize("file_parser", FILE_PARSERS, ids=lambda parser: parser[0])
def test_files_give_a_value_or_the_documented_error(file_parser: tuple, tmp_path: Path):
    _, read, refusals, seeds = file_parser
    parse = from_file(read, tmp_path)

    @A_FEW
    @given(content=mutated(seeds))
    def holds(content: bytes) -> None:
        refuses_or_parses(parse, refusals, content)

    for seed in seeds:
        refuses_or_parses(parse, refusals, seed)
    holds()


def refuses_or_parses(parse: Callable[[bytes], Any], refusals: Any, content: bytes) -> None:
    """Any error that the parser does not document fails the test."""
    with suppress(refusals):
        parse(content)


@pytest.mark.parametrize(
    ("kind", "der", "parse"),
    [
        ("X509 CRL", crl(), lambda path: parse_crls(path.read_bytes())),
        ("CERTIFICATE REQUEST", request(), names_of),
        ("CERTIFICATE", certificate(), names_and_chain),
    ],
)
def test_changed_der_gives_a_value_or_a_value_error(kind: str, der: bytes, parse: Any, tmp_path):
    """Each byte of the extensions' object identifiers, 2.5.29.x, becomes each of the others'."""
    read = from_file(parse, tmp_path)
    places = [at + 2 for at in range(len(der)) if der[at : at + 2] == b"\x55\x1d"]
    assert len(places) >= 2
    for at in places:
        for number in {der[place] for place in places}:
            changed = der[:at] + bytes([number]) + der[at + 1 :]
            refuses_or_parses(read, (ValueError, OperatorError), pem(kind, changed))
