"""Archived keys in a node's database: requests, operators, the journal and the audit chain."""

import json
from asyncio import to_thread
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from asyncpg.exceptions import IntegrityConstraintViolationError
from typer.testing import Result

from custody.database.pool import Pool
from custody.node.archivals import Archivals, KeyPlace, row_of_request
from custody.node.archiving import archiving_handlers
from custody.node.chain_verification import Subject, Verification, verify_chain
from custody.node.errors import Denied
from custody.node.forgotten_archivals import archive_again
from custody.node.handlers import Work
from custody.node.journal import Commit
from custody.wire.jobs import Endpoint, Job, JobKind
from custody.wire.node_api import ArchivedSince
from custody.wire.outcomes import OutcomeStatus
from custody.wire.requests import ArchiveKey, UnarchiveKey
from hsm_driver.audited_keys import CHECK
from tests.integration.driver.commits import commit, key_row_of
from tests.integration.driver.conftest import NodeParts
from tests.unit.node.requests import KEY, job_around

Run = Callable[..., Result]
ROOT = KeyPlace.of(KEY)


async def anything(_: Job) -> None:
    """Take every job's key for one that this node has."""


def request(kind: JobKind, **changes: Any) -> Job:
    is_archival = kind is JobKind.ARCHIVE_KEY
    fields = {
        "kind": kind.value,
        "endpoint": Endpoint.ARCHIVALS if is_archival else Endpoint.UNARCHIVALS,
    }
    return job_around(ArchiveKey() if is_archival else UnarchiveKey(), **(fields | changes))


async def handle(pool: Pool, node: NodeParts, job: Job) -> None:
    """Do a job as the loop does, and commit it."""
    handler = archiving_handlers(Archivals(pool), anything)[job.kind]
    handled = await handler.handle(Work(job, bytes(32)))
    done = commit(job_id=job.id, kind=job.kind, details=handled.audit)
    await node.journal.commit(Commit(done.job_id, done.digest, done.outcome, done.audit_record,
        handled.rows))  # fmt: skip


async def archived(node: NodeParts, path: str = "m", root_id: UUID = ROOT.root_id) -> bool:
    return (await node.journal.known(uuid4(), KeyPlace(root_id, path))).is_archived


async def test_a_request_archives_a_key_and_another_one_undoes_it(pool: Pool, node: NodeParts):
    assert not await archived(node)
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    assert await archived(node)
    assert not await archived(node, root_id=uuid4())
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    await handle(pool, node, request(JobKind.UNARCHIVE_KEY))
    assert not await archived(node)
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    assert await archived(node)


@pytest.mark.parametrize(
    ("path", "stopped"),
    [("m", False), ("m/0", True), ("m/0/5", True), ("m/00", False), ("m/1", False)],
)
async def test_a_key_is_archived_with_the_keys_that_are_derived_from_it(
    pool: Pool, node: NodeParts, path: str, stopped: bool
):
    row = row_of_request(KeyPlace(ROOT.root_id, "m/0"), 1, uuid4(), is_archived=True)
    await pool.rows(row.sql, row.alone)
    assert await archived(node, path) is stopped


async def test_a_repeated_request_cannot_undo_a_later_one(pool: Pool, node: NodeParts):
    """The control plane has a signed request, and hands it out again as another step."""
    undoing = request(JobKind.UNARCHIVE_KEY, id=uuid4(), step_of=uuid4())
    await handle(pool, node, undoing)
    await handle(pool, node, undoing.model_copy(update={"id": uuid4()}))
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    with pytest.raises(Denied, match="later request") as denial:
        await handle(pool, node, undoing.model_copy(update={"id": uuid4()}))
    assert denial.value.code == "superseded"
    assert await archived(node)


@pytest.mark.parametrize(
    "changes", [{"endpoint": Endpoint.SIGNATURES}, {"request": b'{"path": "m/0"}'}]
)
async def test_a_contradictory_job_is_denied(pool: Pool, node: NodeParts, changes: dict[str, Any]):
    job = request(JobKind.UNARCHIVE_KEY)
    with pytest.raises(Denied, match=r"malformed|no request"):
        await handle(pool, node, job.model_copy(update=changes))


async def test_lookups_and_commits_of_single_jobs_are_not_planned_again(
    pool: Pool, node: NodeParts
):
    """Also beside many archived keys: to plan a statement takes longer than to run it."""
    rows = [
        row_of_request(KeyPlace(uuid4(), "m"), 1, uuid4(), is_archived=True) for _ in range(1000)
    ]
    names = rows[0].values
    await pool.rows(rows[0].sql, {name: [row.values[name] for row in rows] for name in names})
    await pool.rows("ANALYZE")
    for _ in range(10):
        assert not await archived(node)
        assert not await node.journal.is_archived(ROOT)
        one = commit()
        await node.journal.commit(replace(one, unless_archived=ROOT))
    plans = await pool.rows("""
        SELECT custom_plans, generic_plans FROM pg_prepared_statements
        WHERE statement LIKE '%starts_with%' AND statement NOT LIKE '%pg_prepared%'
    """)
    assert [tuple(row) for row in plans] == [(5, 5)] * 3


async def test_a_signature_is_not_committed_once_its_key_is_archived(pool: Pool, node: NodeParts):
    """Whatever else is committed together with it."""

    def signature() -> Commit:
        one = commit()
        return Commit(one.job_id, one.digest, one.outcome, one.audit_record, unless_archived=ROOT)

    first, late, other = signature(), signature(), commit()
    await node.journal.commit(first)
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    with pytest.raises(IntegrityConstraintViolationError):
        await node.journal.commit(late)
    await node.journal.commit(other)
    assert await node.journal.look_up(late.job_id) is None
    assert await node.journal.look_up(first.job_id) is not None


@pytest.fixture
async def stored(pool: Pool) -> UUID:
    row = key_row_of(ROOT.root_id)
    await pool.rows(row.sql, row.alone)
    return ROOT.root_id


def test_an_operator_archives_a_key_that_only_an_operator_unarchives(run: Run, stored: UUID):
    unknown = run("keys", "archive", uuid4(), "--reason", "gone").output
    assert "no key" in unknown
    assert "hsm-driver keys list" in unknown
    assert "reason" in run("keys", "archive", stored, "--reason", " ").output
    assert f"archived {stored}" in run("keys", "archive", stored, "--reason", "stolen").output
    assert "already" in run("keys", "archive", stored, "--reason", "stolen").output
    assert " yes " in run("keys", "list").output
    (archival,) = json.loads(run("keys", "archivals", "--json").output)
    assert (archival["key_id"], archival["path"]) == (str(stored), "m")
    assert (archival["archived_by"], archival["reason"]) == ("operator", "stolen")
    assert f"un-archived {stored}" in run("keys", "unarchive", stored, "--reason", "found").output
    again = run("keys", "unarchive", stored, "--reason", "found")
    assert again.exit_code == 1
    assert "hsm-driver keys archivals" in again.output.replace("\n", " ")
    assert " no " in run("keys", "list").output
    assert json.loads(run("keys", "archivals", "--json").output) == []


async def test_what_requests_have_archived_is_listed_with_derived_keys(
    pool: Pool, node: NodeParts, stored: UUID, run: Run
):
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    await pool.rows(
        "INSERT INTO archivals (root_id, path, changed_by, number, is_archived, operator, reason) "
        "VALUES (:root, 'm/0/5', 'operator', 1, true, 'Ada', 'lost')",
        {"root": stored},
    )
    shown = await to_thread(run, "keys", "archivals", "--json")
    found = {(each["path"], each["archived_by"]) for each in json.loads(shown.output)}
    assert found == {("m", "request"), ("m/0/5", "operator")}


async def test_no_request_undoes_what_an_operator_has_archived(
    pool: Pool, node: NodeParts, stored: UUID
):
    row = {"root_id": stored, "path": "m", "changed_by": "operator", "number": 1}
    await pool.rows(
        "INSERT INTO archivals (root_id, path, changed_by, number, is_archived) "
        "VALUES (:root_id, :path, :changed_by, :number, true)",
        row,
    )
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    with pytest.raises(Denied) as denial:
        await handle(pool, node, request(JobKind.UNARCHIVE_KEY))
    assert denial.value.code == "archived_by_operator"


async def verified(pool: Pool, node: NodeParts) -> Verification:
    return await verify_chain(pool, Subject(node.name, node.signer), None, CHECK, lambda *_: None)


async def test_the_audit_finds_a_row_that_somebody_deleted_or_added(pool: Pool, node: NodeParts):
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    await handle(pool, node, request(JobKind.UNARCHIVE_KEY))
    await handle(pool, node, request(JobKind.ARCHIVE_KEY))
    assert (await verified(pool, node)).findings == []
    await pool.rows("DELETE FROM archivals WHERE number = 3")
    (deleted,) = (await verified(pool, node)).findings
    assert "is gone" in deleted.what
    row = row_of_request(ROOT, 3, uuid4(), is_archived=False)
    await pool.rows(row.sql, row.alone)
    (added,) = (await verified(pool, node)).findings
    assert "un-archived key m" in added.what


async def test_a_denied_request_is_no_archival(pool: Pool, node: NodeParts):
    await node.journal.commit(commit(OutcomeStatus.DENIED, kind=JobKind.ARCHIVE_KEY.value))
    assert (await verified(pool, node)).findings == []


def told(request_id: UUID | None, *path: int) -> ArchivedSince:
    return ArchivedSince(
        root_id=ROOT.root_id,
        path=list(path),
        request_id=request_id,
        archived_at=datetime.now(UTC),
    )


async def test_a_restored_database_archives_again_what_it_has_forgotten(
    pool: Pool, node: NodeParts
):
    forgotten = request(JobKind.ARCHIVE_KEY)
    said = [told(forgotten.request_id), told(None, 0, 5), told(None, 0, 5)]
    made = await archive_again(pool, node.name, said, "bo")
    assert [each.path for each in made] == [[], [0, 5]]
    assert await archived(node)
    assert await archive_again(pool, node.name, said, "bo") == []
    assert (await verified(pool, node)).findings == []
    await handle(pool, node, forgotten)  # the request is done already
    await handle(pool, node, request(JobKind.UNARCHIVE_KEY))
    assert not await archived(node)
    assert await archived(node, "m/0/5")


async def test_a_key_that_was_unarchived_after_the_known_request_stays_so(
    pool: Pool, node: NodeParts
):
    known = request(JobKind.ARCHIVE_KEY)
    await handle(pool, node, known)
    await handle(pool, node, request(JobKind.UNARCHIVE_KEY))
    assert await archive_again(pool, node.name, [told(known.request_id)], "bo") == []
    assert not await archived(node)
    assert len(await archive_again(pool, node.name, [told(uuid4())], "bo")) == 1
    assert await archived(node)
