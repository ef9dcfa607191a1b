"""While the job-signing key is replaced, a node believes jobs and tickets under both keys."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.authentication import Authenticator
from custody.node.errors import Refused
from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.node_api import ClaimedJob
from custody.wire.signed_bytes import DELIVERY_TICKET_TYPE, JOB_TYPE, PinnedKeys, SigningKey
from tests.made_up_keys import made_up_key

OLD, NEW, STOLEN = (SigningKey(Ed25519PrivateKey.generate()) for _ in range(3))
NOW = datetime.now(UTC)


def claimed(job_by: SigningKey, ticket_by: SigningKey) -> ClaimedJob:
    job = Job(
        id=uuid4(),
        kind=JobKind.SIGN,
        group="hsm",
        key=KeyReference(
            id=uuid4(),
            scheme=ECDSA_SECP256K1.scheme,
            curve=ECDSA_SECP256K1.curve,
            network=None,
            public_key=made_up_key(ECDSA_SECP256K1),
        ),
        endpoint=Endpoint.SIGNATURES,
        request=b"{}",
        created_at=NOW,
        expires_at=NOW + timedelta(minutes=15),
    )
    ticket = DeliveryTicket(
        meeting=uuid4(),
        participants=["signer-1", "signer-2"],
        delivery="delivery-1",
        message_bytes=1,
        held_bytes=1,
        expires_at=NOW,
    )
    return ClaimedJob(
        job_id=job.id,
        job=job_by.sign(JOB_TYPE, job.model_dump_json().encode()),
        attempt=1,
        lease=uuid4(),
        lease_seconds=30,
        delivery_ticket=ticket_by.sign(DELIVERY_TICKET_TYPE, ticket.model_dump_json().encode()),
    )


def node(*pinned: SigningKey) -> Authenticator:
    keys = PinnedKeys([key.public_key for key in pinned])
    assert keys.ids == tuple(key.key_id for key in pinned)
    return Authenticator(keys, "hsm", frozenset({JobKind.SIGN.value}))


@pytest.mark.parametrize("job_by", [OLD, NEW])
@pytest.mark.parametrize("ticket_by", [OLD, NEW])
def test_both_keys_are_believed_of_jobs_and_tickets_alike(
    job_by: SigningKey, ticket_by: SigningKey
):
    """A replica that was switched gives out tickets for a job that was signed before."""
    work = node(OLD, NEW).open(claimed(job_by, ticket_by))
    assert work.delivery_ticket is not None


@pytest.mark.parametrize("by", [(OLD, NEW), (NEW, OLD), (STOLEN, NEW), (NEW, STOLEN)])
def test_a_key_that_was_unpinned_is_refused(by: tuple[SigningKey, SigningKey]):
    with pytest.raises(Refused, match="not pinned"):
        node(NEW).open(claimed(*by))
