"""What an application wants of a node, read from its own bytes in the job."""

from pydantic import ValidationError

from node.decisions import Denied
from wire.algorithms import Algorithm, Network
from wire.digests import NotSignable, digest_of
from wire.jobs import Endpoint, Job
from wire.requests import CREATE_SIGNATURE, CreateKey, CreateWallet, SignHash, SignMessage


def wanted_key(job: Job) -> tuple[Algorithm, Network | None]:
    """What the application asked for. Raises Denied when the job says something else."""
    if job.key.public_key is not None:
        raise Denied("malformed_job", "a GenerateKey job has no public key")
    try:
        network: Network | None = None
        if job.endpoint is Endpoint.WALLETS:
            wallet = CreateWallet.model_validate_json(job.request)
            algorithm, network = wallet.algorithm, wallet.network
        else:
            algorithm = CreateKey.model_validate_json(job.request).algorithm
    except ValidationError as error:
        raise Denied(
            "malformed_request", f"the request has {error.error_count()} malformed fields"
        ) from None
    if (algorithm, network) != (job.key.algorithm, job.key.network):
        raise Denied("request_mismatch", "the job is not for the key that the request asks for")
    return algorithm, network


def wanted_signature(job: Job) -> tuple[SignHash | SignMessage, bytes | None]:
    """The request and its digest. Raises Denied when they make no sense for the key."""
    if job.endpoint is not Endpoint.SIGNATURES:
        raise Denied("malformed_job", f"a Sign job has no request to {job.endpoint.value}")
    try:
        request = CREATE_SIGNATURE.validate_json(job.request)
        key = job.key
        return request, digest_of(request, key.algorithm, key.network, key.public_key)
    except ValidationError as error:
        raise Denied(
            "malformed_request", f"the request has {error.error_count()} malformed fields"
        ) from None
    except NotSignable as error:
        raise Denied("not_signable", str(error)) from None


def signed_bytes(request: SignHash | SignMessage, digest: bytes | None) -> bytes:
    """What is signed with the key: the digest, or the message that Ed25519 hashes itself."""
    if digest is not None:
        return digest
    assert isinstance(request, SignMessage)  # digest_of refuses a Hash for Ed25519
    return request.content
