"""mpc-recover restore-signer: a signer's shares from its share copies, in a fresh database."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from custody.database.pool import Pool
from custody.node.chain_verification import Subject, verify_chain
from custody.node.identity import load_identity
from custody.node.only_process import OnlyProcess
from custody.runtime.configuration import write_secret
from custody.runtime.signing_key import create_signing_key
from custody.wire.signed_bytes import SigningKey
from custody.wire.tickets import Protocol
from mpc.commands import restore_signer
from mpc.recover import opening, share_file
from mpc.recover_cli import app
from mpc.restored.marks import Marks
from mpc.restored.watch import RestoreWatch
from mpc.settings import SignerSettings
from mpc.shares.audited_shares import CHECK
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from tests.integration.signer.commands import command
from tests.integration.signer.keys import ME, activate, new_key
from tests.unit.mpc.layer4.share_copies import IDENTITIES
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT
from tests.unit.mpc.native.keys import key as key_of
from tests.unit.mpc.recover.bucket import write_copies, write_key_file

CHECKOUT = Path(__file__).parents[3]
KEYS = {protocol: uuid5(UUID(int=7), protocol) for protocol in (DKLS, ED25519, TAPROOT)}


Restore = Callable[..., Awaitable[Result]]


def write_identity(path: Path, identity: SigningKey) -> None:
    key = identity._private_key
    path.unlink(missing_ok=True)
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """The copies of all three signers, of a key of each protocol."""
    folder = tmp_path / "bucket"
    for protocol, key_id in KEYS.items():
        write_copies(folder, key_of(protocol), key_id=key_id)
    return folder


@pytest.fixture
def restore(
    tmp_path: Path, config: Path, settings: SignerSettings, monkeypatch: pytest.MonkeyPatch
) -> Restore:
    monkeypatch.setattr(opening, "harden", lambda: None)
    monkeypatch.setattr(opening, "lock_memory", lambda: True)
    write_identity(settings.identity.private_key, IDENTITIES[ME])
    customer_key = write_key_file(tmp_path / "customer-key")

    async def run(folder: Path, *words: str) -> Result:
        line = ["restore-signer", str(folder), "--customer-key", str(customer_key)]
        line += ["--config", str(config), "--reason", "the host burnt down", *words]
        return await asyncio.to_thread(CliRunner().invoke, app, line)

    return run


async def test_every_share_is_active_opens_and_is_in_the_audit(
    bucket: Path, restore: Restore, pool: Pool, keys: EncryptionKeys, settings: SignerSettings
):
    done = await restore(bucket, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["restored"] == 3
    assert said["other_signers"] == ["signer-2", "signer-3"]
    assert said["has_new_identity"] is False
    shares = Shares(pool, keys)
    for protocol, key_id in KEYS.items():
        stored = await shares.active(key_id)
        assert stored is not None
        assert stored.is_proved
        assert stored.is_uncertain
        assert stored.signers[stored.index - 1] == ME
        share = await shares.open(stored)
        assert share.to_bytes() == key_of(protocol)[1].to_bytes()
    identity = load_identity(settings.identity.private_key)
    subject = Subject(ME, identity)
    verified = await verify_chain(pool, subject, None, CHECK, lambda *_: None)
    assert (verified.records, verified.findings) == (3, [])
    records = await pool.rows("SELECT convert_from(record, 'UTF8') AS record FROM audit")
    assert all("the host burnt down" in row.record for row in records)


async def test_a_lost_row_of_a_restored_share_is_found(
    bucket: Path, restore: Restore, pool: Pool, settings: SignerSettings
):
    assert (await restore(bucket)).exit_code == 0
    await pool.rows("DELETE FROM shares WHERE key_id = :key_id", {"key_id": KEYS[ED25519]})
    subject = Subject(ME, load_identity(settings.identity.private_key))
    verified = await verify_chain(pool, subject, None, CHECK, lambda *_: None)
    assert [finding.what.endswith("is gone") for finding in verified.findings] == [True]


async def test_a_restore_that_was_interrupted_continues(bucket: Path, restore: Restore, pool: Pool):
    assert (await restore(bucket)).exit_code == 0
    await pool.rows("DELETE FROM shares WHERE key_id = :key_id", {"key_id": KEYS[TAPROOT]})
    said = json.loads((await restore(bucket, "--json")).stdout)
    assert (said["restored"], said["already_there"]) == (1, 2)


@pytest.mark.parametrize("is_mark_left", [False, True])
async def test_a_signer_that_has_started_with_the_empty_database_asks_its_peers_after_the_restore(
    bucket: Path, restore: Restore, pool: Pool, tmp_path: Path, *, is_mark_left: bool
):
    await RestoreWatch(pool, ME, Marks(tmp_path)).renew()
    if not is_mark_left:
        (tmp_path / "mark").unlink()
    assert (await restore(bucket)).exit_code == 0
    started = RestoreWatch(pool, ME, Marks(tmp_path))
    await started.renew()
    assert "was restored" in str(started.problem())
    assert await started.waits_for() == ("signer-2", "signer-3")
    question = started.question
    assert question is not None

    assert (await restore(bucket)).exit_code == 0  # restores nothing: the same question stays
    await started.renew()
    assert started.question is not None
    assert started.question.nonce == question.nonce


async def test_a_running_signer_is_refused(bucket: Path, restore: Restore, pool: Pool):
    async with OnlyProcess(pool, ME):
        done = await restore(bucket)
    assert done.exit_code == 1
    assert "signer-1 runs on this database" in done.stderr
    assert "Stop signer-1" in done.stderr
    assert await pool.rows("SELECT FROM shares") == []


async def test_uncertain_shares_are_asked_about_again_though_no_restore_was_noticed(
    bucket: Path, restore: Restore, pool: Pool, tmp_path: Path, config: Path
):
    """As an earlier version left a signer that had started with the empty database."""
    again = ["bans", "ask-again", "--reason", "shares are uncertain"]
    assert "has no uncertain share" in (await command(config, *again)).stderr
    assert (await restore(bucket)).exit_code == 0
    await pool.rows("INSERT INTO restore_watch (id, mark) VALUES (1, gen_random_uuid())")
    started = RestoreWatch(pool, ME, Marks(tmp_path))
    [row] = await pool.rows("SELECT mark FROM restore_watch")
    Marks(tmp_path).write(row.mark)
    await started.renew()
    assert started.problem() is None
    done = await command(config, *again)
    assert done.exit_code == 0, done.output
    await started.renew()
    assert "was restored (its shares are uncertain)" in str(started.problem())
    assert started.noticed_at is not None
    assert not started.has_outlived_tickets()


async def test_the_next_steps_are_named(bucket: Path, restore: Restore):
    said = (await restore(bucket)).output
    for step in (
        "peers add",
        "bans answers",
        "peers list",
        "shares list",
        "layer4 backfill",
        "shares verify",
        "doctor",
    ):
        assert step in said


async def test_of_several_sets_of_a_key_one_must_be_named(
    tmp_path: Path, restore: Restore, pool: Pool, keys: EncryptionKeys
):
    """The latest one may be of a refresh that was abandoned, or was put there by somebody else."""
    folder, key_id = tmp_path / "bucket", KEYS[ED25519]
    write_copies(folder, key_of(ED25519), key_id=key_id)
    write_copies(folder, parties.refresh(key_of(ED25519)), generation=1, key_id=key_id)
    older, newer = str(uuid5(key_id, "0")), str(uuid5(key_id, "1"))
    done = await restore(folder)
    assert done.exit_code == 1
    for said in ("1 keys have copies of several sets", older, newer, "generation 1, signed by"):
        assert said in done.stderr
    done = await restore(folder, "--ceremony", older, "--ceremony", newer)
    assert "several sets" in done.stderr
    assert await pool.rows("SELECT FROM shares") == []

    (tmp_path / "named").write_text(f"{older}\n{UUID(int=3)}\n")  # of a key of others as well
    assert (await restore(folder, "--ceremonies", str(tmp_path / "named"))).exit_code == 0
    stored = await Shares(pool, keys).active(key_id)
    assert stored is not None
    assert stored.generation == 0
    done = await restore(folder, "--ceremony", newer)
    assert "the database is in use" in done.stderr


async def test_copies_that_several_identities_have_signed_need_a_choice(
    bucket: Path, restore: Restore, pool: Pool
):
    """Who can write to the bucket can add a key, and copies under an own identity."""
    strange = SigningKey(Ed25519PrivateKey.generate())
    write_copies(bucket, key_of(ED25519), key_id=UUID(int=5), identity=strange)
    write_copies(
        bucket, key_of(ED25519), key_id=KEYS[ED25519], ceremony=UUID(int=6), identity=strange
    )
    good = _text(IDENTITIES[ME])
    done = await restore(bucket, "--ceremony", str(UUID(int=6)))
    assert done.exit_code == 1
    for each in ("another identity key", good, _text(strange)):
        assert each in done.stderr
    assert await pool.rows("SELECT FROM shares") == []
    done = await restore(bucket, "--signed-by", good, "--json")
    said = json.loads(done.stdout)
    assert (said["restored"], said["signed_by"]) == (3, [good])
    neither = await restore(bucket, "--signed-by", _text(SigningKey(Ed25519PrivateKey.generate())))
    assert "no share of signer-1 that" in neither.stderr


async def test_copies_that_another_identity_alone_has_signed_need_its_name(
    tmp_path: Path, restore: Restore, pool: Pool
):
    """Who can delete in the bucket can replace all copies, under the real key id and ceremony."""
    strange = SigningKey(Ed25519PrivateKey.generate())
    folder, key_id = tmp_path / "bucket", KEYS[ED25519]
    write_copies(folder, key_of(ED25519), key_id=key_id, identity=strange)
    done = await restore(folder)
    assert done.exit_code == 1
    for each in (f"signed by {_text(strange)};", f"this signer's is {_text(IDENTITIES[ME])}"):
        assert each in done.stderr
    for step in ("peers list", "--signed-by"):
        assert step in done.stderr
    assert await pool.rows("SELECT FROM shares") == []
    done = await restore(folder, "--signed-by", _text(IDENTITIES[ME]))
    assert "no share of signer-1 that" in done.stderr


async def test_a_signer_with_a_new_identity_names_the_one_before(
    bucket: Path, restore: Restore, settings: SignerSettings
):
    settings.identity.private_key.unlink()
    new = create_signing_key(settings.identity.private_key)
    assert (await restore(bucket)).exit_code == 1
    done = await restore(bucket, "--signed-by", _text(IDENTITIES[ME]))
    assert done.exit_code == 0, done.output
    assert f"--identity {_text(new)}" in done.output
    again = await restore(bucket, "--signed-by", _text(IDENTITIES[ME]), "--json")
    assert json.loads(again.stdout)["has_new_identity"] is True


async def test_a_copy_with_which_no_signer_can_be_restored_is_refused(
    bucket: Path, restore: Restore, monkeypatch: pytest.MonkeyPatch
):
    fault = "another version made it"
    monkeypatch.setattr(share_file, "fault_of_protocol_share", lambda _: fault)
    done = await restore(bucket)
    assert done.exit_code == 1
    assert "no signer can be restored with it: another version made it" in done.stderr


def _text(key: SigningKey) -> str:
    return base64.b64encode(key.public_key).decode()


async def test_a_database_that_is_in_use_is_refused(
    bucket: Path, restore: Restore, pool: Pool, keys: EncryptionKeys
):
    await activate(pool, Shares(pool, keys), new_key(Protocol.FROST_ED25519))
    done = await restore(bucket)
    assert done.exit_code == 1
    assert "the database is in use: it has 0 jobs and 1 other shares" in done.output


async def test_copies_of_other_signers_alone_are_refused(bucket: Path, restore: Restore):
    done = await restore(bucket / "signer-2")
    assert done.exit_code == 1
    assert "no share of signer-1; they have shares of: signer-2" in done.output


async def test_a_ceremony_that_is_not_there_is_refused(bucket: Path, restore: Restore):
    done = await restore(bucket, "--ceremony", str(UUID(int=1)))
    assert done.exit_code == 1
    assert f"of ceremony {UUID(int=1)}" in done.output


PASSPHRASE = "correct horse"


def hand_over(folder: Path, passphrase: str = PASSPHRASE) -> subprocess.CompletedProcess[str]:
    """Run the customer's script of the page, which asks for the passphrase of its key once."""
    page = (CHECKOUT / "docs" / "how-to" / "recover" / "signer-by-layer4.md").read_text()
    (script,) = re.findall(r"^```sh\n(set -euo pipefail\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert "/dev/shm" in script
    (folder / "handover.sh").write_text(script.replace("/dev/shm", str(folder)))
    return subprocess.run(
        ["bash", "handover.sh"],
        cwd=folder,
        input=passphrase + "\n",
        capture_output=True,
        text=True,
        start_new_session=True,  # ssh-keygen would ask at the terminal
        check=False,
    )


def has_unlocked_key(folder: Path) -> bool:
    return list(folder.glob("handover.*")) != [folder / "handover.sh"]


@pytest.fixture
def customers_machine(bucket: Path, tmp_path: Path, restore: Restore) -> Path:
    """The customer's key with a passphrase, the key that is used once, and a signer's copies."""
    keygen = ["ssh-keygen", "-q"]
    change = [*keygen, "-p", "-P", "", "-N", PASSPHRASE, "-f", "customer-key"]
    subprocess.run(change, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    once = [*keygen, "-t", "ed25519", "-N", "", "-f", "once"]
    subprocess.run(once, cwd=tmp_path, check=True)
    shutil.copytree(bucket / "signer-1", tmp_path / "signer-1")
    return tmp_path


async def test_the_customer_hands_over_the_copies_of_one_signer_as_the_page_says(
    customers_machine: Path, tmp_path: Path, restore: Restore
):
    done = await asyncio.to_thread(hand_over, customers_machine)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 copies" in done.stdout
    assert not has_unlocked_key(customers_machine)
    line = ["inspect", str(tmp_path / "handover"), "--customer-key", str(tmp_path / "once")]
    said = CliRunner().invoke(app, [*line, "--json"])
    assert {file["state"] for file in json.loads(said.stdout)["files"]} == {"good"}
    (tmp_path / "once").rename(tmp_path / "customer-key")
    again = await restore(tmp_path / "handover", "--json")
    assert json.loads(again.stdout)["restored"] == 3


@pytest.mark.parametrize("fault", ["wrong passphrase", "damaged file", "no files"])
def test_a_handover_that_fails_hands_over_nothing_and_leaves_no_key(
    customers_machine: Path, fault: str
):
    passphrase = PASSPHRASE
    files = sorted((customers_machine / "signer-1").rglob("*.age"))
    match fault:
        case "wrong passphrase":
            passphrase = "wrong"
        case "damaged file":
            files[-1].write_bytes(b"rubbish")
        case "no files":
            shutil.rmtree(customers_machine / "signer-1")
    done = hand_over(customers_machine, passphrase)
    assert done.returncode != 0
    assert "copies are in handover" not in done.stdout
    assert list(customers_machine.glob("handover/*.age")) == []
    assert not has_unlocked_key(customers_machine)


async def test_a_recovery_kit_says_where_to_restore_a_signer(
    bucket: Path, restore: Restore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(restore_signer, "DATABASE_CLIENT", "a_module_that_no_kit_has")
    done = await restore(bucket)
    assert done.exit_code == 1
    assert "Run this command on the signer's host" in done.output
