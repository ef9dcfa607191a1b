"""The first lock: a request needs its application's signature, and has one effect."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from custody.database.pool import Pool
from custody.node.applications import Application, Applications
from custody.node.errors import Denied
from custody.runtime.batching import Batcher
from custody.wire.algorithms import Store
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.requests import GROUPS_OF_A_COPY, ExternalId
from custody.wire.signed_bytes import PinnedKeys
from custody.wire.signed_requests import payload_type
from custody.wire.strict_json import NotStrictJson, parse_json

WITHOUT_A_KEY = (Endpoint.WALLETS, Endpoint.KEYS, Endpoint.IMPORTS)

AnyRequest = TypeVar("AnyRequest")


class Binding(BaseModel):
    """The fields of every endpoint's body that bind the request to key, store, id and time.

    ``threshold``, ``signers``, ``held_by``: of a copy, whose handlers compare them (wanted.py).
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    key_id: UUID | None = None
    store: Store | None = None
    expires_at: AwareDatetime | None = None
    external_id: ExternalId | None = None
    threshold: object = None
    signers: object = None
    held_by: object = None


def read_request(job: Job, parse: Callable[[bytes], AnyRequest]) -> AnyRequest:
    """Return the application's request in a job, as ``parse`` reads it.

    Raises Denied if ``parse`` raises pydantic's ValidationError.
    """
    try:
        return parse(job.request)
    except ValidationError as error:
        raise Denied(
            "malformed_request", f"the request has {error.error_count()} malformed fields"
        ) from None


def read_binding(job: Job) -> Binding:
    """Parse the fields that bind the request. Raise Denied if one is missing or invalid."""
    return read_request(job, Binding.model_validate_json)


def require_one_meaning(job: Job) -> None:
    """Raise Denied for a body with a repeated field: readers differ in which value they take."""
    try:
        parse_json(job.request)
    except NotStrictJson as error:
        raise Denied(
            "malformed_request", f"the request is not JSON with one meaning: {error}"
        ) from None


def check_signature(job: Job, public_key: bytes) -> None:
    """Raise Denied unless the key has signed the request's bytes, for its endpoint."""
    assert job.request_signature is not None
    signed = job.request_signature.of(job.request)
    try:
        PinnedKeys([public_key]).open(payload_type(job.endpoint), signed)
    except ValueError as error:  # or the pinned key is invalid
        reason = f"the application's signature of the request is invalid: {error}"
        raise Denied("bad_request_signature", reason) from None


def check_binding(
    binding: Binding, job: Job, store: Store, now: datetime, longest_life: timedelta
) -> None:
    """Raise Denied if the body names another key, store or time than the job."""
    if binding.key_id not in (None, job.copied_from or job.key.id):
        raise Denied("request_mismatch", f"the request is about key {binding.key_id}")
    if binding.store not in (None, store):
        raise Denied("request_mismatch", f"the request is for store {binding.store}, not {store}")
    if binding.expires_at is not None and binding.expires_at <= now:
        raise Denied("expired", f"the request expired at {binding.expires_at.isoformat()}")
    if binding.expires_at is not None and binding.expires_at - now > longest_life:
        raise Denied(
            "lives_too_long",
            f"the request expires at {binding.expires_at.isoformat()}, but this node's journal "
            "would forget the request before",
        )
    if (
        job.kind == JobKind.SIGN  # a ceremony ends by the job's own time
        and binding.expires_at is not None
        and binding.expires_at < job.expires_at
    ):
        raise Denied("request_mismatch", "the job expires later than the request")


def require_complete(binding: Binding, endpoint: Endpoint) -> None:
    """Raise Denied if a request that must be signed leaves something open."""
    missing = ", ".join(_missing(binding, endpoint))
    if missing:
        raise Denied("unbound_request", f"the signed request must contain, but lacks: {missing}")


def _missing(binding: Binding, endpoint: Endpoint) -> Iterator[str]:
    for name in Binding.model_fields:
        if _is_needed(name, endpoint) and getattr(binding, name) is None:
            yield name


def _is_needed(name: str, endpoint: Endpoint) -> bool:
    if name in GROUPS_OF_A_COPY:
        return endpoint is Endpoint.COPIES
    return name != "key_id" or endpoint not in WITHOUT_A_KEY


# Sorted by the caller, so that two drivers of a group cannot deadlock.
_RESERVE = """
    INSERT INTO signed_requests AS known
        (application_key, endpoint, external_id, request_id, digest, expires_at)
    SELECT * FROM unnest(:application_key::bytea[], :endpoint::varchar[],
        :external_id::varchar[], :request_id::uuid[], :digest::bytea[],
        :expires_at::timestamptz[])
    ON CONFLICT (application_key, endpoint, external_id) DO UPDATE SET seen_at = known.seen_at
    RETURNING application_key, endpoint, external_id, request_id, digest
"""

_PURGE = "DELETE FROM signed_requests WHERE expires_at < :before"


@dataclass(frozen=True)
class Reservation:
    """One use of an application's external id."""

    application_key: bytes
    endpoint: str
    external_id: str
    request_id: UUID
    digest: bytes
    expires_at: datetime

    @property
    def name(self) -> tuple[bytes, str, str]:
        return self.application_key, self.endpoint, self.external_id


class SignedRequests:
    """Verifies which application asks, and reserves each external id for its first request."""

    def __init__(
        self, pool: Pool, store: Store, longest_life: Callable[[], timedelta], *, required: bool
    ) -> None:
        self._pool = pool
        self._applications = Applications(pool)
        self._store = store
        self._longest_life = longest_life
        self._required = required
        self._reservations = Batcher[Reservation, tuple[UUID, bytes]](self._reserve_all)

    async def check(self, job: Job, now: datetime) -> Application | None:
        """Return the application that signed the job's request. Raise Denied.

        None: no pinned application has signed it, and no signature is required.
        """
        application = await self._application(job)
        if application is None:
            return None
        check_signature(job, application.public_key)
        binding = read_binding(job)
        if self._required or job.endpoint is Endpoint.COPIES:
            # a signed copy is believed to name both groups, by nodes that require no signature too
            require_complete(binding, job.endpoint)
        check_binding(binding, job, self._store, now, self._longest_life())
        if binding.external_id is not None:
            await self._reserve(
                Reservation(
                    application.public_key,
                    job.endpoint.value,
                    binding.external_id,
                    job.request_id,
                    job.request_digest,
                    binding.expires_at or job.expires_at,
                )
            )
        return application

    async def purge(self, before: datetime) -> None:
        """Delete requests that expired before a time: they would be denied as expired."""
        await self._pool.rows(_PURGE, {"before": before})

    async def _application(self, job: Job) -> Application | None:
        if job.request_signature is None:
            if self._required:
                raise Denied("unsigned_request", "no application has signed the request")
            return None
        key_id = job.request_signature.signing_key_id
        application = await self._applications.find(key_id)
        if application is None and self._required:
            raise Denied("unknown_application", f"no application with key {key_id} is pinned here")
        return application

    async def _reserve(self, reservation: Reservation) -> None:
        """Reserve the external id and commit, before any work for the request."""
        standing = await self._reservations.submit(reservation)
        if standing != (reservation.request_id, reservation.digest):
            raise Denied(
                "external_id_reused",
                "the application has signed another request with the external_id "
                f"{reservation.external_id}",
            )

    async def _reserve_all(
        self, reservations: list[Reservation]
    ) -> list[tuple[UUID, bytes] | Exception]:
        """Return the request for which each external id is now reserved."""
        firsts = {one.name: one for one in reversed(reservations)}
        ordered = [firsts[name] for name in sorted(firsts)]
        columns = {key: [getattr(one, key) for one in ordered] for key in _COLUMNS}
        rows = await self._pool.rows(_RESERVE, columns)
        standing: dict[Any, tuple[UUID, bytes]] = {
            (row.application_key, row.endpoint, row.external_id): (row.request_id, row.digest)
            for row in rows
        }
        return [standing[one.name] for one in reservations]


_COLUMNS = ("application_key", "endpoint", "external_id", "request_id", "digest", "expires_at")
