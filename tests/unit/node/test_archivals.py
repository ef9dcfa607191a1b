"""Which jobs an archived key does not do."""

import pytest

from custody.node.archivals import needs_unarchived_key
from custody.wire.jobs import Endpoint, JobKind
from tests.unit.node.requests import complete, job_around

OTHERS = {
    Endpoint.WALLETS,
    Endpoint.KEYS,
    Endpoint.DERIVATIONS,
    Endpoint.REFRESHES,
    Endpoint.REPAIRS,
    Endpoint.IMPORTS,
    Endpoint.ARCHIVALS,
    Endpoint.UNARCHIVALS,
}


@pytest.mark.parametrize("endpoint", list(Endpoint))
def test_an_archived_key_does_nothing_but_a_list_of_requests(endpoint: Endpoint):
    """Not those of endpoints that are added here: a copy of a key would sign under another id."""
    job = job_around(complete(), kind=JobKind.APPROVE.value, endpoint=endpoint)
    assert needs_unarchived_key(job) is (endpoint not in OTHERS)


@pytest.mark.parametrize(
    ("kind", "endpoint", "needed"),
    [
        (JobKind.SIGN, Endpoint.SIGNATURES, True),
        (JobKind.SIGN, Endpoint.REFRESHES, True),
        (JobKind.APPROVE, Endpoint.SIGNATURES, True),
        (JobKind.APPROVE, Endpoint.UNARCHIVALS, False),
        (JobKind.APPROVE, Endpoint.REFRESHES, False),
        (JobKind.APPROVE, Endpoint.COPIES, True),
        (JobKind.DEAL_SHARES, Endpoint.COPIES, True),
        (JobKind.PROVE_KEY, Endpoint.REFRESHES, False),
        (JobKind.UNARCHIVE_KEY, Endpoint.UNARCHIVALS, False),
    ],
)
def test_a_signature_needs_a_key_that_is_not_archived(
    kind: JobKind, endpoint: Endpoint, needed: bool
):
    job = job_around(complete(), kind=kind.value, endpoint=endpoint)
    assert needs_unarchived_key(job) is needed
