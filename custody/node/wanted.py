"""The application's request to a node, read from its own bytes in the job."""

from dataclasses import dataclass

from custody.node.errors import Denied
from custody.node.handlers import Work
from custody.node.signed_requests import read_binding, read_request
from custody.wire.algorithms import Algorithm, Network
from custody.wire.digests import NotSignable, digest_of
from custody.wire.imports import ImportedKey
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders
from custody.wire.mistakable import require_signable
from custody.wire.requests import (
    CREATE_SIGNATURE,
    CopyKey,
    CreateImport,
    CreateKey,
    CreateWallet,
    SignHash,
    SignRequest,
)
from custody.wire.statements import MadeFor


@dataclass(frozen=True)
class WantedKey:
    """``signer_group``: the signers that are to hold it, in MPC mode.

    ``imported``: the application's key that an ImportKey job takes in; null if one is generated.
    """

    algorithm: Algorithm
    network: Network | None
    signer_group: str | None
    imported: ImportedKey | None = None


def wanted_key(job: Job) -> WantedKey:
    """Return the key that the application asked for. Raise Denied if the job contradicts it."""
    if job.key.public_key is not None:
        raise Denied("malformed_job", f"the key of a {job.kind} job has no public key")
    if job.request_id != job.key.id:
        raise Denied("malformed_job", "the request for a new key has the id of that key")
    body: CreateWallet | CreateKey
    if job.endpoint is Endpoint.WALLETS:
        body = read_request(job, CreateWallet.model_validate_json)
    else:
        body = read_request(job, CreateKey.model_validate_json)
    network = body.network if isinstance(body, CreateWallet) else None
    if (body.algorithm, network) != (job.key.algorithm, job.key.network):
        raise Denied("request_mismatch", "the job is not for the key that the request asks for")
    if (body.imported is not None) != (job.kind == JobKind.IMPORT_KEY):
        asks = "does not import a key" if body.imported is None else "imports a key"
        raise Denied("request_mismatch", f"the request of this {job.kind} job {asks}")
    return WantedKey(body.algorithm, network, body.signer_group, body.imported)


def wanted_import(job: Job) -> CreateImport:
    """Return the import that the application asked for. Raise Denied if the job contradicts it."""
    if job.key.public_key is not None or job.key.network is not None:
        raise Denied("malformed_job", "the key of a PrepareImport job has no public key or network")
    if job.endpoint is not Endpoint.IMPORTS or job.request_id != job.key.id:
        raise Denied("malformed_job", "a PrepareImport job has a request for that import")
    body = read_request(job, CreateImport.model_validate_json)
    if body.algorithm != job.key.algorithm:
        raise Denied("request_mismatch", "the job is not for the key that the request asks for")
    return body


@dataclass(frozen=True)
class WantedCopy:
    """``holders``: the group that will hold the copy.

    ``held_by``: the group that holds the key, as the request says; null if it does not say so.
    """

    holders: KeyHolders
    held_by: KeyHolders | None


def wanted_copy(job: Job) -> WantedCopy:
    """Return the groups of a copy. Raise Denied if the job contradicts the request."""
    holders = job.holders
    if job.endpoint is not Endpoint.COPIES or holders is None:
        raise Denied("malformed_job", f"a {job.kind} job of a copy names the new signer group")
    if job.copied_from is not None and job.request_id != job.key.id:
        raise Denied("malformed_job", "the request for a copy has the id of the new key")
    if job.request_id == (job.copied_from or job.key.id):
        raise Denied("malformed_job", "a copy has another id than the key that it is of")
    if job.key.public_key is None or job.key.path:
        raise Denied("malformed_job", "a copy is made of a root key, whose public key is known")
    body = read_request(job, CopyKey.model_validate_json)
    if not body.allows(holders):
        raise Denied("request_mismatch", "the job is not for the group that was asked for")
    return WantedCopy(holders, body.held_by)


def made_for(work: Work) -> MadeFor:
    """Return the request that a GenerateKey or ImportKey job makes a key for. Raise Denied."""
    job = work.job
    if job.endpoint is not Endpoint.WALLETS and job.endpoint is not Endpoint.KEYS:
        raise Denied("malformed_job", f"a request to {job.endpoint.value} makes no key")
    return MadeFor(
        endpoint=job.endpoint,
        external_id=read_binding(job).external_id,
        application=work.signed_by,
        imported=job.kind == JobKind.IMPORT_KEY,
    )


def wanted_signature(job: Job) -> tuple[SignRequest, bytes | None]:
    """Return the request and its digest. Raise Denied if they do not fit the key."""
    if job.endpoint is not Endpoint.SIGNATURES:
        raise Denied("malformed_job", f"a Sign job has no request to {job.endpoint.value}")
    request, key = read_request(job, CREATE_SIGNATURE.validate_json), job.key
    try:
        require_signable(request, key.algorithm, key.network, key.public_key)
        return request, digest_of(request, key.algorithm, key.network, key.public_key)
    except NotSignable as error:
        raise Denied("not_signable", str(error)) from None


def signed_bytes(request: SignRequest, digest: bytes | None) -> bytes:
    """Return the bytes to sign: the digest, or the message, which Ed25519 hashes itself."""
    if digest is not None:
        return digest
    assert not isinstance(request, SignHash)  # digest_of refuses a Hash for Ed25519
    return request.content
