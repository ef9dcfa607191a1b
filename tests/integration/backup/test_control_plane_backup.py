"""Backups of the control plane: signed by its job-signing key, with the nodes' audit heads."""

from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from custody.backup.creation import create
from custody.backup.daemon import Daemon
from custody.control_plane.backup import daemon_of
from custody.control_plane.cli import app
from custody.control_plane.settings import initialise, load_settings
from custody.wire.audit import AuditHead
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, SigningKey
from tests.integration.backup.conftest import (
    Progress,
    age_key,
    no_progress,
    restore_by_command,
    verify_with,
)

HEADS = 3


@pytest.fixture
def config(tmp_path: Path, control_plane_database: str) -> Path:
    path = tmp_path / "control-plane.toml"
    initialise(path)
    recipient = age_key(tmp_path / "recipient")
    text = path.read_text().replace("recipients = []", f'recipients = ["{recipient}"]')
    url = "postgresql://control_plane@127.0.0.1:5432/control_plane"
    path.write_text(text.replace(url, control_plane_database))
    (tmp_path / "tls").mkdir()
    for name in ("certificate.pem", "private_key.pem", "ca.pem"):
        (tmp_path / "tls" / name).write_text(f"the contents of {name}")
    return path


@pytest.fixture
def heads(control_plane_database: str) -> str:
    """Three heads of a node, as it signed them. Return the database's URL."""
    signer = SigningKey(Ed25519PrivateKey.generate())
    with psycopg.connect(control_plane_database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO nodes (id, node_group, identity_public_key) VALUES ('node-1', 'hsm', %s)",
            (signer.public_key,),
        )
        for sequence in range(1, HEADS + 1):
            head = AuditHead(node="node-1", sequence=sequence, hash=bytes([sequence]) * 32)
            signed = signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())
            connection.execute(
                "INSERT INTO audit_heads"
                " (node_id, sequence, hash, payload, signature, signing_key_id)"
                " VALUES ('node-1', %s, %s, %s, %s, %s)",
                (sequence, head.hash, signed.payload, signed.signature, signed.signing_key_id),
            )
    return control_plane_database


def daemon(config: Path) -> Daemon:
    return daemon_of(load_settings(config), config)


def test_a_backup_is_signed_by_the_job_signing_key_and_its_heads_are_checked(
    config: Path, heads: str
):
    made = create(daemon(config), no_progress)
    assert made.path.name.startswith("control-plane-2")
    found = verify_with(daemon(config), made.path, config.parent / "recipient")
    assert (found.findings, found.tried, found.in_all) == ([], HEADS, HEADS)
    assert any("the key that signed the backup" in line for line in found.said)


@pytest.mark.parametrize("sample", [1, HEADS + 1, None])
def test_progress_counts_heads_and_comes_to_its_total(config: Path, heads: str, sample: int | None):
    progress = Progress()
    made = create(daemon(config), no_progress)
    verify_with(
        daemon(config), made.path, config.parent / "recipient", sample=sample, advance=progress
    )
    tried = min(sample or HEADS, HEADS)
    assert progress.last["audit heads"] == (tried, tried, False)
    assert progress.last["checksums"][2], "bytes"


def test_a_head_that_its_node_has_not_signed_is_found(config: Path, heads: str):
    with psycopg.connect(heads, autocommit=True) as connection:
        connection.execute("UPDATE audit_heads SET sequence = 9 WHERE sequence = 2")
        connection.execute("UPDATE audit_heads SET payload = '{}' WHERE sequence = 3")
    path = create(daemon(config), no_progress).path
    found = verify_with(daemon(config), path, config.parent / "recipient")
    assert len(found.findings) == 2
    assert any("was signed as 2" in each for each in found.findings)


def test_a_restore_ends_with_reconcile_and_with_what_was_taken_away(
    config: Path, control_plane_database: str, empty_database: str
):
    made = create(daemon(config), no_progress)
    since = made.manifest.created_at.isoformat(timespec="seconds")
    urls = control_plane_database, empty_database
    said = restore_by_command("control-plane", config, *urls, made.path)
    assert said.splitlines()[-3:] == [
        "next, before serve: control-plane reconcile, which asks the nodes for keys and outcomes "
        "that this database lacks",
        "next, before serve: revoke and remove again what you have revoked and removed since "
        f"{since}: control-plane token list, control-plane node list",
        f"next, after serve: for each node whose restore you have acknowledged since {since}: "
        "audit restored on its host, then control-plane node restored NODE",
    ]


def test_a_control_plane_asks_no_other_host_what_is_newer(config: Path, tmp_path: Path):
    done = CliRunner().invoke(app, ["--config", str(config), "backup", "newer", str(tmp_path)])
    assert done.exit_code == 2
    assert "control-plane reconcile" in done.stderr
    assert done.stdout == ""
