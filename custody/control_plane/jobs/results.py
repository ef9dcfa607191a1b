"""The checks of a node's result before it is recorded: nodes are not trusted."""

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from custody.wire.addresses import address_of
from custody.wire.algorithms import Algorithm, Network
from custody.wire.digests import digest_of
from custody.wire.imports import ImportedKey, ImportKeyStatement
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.outcomes import (
    GeneratedKey,
    MadeSignature,
    NothingMade,
    Outcome,
    OutcomeStatus,
    PreparedImport,
)
from custody.wire.public_keys import check_public_key
from custody.wire.requests import CREATE_SIGNATURE, CreateKey, CreateWallet
from custody.wire.signatures import verify
from custody.wire.signed_bytes import SignedBytes, signing_key_id
from custody.wire.statements import Attestation, MadeFor

MAX_OUTCOME_SIZE = 64 * 1024
"""Bytes of an Outcome; a signature's takes less than one kilobyte."""
MAX_FAULTS = 3
"""Faults of a malformed outcome that are told."""

ATTESTATIONS: TypeAdapter[tuple[SignedBytes, ...]] = TypeAdapter(tuple[SignedBytes, ...])

FINAL = (OutcomeStatus.DONE, OutcomeStatus.DENIED)


class BadResult(Exception):
    """A report that cannot be recorded: the text says what is wrong with it."""


@dataclass(frozen=True)
class KeyFacts:
    """The key that a job is about, as the control plane's own row has it."""

    algorithm: Algorithm
    network: Network | None
    public_key: bytes | None


@dataclass(frozen=True)
class MadeKey:
    """The values that a job adds to the row of its new key, and to its wallet's."""

    public_key: bytes
    protection: str
    address: str | None
    attestations: tuple[SignedBytes, ...] | None = ()
    """None leaves those that the key has."""
    chain_code: bytes | None = None
    generation: int | None = None
    share_set_id: UUID | None = None
    """The ceremony that made the set of shares; of store mpc, as the generation."""


@lru_cache(maxsize=256)
def job_of(payload: bytes) -> Job:
    """Return a job as it was signed. Kept, since the reports of a quorum come at the same time."""
    return Job.model_validate_json(payload)


def attestations_json(key: MadeKey) -> str | None:
    """Return the attestations as the database keeps them."""
    if key.attestations is None:
        return None
    return ATTESTATIONS.dump_json(key.attestations).decode()


def read_outcome(raw: bytes, job_id: UUID, node: str) -> Outcome:
    """Parse the outcome of a job that ``node`` reports. Raises BadResult.

    A final one may be another node's: drivers of a group share a journal, and one that finds there
    what another committed before it ended sends that, byte for byte. Anything else is its own.
    """
    if len(raw) > MAX_OUTCOME_SIZE:
        raise BadResult(f"an outcome may have {MAX_OUTCOME_SIZE} bytes, this one has {len(raw)}")
    try:
        outcome = Outcome.model_validate_json(raw)
    except ValidationError as error:
        faults = "; ".join(each["msg"] for each in error.errors(include_url=False)[:MAX_FAULTS])
        raise BadResult(f"not an outcome: {faults}") from None
    if outcome.job_id != job_id:
        raise BadResult(f"the outcome is of another job, {outcome.job_id}")
    if outcome.node is None:
        raise BadResult("the outcome names no node")
    if outcome.node != node and outcome.status not in FINAL:
        raise BadResult(f"the outcome is of another node, {outcome.node}")
    if outcome.status is not OutcomeStatus.DONE and outcome.code is None:
        raise BadResult(f"an outcome that is {outcome.status.value} needs a code")
    return outcome


def check_result(outcome: Outcome, kind: str, payload: bytes, key: KeyFacts) -> MadeKey | None:
    """Check what a DONE outcome brings; returns the key that it made, if it made one.

    ``payload`` is the job as it was signed. Raises BadResult.
    """
    result = outcome.result
    if kind in (JobKind.GENERATE_KEY, JobKind.IMPORT_KEY) and isinstance(result, GeneratedKey):
        return _check_key(outcome, result, job_of(payload), key)
    if kind == JobKind.PREPARE_IMPORT and isinstance(result, PreparedImport):
        _check_import(outcome, result, job_of(payload))
        return None
    if kind == JobKind.SIGN and isinstance(result, MadeSignature):
        _check_signature(result, payload, key)
        return None
    if kind in (JobKind.ARCHIVE_KEY, JobKind.UNARCHIVE_KEY) and isinstance(result, NothingMade):
        return None
    found = result.type if result is not None else "nothing"
    raise BadResult(f"the result of a {kind} job cannot be {found}")


def _check_key(outcome: Outcome, result: GeneratedKey, job: Job, key: KeyFacts) -> MadeKey:
    made = Algorithm(result.scheme, result.curve)
    if made != key.algorithm:
        raise BadResult(f"a key of {made} was made, {key.algorithm} was asked for")
    imported = announced_import(job) if job.kind == JobKind.IMPORT_KEY else None
    if imported is not None and result.public_key != imported.public_key:
        raise BadResult("another key was imported than the request announces")
    try:
        check_public_key(made, result.public_key)
        address = address_of(key.network, made, result.public_key) if key.network else None
    except ValueError as error:
        raise BadResult(str(error)) from None
    attestations = () if result.attestation is None else (result.attestation,)
    for signed in attestations:
        _check_attestation(signed, outcome, result, job)
    return MadeKey(result.public_key, result.protection.value, address, attestations)


def is_made_for(job: Job, attested: MadeFor | None) -> bool:
    """Return whether a node attests the request that the job makes a key for.

    It names an application only where it has pinned the key that signed the request.
    """
    if attested is None or attested.endpoint is not job.endpoint:
        return False
    if not signed_by(job, attested.application):
        return False
    return attested.external_id == _request(job).external_id


def announced_import(job: Job) -> ImportedKey | None:
    """Return the key that a request to WALLETS or KEYS imports; None if a key is generated."""
    return _request(job).imported


def _request(job: Job) -> CreateWallet | CreateKey:
    body = CreateWallet if job.endpoint is Endpoint.WALLETS else CreateKey
    return body.model_validate_json(job.request)


def signed_by(job: Job, application: bytes | None) -> bool:
    """Return whether a node that names this application may have verified the job's signature.

    A node that has not pinned the application's key names none.
    """
    if application is None:
        return True
    signature = job.request_signature
    return signature is not None and signing_key_id(application) == signature.signing_key_id


def _check_attestation(
    signed: SignedBytes, outcome: Outcome, result: GeneratedKey, job: Job
) -> None:
    """That it is about this key. Whose signature it has is for those to judge who pin nodes."""
    try:
        attested = Attestation.model_validate_json(signed.payload)
    except ValidationError:
        raise BadResult(
            "the node signed, as an attestation, something that is not an attestation"
        ) from None
    if (attested.key_id, attested.node) != (outcome.job_id, outcome.node):
        raise BadResult("the attestation is of another key or node")
    if (attested.scheme, attested.curve) != (result.scheme, result.curve):
        raise BadResult("the attestation is of another algorithm")
    if attested.network != job.key.network or not is_made_for(job, attested.made_for):
        raise BadResult("the attestation is of another network or request")
    if (attested.public_key, attested.protection) != (result.public_key, result.protection):
        raise BadResult("the attestation is of another public key or protection")
    if attested.imported != (job.kind == JobKind.IMPORT_KEY):
        raise BadResult("the attestation does not say rightly whether the key was imported")


def _check_import(outcome: Outcome, result: PreparedImport, job: Job) -> None:
    """That the node's one statement is about this import. Applications judge its signature."""
    if len(result.statements) != 1:
        raise BadResult("a node makes one statement about its import key")
    try:
        said = ImportKeyStatement.model_validate_json(result.statements[0].payload)
    except ValidationError:
        raise BadResult(
            "the node signed, as a statement about its import key, something else"
        ) from None
    if (said.import_id, said.node) != (job.id, outcome.node):
        raise BadResult("the statement is of another import or node")
    if Algorithm(said.scheme, said.curve) != job.key.algorithm:
        raise BadResult("the statement is of another algorithm")


def _check_signature(result: MadeSignature, payload: bytes, key: KeyFacts) -> None:
    if key.public_key is None:
        raise BadResult("a signature was made with a key that is not active")
    try:
        request = CREATE_SIGNATURE.validate_json(job_of(payload).request)
        digest = digest_of(request, key.algorithm, key.network, key.public_key)
        if result.digest != digest:
            raise BadResult("the digest is not that of the request")
        verify(result.signature, key.public_key, key.algorithm, key.network, request, digest)
    except ValueError as error:
        raise BadResult(str(error)) from None
