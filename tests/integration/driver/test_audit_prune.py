"""`audit prune`: old exported records go, and everything that is left is still verified."""

import asyncio
import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from typer.testing import Result

from custody.database.pool import Pool
from custody.node import audit
from custody.node.audit_export import place_at
from custody.node.audit_prune import Order, Pruned, Pruning
from custody.node.audit_records import read_kept
from custody.node.audit_restore import lost_heads
from custody.node.chain_verification import Subject, Verification, verify_chain
from custody.runtime.audit_file import FileVerification
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from custody.wire.node_api import AuditHeads
from custody.wire.outcomes import OutcomeStatus
from custody.wire.signed_bytes import SignedBytes
from hsm_driver.audited_keys import CHECK
from tests.adopter import ADOPTER, adopt_row
from tests.integration.driver.commits import commit
from tests.integration.driver.conftest import NodeParts, node_parts
from tests.integration.driver.test_audit import new_key
from tests.integration.driver.test_audit_export import export, verified

Run = Callable[..., Result]
LATER = timedelta(days=1)


class Chain:
    """A chain with an export of it, and the heads that the control plane keeps."""

    def __init__(self, pool: Pool, node: NodeParts, path: Path) -> None:
        self.pool, self.node, self.path = pool, node, path
        self.heads: list[SignedBytes] = []

    async def grow(self) -> None:
        """Add four records. The first, of a key, stays when the others are pruned."""
        await new_key(self.node)
        self.heads.append(await self.node.chain.signed_head())
        for status in (OutcomeStatus.DONE, OutcomeStatus.DENIED, OutcomeStatus.FAILED):
            await self.node.journal.commit(commit(status))
            self.heads.append(await self.node.chain.signed_head())

    async def exported(self) -> FileVerification:
        await export(self.pool, self.node, self.path)
        return verified(self.path, self.node)

    def pruning(self) -> Pruning:
        return Pruning(self.pool, self.subject)

    @property
    def subject(self) -> Subject:
        return Subject(self.node.name, self.node.signer)

    async def prune(self, before: datetime | None = None) -> Pruned:
        order = Order(await self.exported(), before or datetime.now(UTC) + LATER, "bo", "ticket")
        pruned = await self.pruning().prune(order)
        self.node.chain.forget_head()
        return pruned

    async def verification(self) -> Verification:
        kept = read_kept(
            AuditHeads(group="hsm", heads=self.heads), self.node.signer, self.node.name
        )
        return await verify_chain(self.pool, self.subject, kept, CHECK, lambda *_: None)

    async def findings(self) -> list[str]:
        return [each.what for each in (await self.verification()).findings]

    async def sequences(self) -> list[int]:
        rows = await self.pool.rows("SELECT sequence FROM audit ORDER BY sequence")
        return [row.sequence for row in rows]


@pytest.fixture
async def chain(pool: Pool, node: NodeParts, tmp_path: Path) -> Chain:
    chain = Chain(pool, node, tmp_path / "audit.jsonl")
    await chain.grow()
    await chain.grow()
    return chain


async def test_pruned_chain_verifies_and_grows_and_is_pruned_again(chain: Chain):
    pruned = await chain.prune()
    assert pruned.checkpoint is not None
    assert (pruned.checkpoint.sequence, pruned.checkpoint.kept, pruned.deleted) == (8, 2, 6)
    assert await chain.sequences() == [1, 5, 9]
    verified = await chain.verification()
    assert (verified.findings, verified.pruned, verified.records) == ([], 8, 9)
    await chain.grow()
    assert await chain.findings() == []
    again = await chain.prune()
    assert again.checkpoint is not None
    assert (again.checkpoint.sequence, again.checkpoint.kept, again.deleted) == (13, 4, 3)
    assert await chain.sequences() == [1, 5, 9, 10, 14]
    assert await chain.findings() == []


async def test_records_that_are_too_young_stay(chain: Chain):
    pruned = await chain.prune(datetime.now(UTC) - LATER)
    assert (pruned.checkpoint, pruned.deleted) == (None, 0)
    assert await chain.sequences() == list(range(1, 9))


async def test_records_that_are_not_in_the_file_stay(chain: Chain):
    file = await chain.exported()
    await chain.grow()
    order = Order(file, datetime.now(UTC) + LATER, "bo", "ticket")
    pruned = await chain.pruning().prune(order)
    assert pruned.checkpoint is not None
    assert pruned.checkpoint.sequence == 8
    assert await chain.sequences() == [1, 5, *range(9, 14)]


async def test_a_file_that_does_not_prove_the_export_prunes_nothing(
    chain: Chain, pool: Pool, tmp_path: Path
):
    file = await chain.exported()
    lines = chain.path.read_bytes().splitlines(keepends=True)
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(lines[0].replace(b"DONE", b"GONE") + b"".join(lines[1:]))
    stranger = node_parts(pool, chain.node.name)
    late = tmp_path / "late.jsonl"
    late.write_bytes(b"".join(lines[1:]))
    for bad, says in [
        (verified(changed, chain.node), "has findings"),
        (verified(chain.path, stranger), "has findings"),
        (verified(late, chain.node), "lacks the records 1 to 1"),
        (replace(file, last_hash="00" * 32), "is not the record of this database"),
        (FileVerification(0, None, None, 0, [], 0), "no record"),
    ]:
        with pytest.raises(OperatorError, match=says):
            await chain.pruning().prune(Order(bad, datetime.now(UTC) + LATER, "bo", "ticket"))
    assert await chain.sequences() == list(range(1, 9))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET record = record || ' ' WHERE sequence = 5",
        "DELETE FROM audit WHERE sequence = 5",
        "UPDATE audit SET hash = sha256(hash) WHERE sequence = 1",
        "DELETE FROM wrapped_keys",
        "DELETE FROM audit WHERE sequence = 10",
        "UPDATE audit SET record = replace(convert_from(record, 'UTF8'), 'statement_key\":\"',"
        " 'statement_key\":\"0')::bytea WHERE sequence = 9",
    ],
)
async def test_every_change_after_a_prune_is_found(chain: Chain, pool: Pool, change: str):
    await chain.prune()
    await chain.grow()
    assert await chain.findings() == []
    await pool.rows(change)
    assert await chain.findings() != []


async def test_records_that_somebody_deletes_himself_are_found(chain: Chain, pool: Pool):
    await pool.rows("DELETE FROM audit WHERE sequence IN (2, 3, 4)")
    assert await chain.findings() != []
    with pytest.raises(OperatorError, match="damaged at record 5"):
        await chain.pruning().prune(
            Order(
                FileVerification(
                    8,
                    1,
                    8,
                    8,
                    [],
                    0,
                    (await place_at(pool, chain.node.name, chain.node.signer, 8)).hash.hex(),
                ),
                datetime.now(UTC) + LATER,
                "bo",
                "ticket",
            )
        )


async def test_a_crash_before_the_deletion_leaves_a_chain_that_verifies(
    chain: Chain, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    async def crash(*_: object) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Pruning, "_delete", crash)
        with pytest.raises(RuntimeError):
            await chain.prune()
    chain.node.chain.forget_head()
    assert await chain.sequences() == list(range(1, 10))
    assert await chain.findings() == []
    await pool.rows("DELETE FROM audit WHERE sequence = 3")  # the crash came after this one
    assert await chain.findings() == []
    pruned = await chain.prune(datetime.now(UTC) - LATER)
    assert (pruned.checkpoint, pruned.deleted) == (None, 5)
    assert await chain.sequences() == [1, 5, 9]
    assert await chain.findings() == []


async def test_a_running_node_continues_its_chain(chain: Chain):
    """The node keeps the head in memory while a command appends the checkpoint."""
    order = Order(await chain.exported(), datetime.now(UTC) + LATER, "bo", "ticket")
    await chain.pruning().prune(order)
    await chain.node.journal.commit(commit())
    assert await chain.sequences() == [1, 5, 9, 10]
    assert await chain.findings() == []


async def test_heads_below_the_checkpoint_are_not_lost(chain: Chain, pool: Pool):
    await chain.prune()
    kept = read_kept(AuditHeads(group="hsm", heads=chain.heads), chain.node.signer, chain.node.name)
    assert await lost_heads(pool, chain.node.name, chain.node.signer, kept) == []


async def test_a_file_continues_after_the_prune_and_a_new_one_begins_there(
    chain: Chain, pool: Pool, tmp_path: Path
):
    await chain.prune()
    await chain.grow()
    file = await chain.exported()
    assert (file.findings, file.first, file.last) == ([], 1, 13)
    chain.path = tmp_path / "new.jsonl"
    file = await chain.exported()
    assert (file.findings, file.first, file.last) == ([], 9, 13)
    with pytest.raises(OperatorError, match="records 6 to 8 of the chain of driver-1"):
        await place_at(pool, chain.node.name, chain.node.signer, 5)


def test_the_command(run: Run, tmp_path: Path):
    create_signing_key(tmp_path / "identity.pem")
    assert run("retention", "set", 30, "--reason", "ticket 31").exit_code == 0
    path = tmp_path / "audit.jsonl"
    assert run("audit", "export", "--to", path, "--offline").exit_code == 0
    words = ("audit", "prune", "--exported", path, "--offline", "--reason", "ticket 32")
    done = run(*words, "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (
        0,
        {"deleted": 0, "checkpoint": None, "notes": []},
    )
    short = run(*words, "--keep-days", 29)
    assert short.exit_code == 1
    assert "the journal keeps outcomes for 90 days" in short.stderr
    path.write_text(path.read_text().replace("success", "failure"))
    assert run(*words).exit_code == 1


async def test_a_checkpoint_that_another_key_signed_is_found(chain: Chain, pool: Pool):
    """A person who writes to the database extends the chain, but cannot sign a checkpoint."""
    file = await chain.exported()
    stranger = Pruning(pool, Subject(chain.node.name, node_parts(pool, "x").signer))
    await stranger.prune(Order(file, datetime.now(UTC) + LATER, "bo", "ticket"))
    assert await chain.sequences() == [1, 5, 9]
    findings = await chain.findings()
    assert any("the checkpoint is invalid" in what for what in findings)
    assert any("missing" in what for what in findings)


class Ago(datetime):
    """The clock of a node 100 days ago."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Ago":
        found: Ago = super().now(tz) - timedelta(days=100)
        return found


def refused_by_the_disk(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def test_the_command_deletes_what_is_older_than_the_journal_keeps(
    pool: Pool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    node = node_parts(pool, "node-1", create_signing_key(tmp_path / "identity.pem"))
    with monkeypatch.context() as patch:
        patch.setattr(audit, "datetime", Ago)
        for _ in range(3):
            await node.journal.commit(commit(node="node-1"))
    await pool.rows("UPDATE journal SET committed_at = now() - interval '100 days'")
    await node.journal.commit(commit(node="node-1"))
    path = tmp_path / "audit.jsonl"

    async def json_of(*words: object) -> dict:
        done = await asyncio.to_thread(run, "audit", *words, "--json")
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    exported = await asyncio.to_thread(run, "audit", "export", "--offline", "--to", path)
    assert exported.exit_code == 0, exported.output
    words: tuple[object, ...] = ("prune", "--exported", path, "--offline", "--reason", "ticket 32")
    await adopt_row(
        pool,
        "AdoptMasterKey",
        ("custody/1", bytes(32)),
        "INSERT INTO master_keys (id, check_value) VALUES ('custody/1', :value) "
        "RETURNING check_value",
        {"value": bytes(32)},
    )
    refused = await asyncio.to_thread(run, "audit", *words)
    assert refused.exit_code == 1
    assert "the chain of node-1 has 1 findings" in refused.stderr
    words = (*words, "--other", ADOPTER)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refused_by_the_disk)
        not_synced = await asyncio.to_thread(run, "audit", *words)
    assert not_synced.exit_code == 1
    assert f"cannot write {path} to the disk: Input/output error" in not_synced.stderr
    note = f"master key custody/1 (check value {'0' * 16}…) was adopted by {ADOPTER}: run audit"
    pruned = await json_of(*words)
    assert note in pruned.pop("notes")[0]
    assert pruned == {"deleted": 3, "checkpoint": 3}
    found = await json_of("verify", "--offline", "--other", ADOPTER)
    assert (found["findings"], found["pruned"], found["records"]) == ([], 3, 5)
    again = await asyncio.to_thread(run, "audit", *words)
    assert f"was adopted by {ADOPTER}" in " ".join(again.stdout.split())
    assert "0 records deleted" in again.stdout
