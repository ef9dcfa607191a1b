"""Export and pruning of the control plane's own audit."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from custody.control_plane.audit import own_export
from custody.control_plane.audit.own_chain import NAME, Auditor, OwnChain, verify_own_chain
from custody.runtime.audit_file import FileVerification, verify_file
from custody.runtime.errors import OperatorError
from custody.wire.signed_bytes import PinnedKeys
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.test_own_audit import CURRENT, EARLIER, add, verified
from tests.waiting import until

KEYS = [CURRENT.public_key]
NOTHING = timedelta(0)


async def export(replica: Replica, path: Path) -> FileVerification:
    """Export into a file as the command does, and verify the file."""
    async with replica.database.transaction() as connection:
        await own_export.append_to(connection, path)
    return verify_file(path, PinnedKeys(KEYS), NAME, 10)


async def prune(replica: Replica, file: FileVerification, keep: timedelta = NOTHING) -> int:
    async with replica.database.transaction() as connection:
        auditor = Auditor("bo", CURRENT)
        return await own_export.prune(connection, auditor, KEYS, file, keep, "ticket 31")


async def sequences(replica: Replica) -> list[int]:
    rows = await replica.database.rows("SELECT sequence FROM audit ORDER BY sequence")
    return [row.sequence for row in rows]


async def check(replica: Replica) -> OwnChain:
    return await verify_own_chain(replica.database.rows, KEYS)


@pytest.fixture
async def filled(replica: Replica) -> Replica:
    """Two records before a switch of the key, and three after."""
    await add(replica, EARLIER, "AddNode", "CreateToken")
    await add(replica, CURRENT, "SwitchJobSigningKey", "SetRetention", "RevokeToken")
    return replica


async def test_a_pruned_audit_verifies_and_is_pruned_again(filled: Replica, tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    file = await export(filled, path)
    assert (file.findings, file.first, file.last) == ([], 1, 5)
    assert await prune(filled, file) == 4
    assert await sequences(filled) == [5, 6]
    found = await check(filled)
    assert (found.findings, found.records, found.pruned) == ([], 2, 4)
    [row] = await filled.database.rows("SELECT record FROM audit WHERE sequence = 6")
    assert json.loads(row.record)["details"]["reason"] == "ticket 31"
    await add(filled, CURRENT, "AddNode")
    file = await export(filled, path)
    assert (file.findings, file.first, file.last) == ([], 1, 7)
    assert await prune(filled, file) == 2
    assert await sequences(filled) == [7, 8]
    assert (await check(filled)).findings == []
    assert await prune(filled, await export(filled, path)) == 1


async def test_a_new_file_begins_after_the_checkpoint(filled: Replica, tmp_path: Path):
    await prune(filled, await export(filled, tmp_path / "a.jsonl"))
    file = await export(filled, tmp_path / "b.jsonl")
    assert (file.findings, file.first, file.last) == ([], 6, 6)


async def test_an_export_stops_at_a_record_that_does_not_follow(filled: Replica, tmp_path: Path):
    await filled.database.rows("DELETE FROM audit WHERE sequence = 3")
    with pytest.raises(OperatorError, match="the record 3 is missing"):
        await export(filled, tmp_path / "audit.jsonl")
    assert b"AuditHead" not in (tmp_path / "audit.jsonl").read_bytes()


async def test_young_records_and_records_outside_the_file_stay(filled: Replica, tmp_path: Path):
    file = await export(filled, tmp_path / "a.jsonl")
    assert await prune(filled, file, timedelta(days=1)) == 0
    await add(filled, CURRENT, "AddNode")
    assert await prune(filled, file) == 4
    assert await sequences(filled) == [5, 6, 7]


async def test_the_only_record_stays(replica: Replica, tmp_path: Path):
    await add(replica, CURRENT, "AddNode")
    assert await prune(replica, await export(replica, tmp_path / "a.jsonl")) == 0
    assert await sequences(replica) == [1]
    assert (await check(replica)).findings == []


async def test_a_second_prune_waits_and_sees_the_checkpoint_of_the_first(
    replica: Replica, tmp_path: Path
):
    await add(replica, CURRENT, "AddNode", "CreateToken", "SetRetention")
    short = await export(replica, tmp_path / "short.jsonl")
    await add(replica, CURRENT, "AddNode", "RevokeToken")
    long = await export(replica, tmp_path / "long.jsonl")
    async with replica.database.transaction() as connection:
        auditor = Auditor("bo", CURRENT)
        assert await own_export.prune(connection, auditor, KEYS, long, NOTHING, "ticket 31") == 4
        second = asyncio.create_task(prune(replica, short))
        waiting = (
            "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
        )
        await until(lambda: connection.rows(waiting))
    with pytest.raises(OperatorError, match="record 3 of the exported file is not the record"):
        await second
    assert (await check(replica)).findings == []
    assert await sequences(replica) == [5, 6]


async def test_what_does_not_prove_the_export_prunes_nothing(filled: Replica, tmp_path: Path):
    path = tmp_path / "a.jsonl"
    file = await export(filled, path)
    lines = path.read_bytes().splitlines(keepends=True)
    late = tmp_path / "late.jsonl"
    late.write_bytes(b"".join(lines[1:]))
    with pytest.raises(OperatorError, match="lacks the records 1 to 1"):
        await prune(filled, verify_file(late, PinnedKeys(KEYS), NAME, 10))
    path.write_bytes(lines[0].replace(b"AddNode", b"AddMode") + b"".join(lines[1:]))
    with pytest.raises(OperatorError, match="has findings"):
        await prune(filled, verify_file(path, PinnedKeys(KEYS), NAME, 10))
    await filled.database.rows("UPDATE audit SET record = record || ' ' WHERE sequence = 4")
    with pytest.raises(OperatorError, match="the audit has"):
        await prune(filled, file)
    assert await sequences(filled) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM audit WHERE sequence = 5",
        "UPDATE audit SET record = record || ' ' WHERE sequence = 5",
        "UPDATE audit SET record = replace(convert_from(record, 'UTF8'), '\"5\"', '\"6\"')::bytea"
        " WHERE sequence = 6",
        "DELETE FROM audit WHERE sequence <= 6",
    ],
)
async def test_a_change_after_the_prune_is_found(filled: Replica, tmp_path: Path, change: str):
    await prune(filled, await export(filled, tmp_path / "a.jsonl"))
    await add(filled, CURRENT, "AddNode")
    assert (await verified(filled)).findings == []
    await filled.database.rows(change)
    assert (await verified(filled)).findings != []
