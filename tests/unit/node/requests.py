"""Sign jobs around an application's request, signed or not."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.algorithms import Curve, Network, Scheme, Store
from custody.wire.encoding import Model
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.requests import SignMessage
from custody.wire.signed_bytes import SigningKey
from custody.wire.signed_requests import parse_header, sign_request
from tests.made_up_keys import made_up_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APPLICATION = SigningKey(Ed25519PrivateKey.generate())
KEY = KeyReference(
    id=uuid4(),
    scheme=Scheme.ECDSA,
    curve=Curve.SECP256K1,
    network=Network.ETHEREUM,
    public_key=made_up_key(),
)


def complete(**changes: object) -> SignMessage:
    """A request that says all that a signed one must."""
    fields = {
        "kind": "Message",
        "message": "hello",
        "external_id": "payment-1",
        "expires_at": NOW + timedelta(minutes=5),
        "key_id": KEY.id,
        "store": Store.HSM,
    }
    return SignMessage(**(fields | changes))


def job_around(request: Model | bytes, **changes: object) -> Job:
    body = request if isinstance(request, bytes) else request.model_dump_json().encode()
    fields = {
        "id": uuid4(),
        "kind": JobKind.SIGN.value,
        "group": "hsm",
        "key": KEY,
        "endpoint": Endpoint.SIGNATURES,
        "request": body,
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=5),
    }
    return Job(**(fields | changes))


def signed(job: Job, signer: SigningKey = APPLICATION, endpoint: Endpoint | None = None) -> Job:
    """The job with an application's signature of its request."""
    header = sign_request(signer, endpoint or job.endpoint, job.request)
    return job.model_copy(update={"request_signature": parse_header(header)})
