"""`audit export`, and the check of its file without the database."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from custody.database.pool import Pool
from custody.node.audit_export import Heads, lines_after, place_at
from custody.runtime.audit_file import ExportFile, FileVerification, verify_file
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from custody.wire.audit import GENESIS, chain_hash
from custody.wire.signed_bytes import PinnedKeys
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts, node_parts

Run = Callable[..., Result]


async def export(pool: Pool, node: NodeParts, path: Path, kept: Heads | None = None) -> None:
    """As the command does it, without its process."""
    with ExportFile(path) as file:
        end = file.place()
        place = await place_at(pool, node.name, node.signer, 0 if end is None else end.sequence)
        assert end in (None, place)
        needs = file.needs_head
        after = lines_after(pool, node.name, node.signer, place, needs_head=needs, kept=kept)
        async for line in after:
            file.write(line)


@pytest.fixture
async def exported(pool: Pool, node: NodeParts, tmp_path: Path) -> Path:
    """Four records in two exports, with two heads."""
    path = tmp_path / "audit.jsonl"
    for _ in "ab":
        await node.journal.commit(commit(details={"operator": "bo", "reason": 'a "b"\n\u2028'}))
        await node.journal.commit(commit())
        await export(pool, node, path)
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, changed: bytes) -> None:
    path.write_bytes(changed)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def verified(path: Path, node: NodeParts) -> FileVerification:
    keys = PinnedKeys([node.signer.public_key])
    return verify_file(path, keys, node.name, 100)


def findings(path: Path, node: NodeParts) -> list[str]:
    return [what for _, what in verified(path, node).findings]


async def test_a_file_grows_with_each_export_and_is_checked_without_the_database(
    pool: Pool, node: NodeParts, exported: Path
):
    found = verified(exported, node)
    assert (found.records, found.first, found.last, found.signed) == (4, 1, 4, 4)
    assert found.findings == []
    assert len(content(exported).splitlines()) == 6
    assert mode(exported) == 0o600
    before = content(exported)
    await export(pool, node, exported)
    assert content(exported) == before, "there is nothing new"


async def test_a_line_has_the_names_of_ecs_and_the_record_itself(pool: Pool, exported: Path):
    said = json.loads(content(exported).splitlines()[0])
    [row] = await pool.rows("SELECT record, hash FROM audit WHERE sequence = 1")
    record = json.loads(row.record)
    assert said["event.original"].encode() == row.record
    assert said["event.hash"] == row.hash.hex()
    assert said["@timestamp"] == record["at"]
    assert (said["event.action"], said["event.outcome"]) == ("Sign", "success")
    assert (said["user.name"], said["service.node.name"]) == ("bo", "driver-1")
    assert said["custody.job_id"] == record["job_id"]


async def test_a_line_that_a_crash_cut_off_is_written_again(
    pool: Pool, node: NodeParts, exported: Path
):
    whole = content(exported)
    for cut in (1, 50, len(whole.splitlines()[-1]) + 30):
        put(exported, whole[:-cut])
        await export(pool, node, exported)
        found = verified(exported, node)
        assert (found.records, found.findings) == (4, [])


async def test_every_change_of_a_file_is_found(node: NodeParts, exported: Path):
    lines = content(exported).splitlines(keepends=True)

    def of(*changed: bytes) -> list[str]:
        put(exported, b"".join(changed))
        return findings(exported, node)

    assert of(*lines) == []
    assert of(lines[0], *lines[2:]) != []
    assert of(lines[1], lines[0], *lines[2:]) != []
    assert of(*lines[:5]) == ["no signed head covers the records 3 to 4"]
    shown = json.loads(lines[0]) | {"event.outcome": "failure"}
    assert of(json.dumps(shown).encode() + b"\n", *lines[1:]) == [
        "the fields of record 1 differ from the record itself"
    ]
    forged = lines[0].replace(b"DONE", b"GONE")
    assert forged != lines[0]
    assert of(forged, *lines[1:]) != []
    assert of(b"{}\n", *lines) == ["the line has no record"]
    assert of(b"not JSON\n", *lines) != []
    assert of(*lines[3:]) == [], "a file may begin later"


async def test_a_head_of_another_signer_is_found(pool: Pool, node: NodeParts, exported: Path):
    stranger = node_parts(pool, node.name)
    assert any("not signed by this node" in what for what in findings(exported, stranger))


async def test_a_file_of_another_chain_is_not_continued(
    pool: Pool, node: NodeParts, exported: Path
):
    await pool.rows("UPDATE audit SET hash = sha256(hash) WHERE sequence = 4")
    with ExportFile(exported) as file:
        assert file.place() != await place_at(pool, node.name, node.signer, 4)
    with pytest.raises(OperatorError, match="has no record 9"):
        await place_at(pool, node.name, node.signer, 9)


def test_a_file_of_something_else_is_left_alone(tmp_path: Path):
    path = tmp_path / "notes"
    path.write_text("buy milk\n")
    with ExportFile(path) as file, pytest.raises(OperatorError, match="not a file of this command"):
        file.place()
    assert path.read_text() == "buy milk\n"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ("DELETE FROM audit WHERE sequence = 3", "the record 3 is missing: the next one is 4"),
        ("UPDATE audit SET record = record || ' ' WHERE sequence = 3",
         "the hash of record 3 does not follow"),
    ],
)  # fmt: skip
async def test_no_head_is_signed_over_a_record_that_does_not_follow(
    pool: Pool, node: NodeParts, exported: Path, tmp_path: Path, change: str, error: str
):
    await pool.rows(f"{change} RETURNING sequence")
    path = tmp_path / "new.jsonl"
    with pytest.raises(OperatorError, match=error):
        await export(pool, node, path)
    actions = [json.loads(line)["event.action"] for line in content(path).splitlines()]
    assert actions == ["Sign"] * 2


async def written_again(pool: Pool, node: NodeParts, without: int) -> None:
    """Write the chain again without one record, as a person with the database alone can."""
    rows = await pool.rows("DELETE FROM audit RETURNING sequence, record")
    previous, number = GENESIS, 0
    for row in sorted(rows, key=lambda row: row.sequence):
        if row.sequence == without:
            continue
        number += 1
        said = json.loads(row.record) | {"sequence": number}
        record = json.dumps(said, separators=(",", ":")).encode()
        previous = chain_hash(previous, record)
        values = {"node": node.name, "sequence": number, "record": record, "hash": previous}
        await pool.rows(
            "INSERT INTO audit (node, sequence, record, hash)"
            " VALUES (:node, :sequence, :record, :hash) RETURNING sequence",
            values,
        )


@pytest.mark.parametrize(
    ("without", "reported", "error"),
    [
        (3, (2, 3), "record 3 differs from the head that this node signed"),
        (3, (2, 4), "signed and reported 4 records, and the database ends at 3"),
        (1, (2,), "record 2 differs"),
    ],
)
async def test_a_chain_that_was_written_again_contradicts_the_kept_heads(
    pool: Pool,
    node: NodeParts,
    exported: Path,
    tmp_path: Path,
    without: int,
    reported: tuple[int, ...],
    error: str,
):
    rows = await pool.rows("SELECT sequence, hash FROM audit")
    kept = {row.sequence: {row.hash} for row in rows if row.sequence in reported}
    await export(pool, node, tmp_path / "before.jsonl", kept)
    await written_again(pool, node, without)
    path = tmp_path / "after.jsonl"
    with pytest.raises(OperatorError, match=error):
        await export(pool, node, path, kept)
    assert b"AuditHead" not in content(path)


async def test_a_file_does_not_continue_after_a_record_that_contradicts_a_kept_head(
    pool: Pool, node: NodeParts, exported: Path
):
    before = content(exported)
    with pytest.raises(OperatorError, match="record 4 differs"):
        await export(pool, node, exported, {4: {bytes(32)}})
    assert content(exported) == before


def test_the_control_plane_is_asked_for_the_kept_heads(run: Run, tmp_path: Path):
    create_signing_key(tmp_path / "identity.pem")
    done = run("audit", "export", "--to", tmp_path / "audit.jsonl")
    assert done.exit_code == 1
    assert "certificate.pem" in done.stderr  # of the connection to it
    assert not (tmp_path / "audit.jsonl").exists()


def test_the_commands(run: Run, tmp_path: Path):
    create_signing_key(tmp_path / "identity.pem")
    assert run("retention", "set", 30, "--reason", "ticket 31").exit_code == 0
    path = tmp_path / "audit.jsonl"
    done = run("audit", "export", "--to", path, "--offline")
    assert done.exit_code == 0, done.output
    assert "exported 1 records; next: --after 1" in done.stderr
    verify = run("audit", "verify", "--file", path, "--json")
    assert (verify.exit_code, json.loads(verify.stdout)["records"]) == (0, 1)
    assert (
        run("audit", "export", "--offline").stdout.splitlines()[0]
        == path.read_text().splitlines()[0]
    )
    assert run("audit", "export", "--offline", "--after", 1).stdout == ""
    path.write_text(path.read_text().replace("success", "failure"))
    assert run("audit", "verify", "--file", path).exit_code == 1
    assert run("audit", "export", "--to", path, "--after", 1).exit_code == 1


def test_an_empty_file_proves_nothing(run: Run, tmp_path: Path):
    create_signing_key(tmp_path / "identity.pem")
    path = tmp_path / "audit.jsonl"
    assert run("audit", "export", "--to", path, "--offline").exit_code == 0
    done = run("audit", "verify", "--file", path)
    assert done.exit_code == 2
    assert f"{path} is empty" in done.stderr
    assert done.stdout == ""
