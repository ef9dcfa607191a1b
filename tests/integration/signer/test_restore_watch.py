"""How a signer notices that its database was restored, and what its operator sees and decides."""

import json
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.audited_changes import AuditedChanges, record_without_job
from custody.node.key_backups import Confirmation, confirm
from custody.node.restored_keys import adopt_restored
from custody.runtime.signing_key import create_signing_key
from custody.wire.audit import AuditHead
from custody.wire.ban_questions import NONCE_BYTES
from custody.wire.node_api import AuditHeads
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SignedBytes, SigningKey
from mpc.bans.bans import Bans
from mpc.peers import Peers
from mpc.restored.kept_heads import KeptHeads
from mpc.restored.marks import Marks
from mpc.restored.watch import RestoreWatch, restore_state
from tests.integration.signer.commands import command
from tests.integration.signer.keys import ME

IDENTITY = SigningKey(Ed25519PrivateKey.generate())


def restore_watch(pool: Pool, folder: Path) -> RestoreWatch:
    """As of a process that has just started."""
    return RestoreWatch(pool, ME, Marks(folder))


async def test_a_new_signer_asks_nobody_and_its_mark_is_replaced(pool: Pool, tmp_path: Path):
    first = restore_watch(pool, tmp_path)
    assert "not compared" in str(first.problem())
    seen = set()
    for _ in range(3):
        await first.renew()
        row = await restore_state(pool)
        assert row is not None
        assert Marks(tmp_path).read() == frozenset({row.mark})
        seen.add(row.mark)
    assert len(seen) == 3
    assert first.problem() is None
    again = restore_watch(pool, tmp_path)
    await again.renew()
    assert (again.problem(), again.noticed_at) == (None, None)


@pytest.mark.parametrize("is_mark_written", [False, True])
async def test_a_new_signer_with_pins_alone_was_not_restored(
    pool: Pool, tmp_path: Path, is_mark_written: bool
):
    """Also if its first start was killed before the state directory had the mark."""
    await Peers(pool).add("signer-2", IDENTITY.public_key)
    await restore_watch(pool, tmp_path).renew()
    if not is_mark_written:
        (tmp_path / "mark").unlink()
    started = restore_watch(pool, tmp_path)
    await started.renew()
    assert (started.problem(), started.noticed_at) == (None, None)


async def test_a_new_signer_whose_operator_has_confirmed_backups_and_keys_was_not_restored(
    pool: Pool, tmp_path: Path
):
    """These commands work before the first start, and each leaves an audit record."""
    changes, keys = AuditedChanges(pool, ME), {"custody-signer/1": bytes(32)}
    await confirm(changes, keys, Confirmation("bo", "safe 2"))
    await adopt_restored(changes, keys, extractable=False, operator="bo", reason="from the safe")
    kinds = {json.loads(row.record)["kind"] for row in await pool.rows("SELECT record FROM audit")}
    assert kinds == {"ConfirmKeyBackup", "AdoptRestoredKey"}
    started = restore_watch(pool, tmp_path)
    await started.renew()
    assert (started.problem(), started.noticed_at) == (None, None)

    # a record of another kind shows work, also if it quotes one of these kinds
    await pool.rows("DELETE FROM restore_watch")
    (tmp_path / "mark").unlink()
    details = {"reason": '"kind":"ConfirmKeyBackup"'}
    await changes.commit("SELECT 1", {}, record_without_job("Test", details))
    again = restore_watch(pool, tmp_path)
    await again.renew()
    assert "was restored" in str(again.problem())


@pytest.mark.parametrize("is_mark_left", [False, True])
@pytest.mark.parametrize(
    "left",
    [
        "INSERT INTO used_tickets (ceremony) VALUES (gen_random_uuid())",
        "INSERT INTO shares (key_id, ceremony, state)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), 'abandoned')",
        "INSERT INTO in_flight (key_id, signer, ceremony)"
        " VALUES (gen_random_uuid(), 'signer-2', gen_random_uuid())",
        "UPDATE peers SET added_at = now()",
    ],
)
async def test_a_restored_database_without_the_row_of_marks_is_noticed(
    pool: Pool, tmp_path: Path, left: str, is_mark_left: bool
):
    """Pins alone do not tell it from a new one, so then the mark in the state directory must."""
    await Peers(pool).add("signer-2", IDENTITY.public_key)
    await restore_watch(pool, tmp_path).renew()
    await pool.rows("DELETE FROM restore_watch")
    await pool.rows(left)
    if not is_mark_left:
        (tmp_path / "mark").unlink()
    started = restore_watch(pool, tmp_path)
    await started.renew()
    assert (started.problem() is not None) == (is_mark_left or "peers" not in left)


async def test_a_process_killed_while_it_replaced_the_mark_asks_nobody(pool: Pool, tmp_path: Path):
    await restore_watch(pool, tmp_path).renew()
    [row] = await pool.rows("SELECT mark FROM restore_watch")
    for written in (uuid4(), row.mark):  # before and after the database had the following mark
        Marks(tmp_path).write(row.mark, written)
        started = restore_watch(pool, tmp_path)
        await started.renew()
        assert started.problem() is None
        [row] = await pool.rows("SELECT mark FROM restore_watch")


@pytest.mark.parametrize("content", [b"", b"{}", b'["no"]', b"[1]", b"\xff"])
async def test_a_damaged_file_of_marks_counts_as_a_restore(
    pool: Pool, tmp_path: Path, content: bytes
):
    await restore_watch(pool, tmp_path).renew()
    (tmp_path / "mark").write_bytes(content)
    started = restore_watch(pool, tmp_path)
    await started.renew()
    assert "was restored" in str(started.problem())


async def test_a_ban_is_followed_by_a_new_mark_before_its_file_goes(pool: Pool, tmp_path: Path):
    """So a database without the ban has a mark that the state directory does not know."""
    here = restore_watch(pool, tmp_path)
    await here.renew()
    [before] = await pool.rows("SELECT mark FROM restore_watch")
    bans = Bans(pool, ME, IDENTITY, after_ban=here.renew)
    bans.earn(uuid4(), "signer-2", "it lied", uuid4())
    assert [ceremony async for ceremony in bans.keep_earned()]
    await pool.rows("DELETE FROM bans")
    await pool.rows("UPDATE restore_watch SET mark = :mark", {"mark": before.mark})
    started = restore_watch(pool, tmp_path)
    await started.renew()
    assert "was restored" in str(started.problem())


async def test_a_full_disk_is_shown_and_keeps_the_mark(pool: Pool, tmp_path: Path, monkeypatch):
    here = restore_watch(pool, tmp_path)
    await here.renew()
    kept = Marks(tmp_path).read()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Marks, "write", full)
    await here.renew()
    assert "No space left" in str(here.fault())
    assert (here.problem(), Marks(tmp_path).read()) == (None, kept)
    [row] = await pool.rows("SELECT mark FROM restore_watch")
    assert kept == frozenset({row.mark})
    monkeypatch.undo()
    await here.renew()
    assert here.fault() is None


class ControlPlane:
    """Keeps audit heads."""

    def __init__(self, *heads: SignedBytes) -> None:
        self.heads = list(heads)

    async def audit_heads(self) -> AuditHeads:
        return AuditHeads(group="mpc", heads=self.heads)


def head(sequence: int, signer: SigningKey = IDENTITY) -> SignedBytes:
    said = AuditHead(node=ME, sequence=sequence, hash=bytes([sequence]) * 32)
    return signer.sign(AUDIT_HEAD_TYPE, said.model_dump_json().encode())


async def compared(pool: Pool, folder: Path, *heads: SignedBytes) -> RestoreWatch:
    started = restore_watch(pool, folder)
    await started.renew()
    kept = KeptHeads(pool, ME, IDENTITY, ControlPlane(*heads), started)  # type: ignore[arg-type]
    assert kept.problem() is not None
    await kept.compare()
    assert kept.problem() is None
    return started


async def test_a_host_that_was_set_back_with_its_database_is_noticed_by_the_kept_head(
    pool: Pool, tmp_path: Path
):
    assert (await compared(pool, tmp_path)).problem() is None
    noticed = await compared(pool, tmp_path, head(7))
    assert "audit record 7" in str(noticed.problem())
    # the head stays lost: the next start continues the same question
    assert nonce(await compared(pool, tmp_path, head(7))) == nonce(noticed)
    assert nonce(await compared(pool, tmp_path, head(8))) != nonce(noticed)


def nonce(asking: RestoreWatch) -> bytes | None:
    assert asking.question is not None
    return asking.question.nonce


async def test_a_head_that_this_signer_has_not_signed_proves_nothing(pool: Pool, tmp_path: Path):
    other = SigningKey(Ed25519PrivateKey.generate())
    assert (await compared(pool, tmp_path, head(7, other))).problem() is None


async def test_the_chains_own_head_is_no_loss(pool: Pool, tmp_path: Path):
    changes = AuditedChanges(pool, ME)
    await changes.commit("SELECT 1", {}, record_without_job("Test", {}))
    [row] = await pool.rows("SELECT sequence, hash FROM audit")
    said = AuditHead(node=ME, sequence=row.sequence, hash=row.hash)
    signed = IDENTITY.sign(AUDIT_HEAD_TYPE, said.model_dump_json().encode())
    await restore_watch(pool, tmp_path).notice("so that the mark fits")
    first = await compared(pool, tmp_path, signed)
    assert first.lost_head is None


async def test_the_operator_sees_who_has_not_answered_and_does_without(config: Path, pool: Pool):
    create_signing_key(config.parent / "identity.pem")
    for name in ("signer-2", "signer-3"):
        key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        await Peers(pool).add(name, key)
    done = await command(config, "bans", "answers")
    assert (done.exit_code, done.stdout.startswith("no restore")) == (0, True)
    early = await command(config, "bans", "do-without", "signer-3", "--reason", "gone")
    assert "waits for no answer" in early.stderr

    here = restore_watch(pool, config.parent / "state")
    await here.notice("its mark is not the one of the state directory")
    assert here.question is not None
    assert here.question.nonce is not None
    await here.answered("signer-2", here.question.nonce, 4)
    done = await command(config, "bans", "answers", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["is_waiting"]) == (1, True)
    assert [(each["signer"], each["answer"]) for each in said["peers"]] == [
        ("signer-2", "answered"),
        ("signer-3", "missing"),
    ]
    unknown = await command(config, "bans", "do-without", "signer-9", "--reason", "gone")
    assert "does not ask 'signer-9'" in unknown.stderr
    await pool.rows("DELETE FROM peers WHERE signer = 'signer-3'")
    await pool.rows("UPDATE restore_answers SET named = '{signer-3}'")
    done = await command(config, "bans", "answers")
    said = " ".join(done.stdout.split())
    assert "Pin signer-3 (mpc-signer peers add" in said
    assert (
        "removed on purpose, do not add it again: do without that signer (mpc-signer bans" in said
    )
    seen = await command(config, "doctor", "--json")
    assert "removed on purpose, do not add it again: do without that signer" in seen.stdout
    assert ["signer-3", "no", "signer-2", "missing"] in [
        line.split()[:4] for line in done.stdout.splitlines()
    ]
    done = await command(config, "bans", "do-without", "signer-3", "--reason", "closed down")
    assert (done.exit_code, done.stdout) == (0, "does without signer-3\n")
    assert await here.waits_for() == ()
    said = json.loads((await command(config, "bans", "answers", "--json")).stdout)
    assert "closed down" in said["peers"][1]["answer"]
    assert "Pin signer-3" not in (await command(config, "bans", "answers")).stdout
    refused = await command(config, "bans", "ask-again", "--reason", "too early")
    assert "is asking already" in refused.stderr
    asked, compared = here.question.nonce, 0

    async def compare(connection: Connection) -> dict[str, str | None]:
        nonlocal compared
        compared += 1
        await connection.rows("DELETE FROM restore_answers")
        return {}

    assert await here.complete(bytes(NONCE_BYTES), compare) is None  # not the open question
    assert (compared, here.problem() is None) == (0, False)
    assert await here.complete(asked, compare) == {}
    assert (compared, here.problem()) == (1, None)
    done = await command(config, "bans", "ask-again", "--reason", "the refresh is over")
    assert (done.exit_code, done.stdout.split(";")[0]) == (0, "asks again within seconds")
    await here.renew()
    assert await here.waits_for() == ("signer-2",)
