"""The kinds of an S3 server's error answers."""

import pytest

from custody.s3.faults import TODO, FaultKind, fault_of_answer


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", FaultKind.DENIED),
        (403, "SignatureDoesNotMatch", FaultKind.DENIED),
        (403, "RequestTimeTooSkewed", FaultKind.CLOCK),
        (404, "NoSuchBucket", FaultKind.NO_BUCKET),
        (409, "ConditionalRequestConflict", FaultKind.BUSY),
        (429, "TooManyRequests", FaultKind.BUSY),
        (500, "InternalError", FaultKind.BUSY),
        (503, "SlowDown", FaultKind.BUSY),
        (400, "EntityTooLarge", FaultKind.REJECTED),
    ],
)
def test_kinds_of_answers(status: int, code: str, kind: FaultKind) -> None:
    found = fault_of_answer(status, code, "put_object", "https://s3.example.com")
    assert found.kind is kind
    assert str(found) == f"https://s3.example.com answered put_object with {status} {code}"


def test_every_kind_says_what_to_do() -> None:
    assert set(TODO) == set(FaultKind)
