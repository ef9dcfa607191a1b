"""What a put says it has done, against a real S3 server and behind a faulty connection."""

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from botocore import auth

from custody.s3 import bucket as bucket_module
from custody.s3 import limited_session
from custody.s3.bucket import Bucket
from custody.s3.faults import FaultKind, S3Fault
from custody.s3.settings import S3Section
from devstack.certificates import Certificates
from devstack.s3 import S3Server, credentials_text
from tests import faulty_s3
from tests.faulty_s3 import Answer, FaultyS3, Request
from tests.integration.tls.conftest import expire, watch, write_crl

CONTENT = b"what the customer can decrypt" * 1000


@dataclasses.dataclass
class Customers:
    """A bucket where the user may put below its prefix."""

    server: S3Server
    bucket: str
    section: dict[str, Any]

    def client(self, **changes: Any) -> Bucket:
        return Bucket(S3Section.model_validate(self.section | changes))

    def content(self, name: str) -> bytes:
        return self.server.read(self.bucket, name)


@pytest.fixture
def customers(s3_server: S3Server, tmp_path: Path) -> Customers:
    user, bucket = f"signer-{uuid4().hex}", f"copies-{uuid4().hex[:12]}"
    s3_server.add_user(user, tmp_path / "credentials")
    s3_server.create_bucket(bucket, {user: "signer-1/"})
    section = dict(s3_server.section(bucket, "signer-1/", tmp_path / "credentials"))
    return Customers(s3_server, bucket, section)


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultyS3]:
    proxy = FaultyS3(s3_server.leaf, s3_server.port)
    yield proxy
    proxy.close()


def fault(bucket: Bucket, name: str = "signer-1/a") -> S3Fault:
    with pytest.raises(S3Fault) as raised:
        bucket.put_new(name, CONTENT)
    return raised.value


def test_the_second_put_finds_what_the_first_has_stored(customers: Customers) -> None:
    bucket = customers.client()
    first, second = (bucket.put_new("signer-1/a", CONTENT) for _ in range(2))
    assert (first.is_new, second.is_new) == (True, False)
    assert first.version is not None
    assert customers.content("signer-1/a") == CONTENT


@pytest.mark.parametrize(
    ("answer", "kind", "is_stored"),
    [
        (faulty_s3.empty_success, FaultKind.UNPROVED, False),
        (faulty_s3.cut_before_the_server, FaultKind.UNREACHABLE, False),
        (faulty_s3.cut_after_the_server, FaultKind.UNREACHABLE, True),
        (faulty_s3.error(503, "SlowDown"), FaultKind.BUSY, False),
    ],
)
def test_a_fault_is_named_and_a_retry_of_the_same_bytes_ends_it(
    customers: Customers, proxy: FaultyS3, answer: Answer, kind: FaultKind, is_stored: bool
) -> None:
    bucket = customers.client(endpoint=proxy.endpoint)
    proxy.answer = answer
    assert fault(bucket).kind is kind
    assert len(proxy.requests) == 1  # botocore does not retry by itself
    proxy.answer = faulty_s3.honest
    assert bucket.put_new("signer-1/a", CONTENT).is_new is not is_stored
    assert customers.content("signer-1/a") == CONTENT
    assert [request.body for request in proxy.requests] == [CONTENT, CONTENT]


def test_a_server_that_does_not_answer_in_time(customers: Customers, proxy: FaultyS3) -> None:
    bucket = customers.client(endpoint=proxy.endpoint, timeout_seconds=0.3)
    proxy.answer = proxy.slow
    assert fault(bucket).kind is FaultKind.TIMEOUT
    proxy.answer = faulty_s3.honest
    assert not bucket.put_new("signer-1/a", CONTENT).is_new


@pytest.mark.parametrize("part", ["head", "content"])
@pytest.mark.parametrize("is_object", [True, False], ids=["object", "list"])
def test_an_answer_that_drips_ends(
    part: str,
    is_object: bool,
    customers: Customers,
    proxy: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every byte comes in time, and all of them would take much longer than the limit."""
    monkeypatch.setattr(limited_session, "MAX_WAITS", 1)
    bucket = customers.client(endpoint=proxy.endpoint, timeout_seconds=1)
    body = b"<ListBucketResult></ListBucketResult>".ljust(300)
    proxy.answer = faulty_s3.content(body)
    proxy.at_once = len(proxy.answer(Request(b"", b""), bytes)) - len(body)
    if part == "head":
        proxy.at_once = 0
    with pytest.raises(S3Fault) as raised:
        _ = bucket.get("signer-1/a") if is_object else bucket.names()
    assert raised.value.kind is FaultKind.TIMEOUT


def test_what_the_policy_and_the_server_refuse(customers: Customers, tmp_path: Path) -> None:
    assert fault(customers.client(), "signer-2/a").kind is FaultKind.DENIED
    assert fault(customers.client(bucket="another-bucket")).kind is FaultKind.NO_BUCKET
    wrong = tmp_path / "wrong"
    wrong.write_text(credentials_text("nobody", "no-secret"))
    wrong.chmod(0o600)
    found = fault(customers.client(credentials_file=wrong))
    assert found.kind is FaultKind.DENIED
    assert found.code == "InvalidAccessKeyId"
    assert "no-secret" not in str(found)


def test_a_file_of_credentials_that_cannot_be_used_says_what_to_do(
    customers: Customers, tmp_path: Path
) -> None:
    file = tmp_path / "wrong"
    found = fault(customers.client(credentials_file=file))
    assert found.kind is FaultKind.CREDENTIALS
    assert "Create the file" in found.todo
    file.write_text("[default]\naws_access_key_id = a\n")
    file.chmod(0o644)
    assert fault(customers.client(credentials_file=file)).todo == f"chmod 600 {file}"
    file.chmod(0o600)
    assert "aws_secret_access_key = ..." in fault(customers.client(credentials_file=file)).todo


def test_a_clock_that_is_an_hour_off(customers: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    right = auth.get_current_datetime
    monkeypatch.setattr(
        auth, "get_current_datetime", lambda *given: right(*given) + timedelta(hours=1)
    )
    found = fault(customers.client())
    assert found.kind is FaultKind.CLOCK
    assert "NTP" in found.todo


def test_an_endpoint_whose_certificate_does_not_hold(customers: Customers) -> None:
    assert fault(customers.client(ca=None)).kind is FaultKind.TLS


def test_an_endpoint_where_nothing_listens(customers: Customers) -> None:
    assert fault(customers.client(endpoint="https://127.0.0.1:1")).kind is FaultKind.UNREACHABLE


def test_new_credentials_are_taken_up_without_a_restart(
    customers: Customers, s3_server: S3Server, tmp_path: Path
) -> None:
    bucket = customers.client()
    bucket.put_new("signer-1/a", CONTENT)
    file = tmp_path / "credentials"
    right = file.read_text()
    file.write_text(credentials_text("nobody", "no-secret"))
    assert fault(bucket, "signer-1/b").kind is FaultKind.DENIED
    file.write_text(right)
    assert bucket.put_new("signer-1/b", CONTENT).is_new
    file.unlink()
    assert fault(bucket, "signer-1/c").kind is FaultKind.CREDENTIALS


def test_the_environment_changes_nothing(
    customers: Customers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Variables of the AWS tools would send copies elsewhere, or with other credentials."""
    (tmp_path / "config").write_text("[profile other]\nregion = nowhere\n")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "another",
        "AWS_SECRET_ACCESS_KEY": "another",
        "AWS_PROFILE": "absent",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL": "https://127.0.0.1:1",
        "AWS_MAX_ATTEMPTS": "5",
        "HTTPS_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    assert customers.client().put_new("signer-1/a", CONTENT).is_new


def test_an_object_is_read_up_to_a_limit(
    customers: Customers, proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is not trusted: it could send more than this host's memory."""
    monkeypatch.setattr(bucket_module, "MAX_OBJECT_BYTES", 1000)
    bucket = customers.client(endpoint=proxy.endpoint)
    proxy.answer = faulty_s3.content(b"x" * 1000)
    assert bucket.get("signer-1/a") == b"x" * 1000
    proxy.answer = faulty_s3.content(b"x" * 1001)
    with pytest.raises(S3Fault, match="more than 1000 bytes") as raised:
        bucket.get("signer-1/a")
    assert raised.value.kind is FaultKind.TOO_LARGE
    proxy.answer = faulty_s3.content(b"x" * 500, size=1000)
    with pytest.raises(S3Fault):  # cut in the middle
        bucket.get("signer-1/a")


def test_a_list_without_end_ends(
    customers: Customers, proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "MAX_PAGES", 3)
    proxy.answer = faulty_s3.content(
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>next</NextContinuationToken></ListBucketResult>"
    )
    with pytest.raises(S3Fault, match="more than 3 pages") as raised:
        customers.client(endpoint=proxy.endpoint).names()
    assert raised.value.kind is FaultKind.TOO_LARGE
    assert len(proxy.requests) == 3


def test_a_list_with_very_long_pages_ends(
    customers: Customers, proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_module, "MAX_NAMES", 3)
    named = b"<Contents><Key>signer-1/a</Key></Contents>" * 4
    proxy.answer = faulty_s3.content(b"<ListBucketResult>" + named + b"</ListBucketResult>")
    with pytest.raises(S3Fault, match="more than 3 names") as raised:
        customers.client(endpoint=proxy.endpoint).names()
    assert raised.value.kind is FaultKind.TOO_LARGE


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
@pytest.mark.parametrize("is_object", [True, False], ids=["object", "list"])
def test_an_answer_that_is_too_large_is_not_kept(
    status: str,
    is_object: bool,
    customers: Customers,
    proxy: FaultyS3,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """botocore reads every answer but an object as a whole, and the answers with errors too."""
    monkeypatch.setattr(limited_session, "MAX_ANSWER", 1000)
    monkeypatch.setattr(bucket_module, "MAX_OBJECT_BYTES", 1000)
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode()
    proxy.answer = lambda _, __: head + b"<" * 100_000
    bucket = customers.client(endpoint=proxy.endpoint)
    with pytest.raises(S3Fault, match="more than 1000 bytes") as raised:
        _ = bucket.get("signer-1/a") if is_object else bucket.names()
    assert raised.value.kind is FaultKind.TOO_LARGE


def test_an_answer_that_is_cut_off_while_it_is_read_is_a_fault(
    customers: Customers, proxy: FaultyS3
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    proxy.answer = lambda _, __: head + b"ffff\r\n<ListBucketResult>"
    with pytest.raises(S3Fault) as raised:
        customers.client(endpoint=proxy.endpoint).names()
    assert raised.value.kind is FaultKind.UNREACHABLE


async def test_a_revoked_endpoint_is_refused_from_the_next_request_on(
    customers: Customers, s3_server: S3Server, tmp_path: Path
):
    pki = Certificates.existing(s3_server.leaf.ca.parents[2])
    crl = tmp_path / "crl.pem"
    write_crl(crl, pki)
    bucket = customers.client(crl=crl)
    assert bucket.tls is not None
    assert bucket.put_new("signer-1/before", CONTENT).is_new
    write_crl(crl, pki, [s3_server.leaf], number=2)
    await watch(bucket.tls).refresh()
    assert fault(bucket).kind is FaultKind.TLS
    write_crl(crl, pki, number=3)
    await watch(bucket.tls).refresh()
    assert bucket.put_new("signer-1/after", CONTENT).is_new


async def test_an_expired_list_ends_a_kept_connection(
    customers: Customers, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    crl = tmp_path / "crl.pem"
    write_crl(crl, Certificates.existing(s3_server.leaf.ca.parents[2]))
    bucket = customers.client(crl=crl)
    assert bucket.tls is not None
    assert bucket.put_new("signer-1/before", CONTENT).is_new
    expire(bucket.tls, monkeypatch)
    assert fault(bucket).kind is FaultKind.TLS


def test_a_crl_needs_its_root(customers: Customers):
    with pytest.raises(ValueError, match="crl needs ca"):
        S3Section.model_validate(customers.section | {"ca": None, "crl": "crl.pem"})
