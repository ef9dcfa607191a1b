"""Imports of keys as applications read them, and their use: each by one key, once.

An import is its PrepareImport job. Its ``key_id`` is null until a key uses the import.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import Database
from custody.control_plane.jobs.results import job_of
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.key_rows import NewKey
from custody.control_plane.resources.pages import Listing, PageRequest
from custody.control_plane.resources.presentation import Progress, shown_reason
from custody.control_plane.tables import JobState
from custody.database.connection import Connection
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Endpoint, JobKind
from custody.wire.outcomes import Outcome, PreparedImport
from custody.wire.requests import CreateImport
from custody.wire.resources import Import, ImportStatus, Page
from custody.wire.signed_bytes import SignedBytes

_IMPORTS = f"""
    SELECT id, created_at, expires_at, external_id, payload, state, outcome, last_failure, key_id,
        finished_at
    FROM jobs
    WHERE kind = '{JobKind.PREPARE_IMPORT}' AND endpoint = '{Endpoint.IMPORTS}'
        AND application_id = :application
"""  # noqa: S608 - of constants
"""With the endpoint, an index finds the few imports beside an application's signatures."""

_IMPORT = _IMPORTS + "AND id = :id"
_LISTING = Listing(_IMPORTS, "jobs", {"external_id": "external_id = :external_id"})

_USE = "UPDATE jobs SET key_id = :key_id WHERE id = :id RETURNING id"


class Imports:
    """Reads imports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, import_id: UUID) -> Import:
        """Raises ProblemError not_found."""
        values = {"application": caller.application_id, "id": import_id}
        row = await self._database.row(_IMPORT, values)
        if row is None:
            raise _not_found(import_id)
        return import_of(row, caller.sees_details)

    async def page(
        self, caller: Caller, external_id: str | None, request: PageRequest
    ) -> Page[Import]:
        """Return a page of the application's imports, newest first."""
        shown = partial(import_of, sees_details=caller.sees_details)
        values = {"application": caller.application_id}
        filters = {"external_id": external_id}
        return await _LISTING.page(self._database, request, values, shown, filters)


def import_of(row: Any, sees_details: bool) -> Import:
    """An import from its job."""
    progress = Progress.of(row)
    body = CreateImport.model_validate_json(job_of(row.payload).request)
    statements = _statements(row)
    expires_at = min((_expiry(each) for each in statements), default=row.expires_at)
    return Import(
        id=row.id,
        status=_status(progress.state, row.key_id, expires_at),
        store=body.store,
        signer_group=body.signer_group,
        scheme=body.scheme,
        curve=body.curve,
        statements=statements,
        key_id=row.key_id,
        external_id=row.external_id,
        reason=shown_reason(progress, sees_details),
        created_at=row.created_at,
        expires_at=expires_at,
    )


def _status(state: JobState, key_id: UUID | None, expires_at: datetime) -> ImportStatus:
    if state in (JobState.DENIED, JobState.FAILED):
        return ImportStatus.FAILED
    if state is not JobState.DONE:
        return ImportStatus.PENDING
    if key_id is not None:
        return ImportStatus.USED
    return ImportStatus.EXPIRED if expires_at <= datetime.now(UTC) else ImportStatus.READY


def _statements(row: Any) -> tuple[SignedBytes, ...]:
    if JobState(row.state) is not JobState.DONE:
        return ()
    result = Outcome.model_validate_json(row.outcome).result
    return result.statements if isinstance(result, PreparedImport) else ()


def _expiry(statement: SignedBytes) -> datetime:
    return ImportKeyStatement.model_validate_json(statement.payload).expires_at


async def use_import(connection: Connection, import_id: UUID, new: NewKey) -> None:
    """Mark an import as used by a key, in the transaction that adds the key.

    Raises ProblemError not_found or import_not_usable.
    """
    values = {"application": new.job.application_id, "id": import_id}
    row = await connection.row(_IMPORT + " FOR UPDATE", values)
    if row is None:
        raise _not_found(import_id)
    found, key = import_of(row, sees_details=False), new.key
    if found.status is not ImportStatus.READY and found.key_id != key.id:
        raise _not_usable(import_id, f"is {found.status}, not Ready")
    wanted = (key.store, key.signer_group, key.scheme, key.curve)
    if (found.store, found.signer_group, found.scheme, found.curve) != wanted:
        raise _not_usable(import_id, "is for another store, signer group or algorithm")
    await connection.rows(_USE, {"id": import_id, "key_id": key.id})


def _not_usable(import_id: UUID, why: str) -> ProblemError:
    return ProblemError(
        Code.IMPORT_NOT_USABLE,
        f"Import {import_id} {why}. Ask for a new import, and encrypt the key to that one.",
    )


def _not_found(import_id: UUID) -> ProblemError:
    return ProblemError(
        Code.NOT_FOUND, f"There is no import {import_id}. Ask for one with POST /v1/imports."
    )
