"""Which jobs an archived key does not do."""

import pytest

from custody.node.archivals import needs_unarchived_key
from custody.wire.jobs import Endpoint, JobKind
from tests.unit.node.requests import complete, job_around


@pytest.mark.parametrize(
    ("kind", "endpoint", "needed"),
    [
        (JobKind.SIGN, Endpoint.SIGNATURES, True),
        (JobKind.SIGN, Endpoint.REFRESHES, True),
        (JobKind.APPROVE, Endpoint.SIGNATURES, True),
        (JobKind.APPROVE, Endpoint.UNARCHIVALS, False),
        (JobKind.APPROVE, Endpoint.REFRESHES, False),
        (JobKind.PROVE_KEY, Endpoint.REFRESHES, False),
        (JobKind.UNARCHIVE_KEY, Endpoint.UNARCHIVALS, False),
    ],
)
def test_a_signature_needs_a_key_that_is_not_archived(
    kind: JobKind, endpoint: Endpoint, needed: bool
):
    job = job_around(complete(), kind=kind.value, endpoint=endpoint)
    assert needs_unarchived_key(job) is needed
