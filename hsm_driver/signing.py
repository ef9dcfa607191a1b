"""Jobs of kind Sign."""

from pydantic import ValidationError

from hsm_driver.vault import Vault
from node.decisions import Denied, Failed
from node.handlers import Handled, Work
from wire.digests import NotSignable, digest_of
from wire.jobs import Endpoint, Job
from wire.outcomes import MadeSignature
from wire.requests import CREATE_SIGNATURE, SignHash, SignMessage
from wire.signatures import BadSignature, finish


class Sign:
    """Signs with a stored key. The digest is computed here, from the application's own bytes."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def handle(self, work: Work) -> Handled:
        job = work.job
        request, digest = _wanted(job)
        key = await self._vault.find_for(job.key)
        raw = await self._vault.sign(key, _signed_bytes(request, digest))
        try:
            signature = finish(raw, key.public_key, key.algorithm, job.key.network, request, digest)
        except BadSignature as error:
            raise Failed("bad_signature", f"made, but not released: {error}") from None
        return Handled(
            result=MadeSignature(digest=digest, signature=signature),
            audit={
                "public_key": key.public_key.hex(),
                "request_kind": request.kind,
                "digest": digest.hex() if digest is not None else None,
            },
        )


def _wanted(job: Job) -> tuple[SignHash | SignMessage, bytes | None]:
    """The request and its digest. Raises Denied when they make no sense for the key."""
    if job.endpoint is not Endpoint.SIGNATURES:
        raise Denied("malformed_job", f"a Sign job has no request to {job.endpoint.value}")
    try:
        request = CREATE_SIGNATURE.validate_json(job.request)
        return request, digest_of(request, job.key.algorithm, job.key.network)
    except ValidationError as error:
        raise Denied(
            "malformed_request", f"the request has {error.error_count()} malformed fields"
        ) from None
    except NotSignable as error:
        raise Denied("not_signable", str(error)) from None


def _signed_bytes(request: SignHash | SignMessage, digest: bytes | None) -> bytes:
    """What the HSM gets: ECDSA's digest, or the message that Ed25519 hashes itself."""
    if digest is not None:
        return digest
    assert isinstance(request, SignMessage)  # digest_of refuses a Hash for Ed25519
    return request.content
