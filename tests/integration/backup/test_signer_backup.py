"""Backups of a signer: shares open under the encryption key, which is not in the backup."""

import asyncio
import subprocess
from pathlib import Path

import psycopg
import pytest

from custody.backup.creation import create
from custody.backup.daemon import Daemon
from custody.backup.manifest import FILES
from custody.database.pool import Pool
from custody.runtime.configuration import read_settings, write_secret
from custody.runtime.errors import OperatorError
from custody.runtime.signing_key import create_signing_key
from devstack.customer_key import create_customer_key
from devstack.processes import LOCALHOST, free_port
from mpc.backup import daemon_of
from mpc.configuration import NewSigner, new_configuration
from mpc.settings import SignerSettings
from mpc.shares.encryption_key import create_key_file
from mpc.shares.encryption_keys import open_encryption_keys
from mpc.shares.shares import Shares
from tests.integration.backup.conftest import (
    Progress,
    age_key,
    no_progress,
    restore_by_command,
    verify_with,
)
from tests.integration.signer.keys import ME, new_key, put

SHARES = 2


@pytest.fixture
def config(tmp_path: Path, signer_database: str) -> Path:
    """The configuration of a signer with two shares and a recipient."""
    new = NewSigner(
        node=ME,
        job_signing_keys=["AAAA"],
        database_url=signer_database,
        delivery=[f"delivery-1=https://{LOCALHOST}:{free_port()}"],
        health_port=0,
    )
    recipient = age_key(tmp_path / "recipient")
    text = new_configuration(new).replace("recipients = []", f'recipients = ["{recipient}"]')
    write_secret(tmp_path / "mpc-signer.toml", text.encode())
    create_signing_key(tmp_path / "identity.pem")
    create_key_file(tmp_path / "encryption.key")
    (tmp_path / "tls").mkdir()
    for file in ("tls/ca.pem", "tls/certificate.pem", "tls/private_key.pem"):
        (tmp_path / file).write_text(f"the contents of {file}")
    asyncio.run(fill(tmp_path / "mpc-signer.toml", signer_database))
    return tmp_path / "mpc-signer.toml"


async def fill(config: Path, url: str) -> None:
    settings = read_settings(config, SignerSettings)
    async with Pool(url, 2, "test") as pool, open_encryption_keys(settings, pool) as keys:
        await keys.adopt_first(pool)
        shares = Shares(pool, keys)
        for made in (new_key() for _ in range(SHARES)):
            await put(pool, await shares.prepare_row(made.confirmation, None, made.ours))


def daemon(config: Path) -> Daemon:
    return daemon_of(read_settings(config, SignerSettings), config)


def test_every_share_of_a_good_backup_opens(config: Path):
    made = create(daemon(config), no_progress)
    found = verify_with(daemon(config), made.path, config.parent / "recipient")
    assert (found.findings, found.tried, found.in_all) == ([], SHARES, SHARES)
    sampled = verify_with(daemon(config), made.path, config.parent / "recipient", sample=1)
    assert (sampled.tried, sampled.in_all) == (1, SHARES)


@pytest.mark.parametrize("sample", [1, SHARES + 1, None])
def test_progress_counts_shares_and_comes_to_its_total(config: Path, sample: int | None):
    progress = Progress()
    made = create(daemon(config), no_progress)
    verify_with(
        daemon(config), made.path, config.parent / "recipient", sample=sample, advance=progress
    )
    tried = min(sample or SHARES, SHARES)
    assert progress.last["shares"] == (tried, tried, False)
    assert progress.last["checksums"][2], "bytes"


def test_the_encryption_key_is_not_in_the_backup(config: Path, tmp_path: Path):
    path = create(daemon(config), no_progress).path
    (tmp_path / "opened").mkdir()
    subprocess.run(["tar", "-xf", path, "-C", tmp_path / "opened"], check=True)
    plain = tmp_path / "files.tar"
    age = ["age", "--decrypt", "--output", str(plain), "--identity", str(tmp_path / "recipient")]
    subprocess.run([*age, str(tmp_path / "opened" / FILES)], check=True)
    secret = (tmp_path / "encryption.key").read_bytes().strip()
    assert secret not in plain.read_bytes()
    assert b"PRIVATE KEY" in plain.read_bytes()


def test_a_share_that_does_not_match_its_row_is_found(config: Path, signer_database: str):
    with psycopg.connect(signer_database, autocommit=True) as connection:
        connection.execute(
            "UPDATE shares SET public_key = sha256(public_key)"
            " WHERE key_id = (SELECT min(key_id::text)::uuid FROM shares)"
        )
    path = create(daemon(config), no_progress).path
    found = verify_with(daemon(config), path, config.parent / "recipient")
    assert len(found.findings) == 1
    assert "public key" in found.findings[0]


def test_another_encryption_key_cannot_check_the_backup(config: Path):
    path = create(daemon(config), no_progress).path
    (config.parent / "encryption.key").unlink()
    create_key_file(config.parent / "encryption.key")
    with pytest.raises(OperatorError, match="which is not here"):
        verify_with(daemon(config), path, config.parent / "recipient")


def test_a_restore_ends_with_what_its_operator_repeats(
    config: Path, signer_database: str, empty_database: str
):
    """Nobody else knows of it: the control plane answers nothing about it."""
    made = create(daemon(config), no_progress)
    since = made.manifest.created_at.isoformat(timespec="seconds")
    said = restore_by_command("mpc-signer", config, signer_database, empty_database, made.path)
    assert said.splitlines()[-3:] == [
        "next, before run: mpc-signer shares archivals lists what is archived here; repeat what "
        f"an operator has done on the host since {since}: mpc-signer shares archive KEY "
        "--reason TEXT, or unarchive",
        "next, before run: add and remove again what you have added and removed since then: "
        "mpc-signer peers list, mpc-signer apps list, mpc-signer repair list, "
        "mpc-signer shares list",
        "next, before run: mpc-signer freeze --reason TEXT, if the node was frozen: a freeze is "
        "not in a backup",
    ]


def test_what_layer_4_needs_is_in_the_backup(config: Path, tmp_path: Path):
    """A restored configuration that names a customer key without a file is not valid."""
    pair = create_customer_key(tmp_path)
    (tmp_path / "s3-credentials").write_text("[default]\n")
    section = """
[layer4]
endpoint = "https://s3.example.com"
region = "r"
bucket = "copies"
prefix = "signer-1/"
customer_key_file = "customer.pub"
credentials_file = "s3-credentials"
"""
    config.write_text(config.read_text() + section)
    files = set(daemon(config).files)
    assert {pair.public_key, tmp_path / "s3-credentials"} <= files
