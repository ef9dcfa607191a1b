"""The faults of an S3 server, each with what an operator can do about it."""

from enum import StrEnum


class FaultKind(StrEnum):
    """Stable names, for metrics and tests."""

    UNREACHABLE = "unreachable"
    """No connection, or the connection ended before an answer."""
    TIMEOUT = "timeout"
    """No answer in time."""
    TLS = "tls"
    """The endpoint's certificate does not hold."""
    DENIED = "denied"
    """403: the policy or the credentials do not allow it."""
    CLOCK = "clock"
    """403: this host's clock differs too much from the server's."""
    NO_BUCKET = "no_bucket"
    BUSY = "busy"
    """5xx, 429 or 409: the server asks for a later attempt."""
    UNPROVED = "unproved"
    """The answer does not show that the object was stored."""
    TOO_LARGE = "too_large"
    """The answer is larger than what this program stores."""
    REJECTED = "rejected"
    """Another refusal of the server."""
    CREDENTIALS = "credentials"
    """The file of the credentials cannot be used."""


TODO = {
    FaultKind.UNREACHABLE: "Check the endpoint, DNS and the firewall of this host.",
    FaultKind.TIMEOUT: "Check the endpoint and the network, or raise timeout_seconds.",
    FaultKind.TLS: "Name the root of the endpoint's certificate as ca, or correct the endpoint.",
    FaultKind.DENIED: "Check the credentials, the bucket's policy and the prefix.",
    FaultKind.CLOCK: "Set this host's clock by NTP.",
    FaultKind.NO_BUCKET: "Create the bucket, or correct bucket, region and endpoint.",
    FaultKind.BUSY: "Wait: it is tried again. If it stays, ask the operator of the S3 server.",
    FaultKind.UNPROVED: "Check what answers at the endpoint: a proxy may answer in its place.",
    FaultKind.TOO_LARGE: "Check what answers at the endpoint, and who else writes to the bucket.",
    FaultKind.REJECTED: "See the server's message.",
    FaultKind.CREDENTIALS: "Correct the file of the credentials.",
}

_CLOCK_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_BUSY_STATUS = frozenset({409, 429})


class S3Fault(Exception):
    """An operation that was not done, or that nobody knows to be done. ``what`` has no secret."""

    def __init__(
        self, kind: FaultKind, what: str, code: str | None = None, todo: str | None = None
    ) -> None:
        """``todo``: what to do about this fault, if that is more exact than for its kind."""
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.code = code
        """The server's own code, where it gave one."""
        self.todo = todo or TODO[kind]


def fault_of_answer(status: int, code: str, operation: str, where: str) -> S3Fault:
    """Return the fault that an error answer is about.

    The server's message is left out: it may repeat the signed request and the access key.
    """
    kind = _kind(status, code)
    return S3Fault(kind, f"{where} answered {operation} with {status} {code}", code)


def _kind(status: int, code: str) -> FaultKind:
    if code in _CLOCK_CODES:
        return FaultKind.CLOCK
    if code == "NoSuchBucket":
        return FaultKind.NO_BUCKET
    if status >= 500 or status in _BUSY_STATUS:
        return FaultKind.BUSY
    if status in (401, 403):
        return FaultKind.DENIED
    return FaultKind.REJECTED
