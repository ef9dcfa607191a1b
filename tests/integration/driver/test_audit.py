"""The audit chain: what tampering `audit verify` finds."""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from custody.database.pool import Pool
from custody.node.audit import INSERT_LINKS, AuditRecord, link
from custody.node.audit_records import MAX_RECORD, read_kept
from custody.node.audited_changes import AuditedChanges
from custody.node.chain_verification import Subject, Verification, verify_chain
from custody.node.journal import Commit
from custody.node.journal_retention import set_journal_retention
from custody.wire.audit import GENESIS, AuditHead, chain_hash
from custody.wire.node_api import AuditHeads
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SignedBytes
from hsm_driver.audited_keys import CHECK
from hsm_driver.tables import audit, journal
from tests.adopter import ADOPTER, adopt_row
from tests.integration.driver.commits import commit, key_row_of
from tests.integration.driver.conftest import NodeParts, node_parts

RECORDS = 5


@pytest.fixture
async def heads(node: NodeParts) -> list[SignedBytes]:
    """The signed heads after each of RECORDS commits, as the control plane keeps them."""
    heads = []
    for _ in range(RECORDS):
        await node.journal.commit(commit())
        heads.append(await node.chain.signed_head())
    return heads


async def verify(
    pool: Pool,
    node: NodeParts,
    heads: list[SignedBytes],
    others: Sequence[str] | None = (),
) -> Verification:
    kept = read_kept(AuditHeads(group="hsm", heads=heads), node.signer, node.name)
    subject = Subject(node.name, node.signer, None if others is None else tuple(others))
    return await verify_chain(pool, subject, kept, CHECK, lambda *_: None)


async def append(pool: Pool, node: NodeParts, *records: AuditRecord) -> None:
    """Put records into the chain alone, as somebody who has the database and the code could."""
    links = link(await node.chain.head(), records)
    async with pool.transaction() as connection:
        await connection.rows(INSERT_LINKS, links.parameters)
    node.chain.advance(links)


async def test_an_untouched_chain_agrees_with_every_head(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    found = await verify(pool, node, heads)
    assert (found.records, found.compared, found.findings) == (RECORDS, RECORDS, [])


async def test_a_changed_record_is_found(
    pool: Pool, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        record = (
            await connection.execute(select(audit.c.record).where(audit.c.sequence == 3))
        ).scalar_one()
        forged = json.dumps(json.loads(record) | {"status": "DENIED"}).encode()
        await connection.execute(update(audit).where(audit.c.sequence == 3).values(record=forged))
    found = await verify(pool, node, heads)
    assert {finding.sequence for finding in found.findings} == {3}


async def test_a_deleted_record_is_found(
    pool: Pool, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        await connection.execute(delete(audit).where(audit.c.sequence == 2))
    found = await verify(pool, node, heads)
    assert any("missing" in finding.what for finding in found.findings)


async def test_deleted_last_records_are_found_by_the_kept_head(
    pool: Pool, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        rows = await connection.execute(
            delete(audit).where(audit.c.sequence >= RECORDS - 1).returning(audit.c.record)
        )
        for row in rows:
            job_id = json.loads(row.record)["job_id"]
            await connection.execute(delete(journal).where(journal.c.job_id == job_id))
    assert (await verify(pool, node, [])).findings == []
    found = await verify(pool, node, heads)
    assert [finding.sequence for finding in found.findings] == [RECORDS]


async def test_a_recomputed_chain_is_found_by_the_kept_heads(
    pool: Pool, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        rows = (await connection.execute(select(audit).order_by(audit.c.sequence))).all()
        previous = GENESIS
        for row in rows:
            record = row.record
            if row.sequence == 2:
                record = json.dumps(json.loads(record) | {"details": "forged"}).encode()
            previous = chain_hash(previous, record)
            await connection.execute(
                update(audit)
                .where(audit.c.sequence == row.sequence)
                .values(record=record, hash=previous)
            )
    assert (await verify(pool, node, [])).findings == []
    found = await verify(pool, node, heads)
    assert [finding.sequence for finding in found.findings] == [2, 3, 4, 5]


async def test_a_changed_outcome_in_the_journal_is_found(
    pool: Pool, engine: AsyncEngine, node: NodeParts, heads: list[SignedBytes]
) -> None:
    async with engine.begin() as connection:
        job_id = (await connection.execute(select(journal.c.job_id).limit(1))).scalar_one()
        await connection.execute(
            update(journal).where(journal.c.job_id == job_id).values(outcome=b"{}")
        )
    found = await verify(pool, node, heads)
    assert [str(job_id) in finding.what for finding in found.findings] == [True]


async def test_kept_heads_that_are_not_this_nodes_are_findings_and_no_traceback(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    forger = node_parts(pool, node.name)
    other = AuditHead(node="driver-2", sequence=1, hash=bytes(32))
    bad = [
        await forger.chain.signed_head(),
        *(
            node.signer.sign(AUDIT_HEAD_TYPE, payload)
            for payload in (b"", b"\xff", b"[]", b'{"sequence": 1}', b"[" * 100_000)
        ),
        node.signer.sign(AUDIT_HEAD_TYPE, other.model_dump_json().encode()),
        heads[0].model_copy(update={"signature": b"short"}),
    ]
    found = await verify(pool, node, [*heads, *bad])
    assert len(found.findings) == len(bad)
    assert all("a kept head is not this node's" in each.what for each in found.findings)
    assert found.compared == RECORDS


async def test_after_a_restart_the_chain_goes_on_where_it_was(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    again = node_parts(pool, node.name, node.signer)
    assert (await again.chain.head()).sequence == RECORDS
    await again.journal.commit(commit())
    found = await verify(pool, node, [*heads, await again.chain.signed_head()])
    assert (found.records, found.findings) == (RECORDS + 1, [])


async def test_the_empty_chain_has_the_genesis_head(node: NodeParts) -> None:
    assert await node.chain.head() == AuditHead(node=node.name, sequence=0, hash=GENESIS)


RUBBISH = {
    "nothing": b"",
    "no UTF-8": b"\xff\xfe",
    "no JSON": b"record",
    "another type": b"[]",
    "null": b"null",
    "a number": b"7",
    "no fields": b"{}",
    "a field twice": b'{"sequence":3,"sequence":3}',
    "nested": b"[" * 100_000,
    "a long number": b'{"sequence":' + b"9" * 10_000 + b"}",
    "a lone surrogate": b'{"node":"\\ud800"}',
    "huge": b" " * (MAX_RECORD + 1),
}


@pytest.mark.parametrize("record", RUBBISH.values(), ids=RUBBISH)
async def test_what_does_not_parse_is_a_finding_at_its_place(
    pool: Pool, node: NodeParts, heads: list[SignedBytes], record: bytes
) -> None:
    await pool.rows("UPDATE audit SET record = :record WHERE sequence = 3", {"record": record})
    found = await verify(pool, node, heads)
    assert found.records == RECORDS
    assert any(
        finding.sequence == 3 and ("does not parse" in finding.what or "larger" in finding.what)
        for finding in found.findings
    )


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": "3"},
        {"sequence": 2**70},
        {"at": "yesterday"},
        {"at": 5},
        {"job_id": "x"},
        {"status": "GREAT"},
        {"outcome_digest": "ff"},
        {"node": None},
        {"code": 7},
    ],
)
async def test_a_field_of_another_type_is_a_finding(
    pool: Pool, node: NodeParts, heads: list[SignedBytes], change: dict[str, object]
) -> None:
    [row] = await pool.rows("SELECT record FROM audit WHERE sequence = 3")
    record = json.dumps(json.loads(row.record) | change).encode()
    await pool.rows("UPDATE audit SET record = :record WHERE sequence = 3", {"record": record})
    found = await verify(pool, node, heads)
    assert 3 in {finding.sequence for finding in found.findings}


async def test_a_hash_of_another_size_and_a_number_below_one_are_findings(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    await pool.rows("UPDATE audit SET hash = 'x' WHERE sequence = 3")
    await pool.rows(
        "INSERT INTO audit SELECT node, -sequence, record, hash FROM audit WHERE sequence = 1"
    )
    found = await verify(pool, node, heads)
    assert {finding.sequence for finding in found.findings} == {-1, 3, 4}


async def test_an_outcome_that_is_gone_from_the_journal_is_found_until_it_is_purged(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    [row] = await pool.rows("SELECT job_id FROM journal LIMIT 1")
    await pool.rows("DELETE FROM journal WHERE job_id = :id", {"id": row.job_id})
    (finding,) = (await verify(pool, node, heads)).findings
    assert str(row.job_id) in finding.what
    assert finding.sequence is not None
    await set_journal_retention(AuditedChanges(pool, node.name), 0, "bo", "")
    assert (await verify(pool, node, heads)).findings == []


async def test_a_retention_that_no_record_explains_is_a_finding(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    """Somebody who deletes outcomes could otherwise call them purged."""
    await pool.rows("DELETE FROM journal")
    await pool.rows("INSERT INTO retention (days, operator, reason) VALUES (0, 'bo', 'tidy')")
    (finding,) = (await verify(pool, node, heads)).findings
    assert "retention of days 0 (set by bo)" in finding.what


async def test_an_outcome_that_the_chain_does_not_have_is_found(
    pool: Pool, node: NodeParts, heads: list[SignedBytes]
) -> None:
    await pool.rows(
        "INSERT INTO journal (job_id, digest, node, status, outcome)"
        " SELECT gen_random_uuid(), digest, node, status, outcome FROM journal LIMIT 1"
    )
    (finding,) = (await verify(pool, node, heads)).findings
    assert "the chain has none" in finding.what


def record_of(job_id: UUID, status: OutcomeStatus, code: str | None = None) -> AuditRecord:
    digest = hashlib.sha256(b"another").digest()
    return AuditRecord(job_id, "Sign", job_id, bytes(32), status.value, code, digest, {})


@pytest.mark.parametrize("status", [OutcomeStatus.DONE, OutcomeStatus.DENIED, OutcomeStatus.FAILED])
async def test_a_second_outcome_of_a_job_is_found(
    pool: Pool, node: NodeParts, heads: list[SignedBytes], status: OutcomeStatus
) -> None:
    [row] = await pool.rows("SELECT job_id FROM journal LIMIT 1")
    await append(pool, node, record_of(row.job_id, status))
    findings = (await verify(pool, node, heads)).findings
    assert any(
        finding.sequence == RECORDS + 1 and "a second outcome" in finding.what
        for finding in findings
    )


async def test_a_denial_after_the_journal_has_forgotten_the_job_is_legal(
    pool: Pool, node: NodeParts
) -> None:
    job_id = uuid4()
    await append(pool, node, record_of(job_id, OutcomeStatus.DONE))
    await append(pool, node, record_of(job_id, OutcomeStatus.DENIED, "expired"))
    await set_journal_retention(AuditedChanges(pool, node.name), 0, "bo", "")
    assert (await verify(pool, node, [])).findings == []


async def test_failures_before_a_result_and_denials_of_replays_are_legal(
    pool: Pool, node: NodeParts
) -> None:
    other = node_parts(pool, "driver-2")
    job_id, theirs = uuid4(), uuid4()
    await node.journal.commit(commit(OutcomeStatus.FAILED, job_id=job_id))
    await node.journal.commit(commit(job_id=job_id))
    await append(pool, node, record_of(job_id, OutcomeStatus.DENIED, "replayed"))
    await node.journal.commit(commit(OutcomeStatus.FAILED, job_id=theirs))
    await other.journal.commit(commit(job_id=theirs, node="driver-2"))
    refused = replace(commit(OutcomeStatus.REFUSED), journalled=False)
    await node.journal.commit(refused)
    for each in (node, other):
        assert (await verify(pool, each, [await each.chain.signed_head()])).findings == []


async def new_key(node: NodeParts, kind: str = "GenerateKey") -> Commit:
    """A key and its record, as key generation commits them."""
    row = key_row_of(uuid4()).values
    details = {
        "public_key": row["public_key"].hex(),
        **{fact: row[fact] for fact in ("scheme", "curve", "network")},
    }
    made = commit(kind=kind, key_row=True, details=details)
    await node.journal.commit(made)
    return made


async def test_a_key_that_was_made_and_is_gone_or_is_another_is_found(
    pool: Pool, node: NodeParts
) -> None:
    kept, gone, swapped = [await new_key(node) for _ in range(3)]
    assert (await verify(pool, node, [])).findings == []
    await pool.rows("DELETE FROM wrapped_keys WHERE key_id = :id", {"id": gone.job_id})
    await pool.rows(
        "UPDATE wrapped_keys SET public_key = '\\x02' WHERE key_id = :id",
        {"id": swapped.job_id},
    )
    findings = (await verify(pool, node, [])).findings
    assert [finding.sequence for finding in findings] == [2, 3]
    assert str(gone.job_id) in findings[0].what
    assert "another public key" in findings[1].what
    assert str(kept.job_id) not in str(findings)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("network = 'Ethereum'", "network"),
        ("scheme = 'EdDSA'", "signature scheme"),
        ("curve = 'secp256r1'", "curve"),
    ],
)
async def test_a_key_that_was_made_and_has_another_fact_is_found(
    pool: Pool, node: NodeParts, change: str, name: str
) -> None:
    made = await new_key(node)
    await pool.rows(f"UPDATE wrapped_keys SET {change}")
    (finding,) = (await verify(pool, node, [])).findings
    assert finding.sequence == 1
    assert finding.what == f"key {made.job_id} was made here with another {name} than is stored"


@pytest.mark.parametrize("is_imported", [True, False])
async def test_an_imported_key_that_is_stored_as_a_generated_one_is_found(
    pool: Pool, node: NodeParts, *, is_imported: bool
) -> None:
    """Somebody outside the HSM may know the private key of an imported key."""
    made = await new_key(node, "ImportKey" if is_imported else "GenerateKey")
    update = "UPDATE wrapped_keys SET imported = :imported"
    await pool.rows(update, {"imported": is_imported})
    assert (await verify(pool, node, [])).findings == []
    await pool.rows(update, {"imported": not is_imported})
    (finding,) = (await verify(pool, node, [])).findings
    how = ("imported", "a generated") if is_imported else ("made", "an imported")
    assert finding.what == f"key {made.job_id} was {how[0]} here, and is stored as {how[1]} key"


async def test_a_node_that_works_meanwhile_changes_nothing_of_what_is_verified(
    pool: Pool, node: NodeParts
) -> None:
    async def work() -> None:
        while True:
            await asyncio.gather(*(node.journal.commit(commit()) for _ in range(20)))

    working = asyncio.create_task(work())
    try:
        for _ in range(10):
            assert (await verify(pool, node, [])).findings == []
    finally:
        working.cancel()


async def test_more_findings_than_anybody_reads_are_counted(pool: Pool, node: NodeParts) -> None:
    await pool.rows(
        "INSERT INTO audit SELECT 'driver-1', number, 'x', 'x' FROM generate_series(1, 1200) number"
    )
    found = await verify(pool, node, [])
    assert (len(found.findings), found.findings_in_all) == (1000, 2400)


TABLES = {
    "AdoptMasterKey": "INSERT INTO master_keys (id, check_value) VALUES ('custody/1', :value)",
    "AdoptRestoredKey": "INSERT INTO restored_keys (check_value, is_extractable, operator, reason) "
    "VALUES (:value, false, 'bo', 'none')",
}


@pytest.mark.parametrize("kind", TABLES)
async def test_a_key_that_nobody_has_adopted_is_found(
    pool: Pool, node: NodeParts, heads: list[SignedBytes], kind: str
) -> None:
    """The attacker of ADR 19 writes to the database: he adds a key of his own."""
    value = bytes([7]) * 32
    await pool.rows(TABLES[kind], {"value": value})
    found = await verify(pool, node, heads)
    (finding,) = found.findings
    assert value.hex()[:16] in finding.what
    assert "no audit record says who adopted it" in finding.what


@pytest.mark.parametrize("kind", TABLES)
async def test_an_adopted_key_is_no_finding_and_another_value_is(
    pool: Pool, node: NodeParts, kind: str
) -> None:
    value = bytes([7]) * 32
    insert = f"{TABLES[kind]} RETURNING check_value"
    await adopt_row(pool, kind, ("custody/1", value), insert, {"value": value}, node=node.name)
    found = await verify(pool, node, [])
    assert (found.findings, found.notes) == ([], [])
    table = "master_keys" if kind == "AdoptMasterKey" else "restored_keys"
    await pool.rows(f"UPDATE {table} SET check_value = sha256('mine')")
    assert len((await verify(pool, node, [])).findings) == 1


async def test_a_record_of_a_node_that_the_operator_does_not_name_counts_for_nothing(
    pool: Pool, node: NodeParts
) -> None:
    """Somebody who writes to the database can write a chain of a node that does not exist."""
    value = bytes([7]) * 32
    kind = "AdoptMasterKey"
    insert = f"{TABLES[kind]} RETURNING check_value"
    await adopt_row(pool, kind, ("custody/1", value), insert, {"value": value})
    for others in ((), ("driver-2",)):
        found = await verify(pool, node, [], others)
        (finding,) = found.findings
        assert f"only a record under the name {ADOPTER}" in finding.what
        assert found.notes == []


async def test_a_key_that_another_driver_has_adopted_is_a_note(pool: Pool, node: NodeParts) -> None:
    value = bytes([7]) * 32
    kind = "AdoptMasterKey"
    insert = f"{TABLES[kind]} RETURNING check_value"
    await adopt_row(pool, kind, ("custody/1", value), insert, {"value": value})
    found = await verify(pool, node, [], [ADOPTER])
    assert found.findings == []
    (note,) = found.notes
    assert f"custody/1 (check value {value.hex()[:16]}…) was adopted by {ADOPTER}" in note
    assert (await verify(pool, node, [], None)).notes == [note]
    await pool.rows("UPDATE audit SET record = '{}AdoptMasterKey' WHERE node = :node", {
        "node": ADOPTER
    })  # fmt: skip
    assert len((await verify(pool, node, [], [ADOPTER])).findings) == 1
