"""Questions to the owner's validation gate, and the check of its answers. Pure."""

import hashlib
import hmac
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from custody.node.errors import Denied
from custody.node.wanted import signed_bytes, wanted_copy, wanted_signature
from custody.wire.algorithms import Store
from custody.wire.digests import is_bare_hash
from custody.wire.encoding import HexBytes, Model
from custody.wire.imports import ImportedKey
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference
from custody.wire.mistakable import Mistakable, could_be
from custody.wire.requests import SignHash, SignRequest, SignTransaction
from custody.wire.strict_json import NotStrictJson, parse_json

SIGNATURE_HEADER = "Custody-Gate-Signature"
MAX_REASON = 500
"""Longest reason in an answer, in characters."""

GATED = {
    Endpoint.SIGNATURES: JobKind.SIGN,
    Endpoint.REFRESHES: JobKind.REFRESH_KEY,
    Endpoint.REPAIRS: JobKind.REPAIR_SHARE,
    Endpoint.COPIES: JobKind.DEAL_SHARES,
    Endpoint.WALLETS: JobKind.IMPORT_KEY,
    Endpoint.KEYS: JobKind.IMPORT_KEY,
    Endpoint.UNARCHIVALS: JobKind.UNARCHIVE_KEY,
}
"""The job kind that the gate approves for a request to an endpoint."""

FOLLOWS = {Endpoint.REPAIRS: JobKind.REFRESH_KEY}
"""Further job kinds of the same request, under the same decision."""

PING = "Ping"
"""The kind of `doctor`'s question. The answer has no effect."""


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    PENDING = "pending"


class ShownMessage(Model):
    """A message. ``text`` is null if the bytes are not UTF-8.

    ``could_be``, of bare keys only: other meanings that the same bytes have.
    """

    type: Literal["Message"] = "Message"
    content: HexBytes
    text: str | None
    could_be: list[Mistakable]


class ShownTransaction(Model):
    """A transaction. ``content``: its message, the bytes that are signed."""

    type: Literal["SolanaTransaction"] = "SolanaTransaction"
    content: HexBytes


class ShownHash(Model):
    """A bare hash: the hashed data is unknown. ``hash``: the digest to sign."""

    type: Literal["BareHash"] = "BareHash"
    hash: HexBytes


class ShownRefresh(Model):
    type: Literal["Refresh"] = "Refresh"


class ShownRepair(Model):
    """A repair of the share of ``signer``."""

    type: Literal["Repair"] = "Repair"
    signer: str


class ShownImport(Model):
    """An import of a private key that exists already, by its public key."""

    type: Literal["Import"] = "Import"
    public_key: HexBytes


class ShownUnarchival(Model):
    """An archived key is to sign again."""

    type: Literal["Unarchive"] = "Unarchive"


class ShownCopy(Model):
    """A copy of the key for another signer group, whose signers are in order of their index."""

    type: Literal["Copy"] = "Copy"
    signer_group: str
    threshold: int
    signers: tuple[str, ...]


Shown = Annotated[
    ShownMessage
    | ShownTransaction
    | ShownHash
    | ShownRefresh
    | ShownRepair
    | ShownImport
    | ShownUnarchival
    | ShownCopy,
    Field(discriminator="type"),
]


class GateQuestion(Model):
    """One question. ``digest`` is the signed digest; for Ed25519 the message's SHA-256.

    If nothing is signed, ``digest`` is the request's SHA-256.
    """

    version: Literal[1] = 1
    request_id: UUID
    node: str
    group: str
    store: Store
    kind: str
    key: KeyReference | None
    digest: HexBytes
    payload: str | None
    """The application's body, byte for byte."""
    decoded: Shown | None
    application: str | None
    """Name of the application that has signed the request, as pinned at this node."""
    age_seconds: float


class GateAnswer(Model):
    decision: Decision
    digest: HexBytes
    reason: Annotated[str, Field(max_length=MAX_REASON, pattern=r"^[^\x00]*$")] | None = None
    """Without NUL, which PostgreSQL does not keep."""


class BadAnswer(ValueError):
    """An invalid answer, which decides nothing."""


def question_about(
    job: Job, *, node: str, store: Store, application: str | None, now: datetime
) -> GateQuestion:
    """Return the question about a job. Raise Denied for a contradictory job."""
    kind = GATED.get(job.endpoint)
    if kind is None or job.kind not in (kind, JobKind.APPROVE, FOLLOWS.get(job.endpoint)):
        raise Denied(
            "malformed_job", f"a {job.kind} job cannot contain a request to {job.endpoint}"
        )
    digest, decoded = _shown(job)
    return GateQuestion(
        request_id=job.request_id,
        node=node,
        group=job.group,
        store=store,
        kind=kind.value,
        key=job.key,
        digest=digest,
        payload=job.request.decode(),
        decoded=decoded,
        application=application,
        age_seconds=max(0.0, (now - job.created_at).total_seconds()),
    )


def ping(digest: bytes, request_id: UUID, *, node: str, group: str, store: Store) -> GateQuestion:
    """Return `doctor`'s question, about no request: ``digest`` is random."""
    return GateQuestion(
        request_id=request_id,
        node=node,
        group=group,
        store=store,
        kind=PING,
        key=None,
        digest=digest,
        payload=None,
        decoded=None,
        application=None,
        age_seconds=0.0,
    )


def _shown(job: Job) -> tuple[bytes, Shown]:
    match job.endpoint:
        case Endpoint.SIGNATURES:
            request, digest = wanted_signature(job)
            if digest is None:
                digest = hashlib.sha256(signed_bytes(request, None)).digest()
            return digest, _shown_signature(request, digest, job.key)
        case Endpoint.REPAIRS:
            return job.request_digest, ShownRepair(signer=_repaired(job))
        case Endpoint.WALLETS | Endpoint.KEYS:
            return job.request_digest, ShownImport(public_key=_imported(job))
        case Endpoint.UNARCHIVALS:
            return job.request_digest, ShownUnarchival()
        case Endpoint.COPIES:
            return job.request_digest, _shown_copy(job)
        case _:
            return job.request_digest, ShownRefresh()


def _shown_copy(job: Job) -> ShownCopy:
    holders = wanted_copy(job).holders
    return ShownCopy(
        signer_group=holders.group, threshold=holders.threshold, signers=holders.signers
    )


def _shown_signature(
    request: SignRequest, digest: bytes, key: KeyReference
) -> ShownHash | ShownMessage | ShownTransaction:
    if isinstance(request, SignHash) or is_bare_hash(request, key.curve):
        return ShownHash(hash=digest)
    if isinstance(request, SignTransaction):
        return ShownTransaction(content=request.content)
    try:
        text = request.content.decode()
    except UnicodeDecodeError:
        text = None
    mistakable = could_be(request, key.algorithm, key.network)
    return ShownMessage(content=request.content, text=text, could_be=mistakable)


class _Repaired(BaseModel):
    model_config = ConfigDict(extra="ignore")
    signer: str


def _repaired(job: Job) -> str:
    try:
        return _Repaired.model_validate_json(job.request).signer
    except ValidationError:
        raise Denied("malformed_request", "the request names no signer to repair") from None


class _Imported(BaseModel):
    model_config = ConfigDict(extra="ignore")
    imported: ImportedKey


def _imported(job: Job) -> bytes:
    try:
        return _Imported.model_validate_json(job.request).imported.public_key
    except ValidationError:
        raise Denied("malformed_request", "the request imports no key") from None


def sign_question(key: bytes, body: bytes, now: datetime) -> str:
    """Return the header's value: ``t=<unix seconds>,v1=<hex of HMAC-SHA256 over "t.body">``."""
    time = str(int(now.timestamp()))
    code = hmac.new(key, time.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={time},v1={code}"


def read_answer(content: bytes, digest: bytes) -> GateAnswer:
    """Parse an answer, which must repeat the digest. Raise BadAnswer."""
    try:
        answer = GateAnswer.model_validate(parse_json(content))
    except ValidationError as error:
        raise BadAnswer(f"it has {error.error_count()} malformed fields") from None
    except NotStrictJson as error:
        raise BadAnswer(f"it is not JSON with one meaning: {error}") from None
    if answer.digest != digest:
        raise BadAnswer("it is for another digest")
    return answer
