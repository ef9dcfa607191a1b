"""A bucket: one operation, one request. Blocking: call it in a thread.

botocore signs (SigV4) and sends. Its retries, its environment variables, its configuration files,
its proxies and its search for credentials are off. The caller decides when to send the same bytes
again.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from custody.runtime.errors import ConfigurationError
from custody.runtime.live_tls import LiveTls
from custody.s3.credentials import Credentials, credentials_path, read_credentials
from custody.s3.faults import FaultKind, S3Fault, fault_of_answer
from custody.s3.settings import S3Section

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT_TYPE = "application/octet-stream"
PRECONDITION_FAILED = 412
MAX_OBJECT_BYTES = 1 << 20
"""Limit of one read. The objects that a program reads back have a few KiB."""
MAX_PAGES = 10_000
"""Limit of one listing, at 1000 names a page. A hostile server could send pages without end."""
MAX_NAMES = 2_000_000
"""Limit of one listing. A hostile server could send more than 1000 names a page."""
FileIdentity = tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """An object that the bucket has. ``is_new``: this call put it. ``version``: its version id."""

    is_new: bool
    version: str | None = None


class Bucket:
    """Thread-safe. Credentials are read again after their file has changed.

    A daemon gives ``tls`` to its CertificateWatch, which reads the roots and CRLs again.
    """

    def __init__(self, settings: S3Section) -> None:
        """Raise ConfigurationError if the files of ``ca`` and ``crl`` cannot be used."""
        self.settings = settings
        self.tls = None if settings.tls is None else LiveTls(settings.tls)
        self._lock = threading.Lock()
        self._client: tuple[FileIdentity, Any] | None = None

    def put_new(self, name: str, content: bytes) -> Stored:
        """Put an object under a name that is free. Raise S3Fault if it may not be stored.

        412 says that the name is taken. Where the name contains the hash of the content, an
        earlier put of the same bytes has arrived.
        """
        return self._put(name, content, {"IfNoneMatch": "*"})

    def overwrite(self, name: str, content: bytes) -> Stored:
        """Put an object whether its name is free or not. Only checks of a bucket do this."""
        return self._put(name, content, {})

    def get(self, name: str) -> bytes:
        """Return an object's content. Raise S3Fault, also if it is missing or too large."""
        with self._faults("get_object"):
            answer = self._connected().get_object(Bucket=self.settings.bucket, Key=name)
            with contextlib.closing(answer["Body"]) as body:
                content = bytearray()
                # botocore compares the length with the head when a read finds the end.
                while chunk := body.read(MAX_OBJECT_BYTES + 1 - len(content)):
                    content += chunk
                    if len(content) > MAX_OBJECT_BYTES:
                        raise S3Fault(
                            FaultKind.TOO_LARGE,
                            f"the object {name} has more than {MAX_OBJECT_BYTES} bytes",
                        )
            return bytes(content)

    def names(self) -> list[str]:
        """Return the names of all objects below the prefix. Raise S3Fault."""
        names: list[str] = []
        page: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            answer = self.call("list_objects_v2", Prefix=self.settings.prefix, **page)
            names += [found["Key"] for found in answer.get("Contents", ())]
            if len(names) > MAX_NAMES:
                raise S3Fault(
                    FaultKind.TOO_LARGE,
                    f"the list of {self.settings.place} has more than {MAX_NAMES} names",
                )
            if not answer.get("IsTruncated"):
                return names
            page = {"ContinuationToken": answer.get("NextContinuationToken", "")}
        raise S3Fault(
            FaultKind.TOO_LARGE,
            f"the list of {self.settings.place} has more than {MAX_PAGES} pages",
        )

    def call(self, operation: str, **parameters: Any) -> Any:
        """Return the answer of another operation on this bucket. Raise S3Fault."""
        with self._faults(operation):
            method = getattr(self._connected(), operation)
            return method(Bucket=self.settings.bucket, **parameters)

    def _put(self, name: str, content: bytes, condition: Mapping[str, str]) -> Stored:
        checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
        try:
            answer = self.call(
                "put_object",
                Key=name,
                Body=content,
                ContentType=CONTENT_TYPE,
                ChecksumSHA256=checksum,
                **condition,
            )
        except _NameTaken:
            return Stored(is_new=False)
        if not _proves(answer, content, checksum):
            raise S3Fault(
                FaultKind.UNPROVED,
                f"{self.settings.endpoint} answered a put with success, but with neither the "
                "checksum nor the ETag of the object",
            )
        return Stored(is_new=True, version=answer.get("VersionId"))

    @contextlib.contextmanager
    def _faults(self, operation: str) -> Iterator[None]:
        """Turn the errors of botocore into S3Fault."""
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        where = self.settings.endpoint
        try:
            yield
        except ConfigurationError as error:
            raise S3Fault(FaultKind.CREDENTIALS, error.what, todo=error.todo) from None
        except exceptions.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(error.response.get("Error", {}).get("Code", "without a code"))
            if status == PRECONDITION_FAILED and operation == "put_object":
                raise _NameTaken from None
            raise fault_of_answer(status, code, operation, where) from None
        except exceptions.SSLError as error:
            raise S3Fault(FaultKind.TLS, f"no TLS connection to {where}: {error}") from None
        except (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError):
            raise S3Fault(FaultKind.TIMEOUT, f"{where} did not answer in time") from None
        except (
            exceptions.ConnectionError,
            exceptions.HTTPClientError,
            ResponseParserError,
        ) as error:
            what = f"{where} cannot be reached: {type(error).__name__}"
            raise S3Fault(FaultKind.UNREACHABLE, what) from None
        except exceptions.BotoCoreError as error:
            what = f"the request to {where} cannot be made: {type(error).__name__}"
            raise S3Fault(FaultKind.REJECTED, what) from None

    def _connected(self) -> Any:
        """Return botocore's client for the present credentials."""
        with self._lock:
            identity = _identity(self.settings)
            if self.tls is not None:
                identity += (self.tls.generation,)
            if self._client is None or self._client[0] != identity:
                credentials = read_credentials(self.settings)
                self._client = identity, _new_client(self.settings, credentials, self.tls)
            return self._client[1]


class _NameTaken(Exception):
    """412: there is an object of this name."""


def _proves(answer: Mapping[str, Any], content: bytes, checksum: str) -> bool:
    """Return whether an answer to a put repeats the checksum, or has the MD5 as its ETag.

    S3 repeats the checksum that the request had. A server that knows no checksums gives the MD5.
    A proxy that answers by itself knows neither.
    """
    if "ChecksumSHA256" in answer:
        return bool(answer["ChecksumSHA256"] == checksum)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return bool(answer.get("ETag", "").strip('"') == md5)


def _identity(settings: S3Section) -> FileIdentity:
    """Return what changes when the file of the credentials does. Raise ConfigurationError."""
    path = credentials_path(settings)
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the credentials of the S3 bucket from {path}: {error.strerror}",
            "Create the file for this user alone (chmod 600), or correct the configuration.",
        ) from None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _new_client(settings: S3Section, credentials: Credentials, tls: LiveTls | None) -> Any:
    from botocore.config import Config
    from botocore.session import Session

    from custody.s3.limited_session import LimitedSession

    session = Session(
        session_vars={
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
            "profile": (None, None, None, None),
        },
        include_builtin_handlers=True,
    )
    timeouts = settings.connect_timeout_seconds, settings.timeout_seconds
    client = session.create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        verify=True,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        config=Config(
            signature_version="s3v4",
            connect_timeout=timeouts[0],
            read_timeout=timeouts[1],
            retries={"total_max_attempts": 1, "mode": "standard"},
            proxies={},
            request_checksum_calculation="when_required",  # the caller gives the checksum
            response_checksum_validation="when_required",
            s3={"addressing_style": settings.addressing, "payload_signing_enabled": True},
        ),
    )
    limited = LimitedSession(tls, timeouts)
    client.meta.events.register("before-send.s3", lambda request, **_: limited.send(request))
    return client
