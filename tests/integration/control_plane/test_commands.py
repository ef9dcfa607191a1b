"""control-plane's commands, as an operator types them."""

import base64
import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from custody.control_plane.cli import app
from custody.control_plane.settings import load_settings
from custody.wire.signed_bytes import SigningKey
from devstack.service import command
from tests.commands import run_command

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def control_plane(tmp_path: Path) -> Command:
    """Runs `control-plane` with a configuration in this test's folder."""

    def run(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = run_command([command("control-plane"), *arguments], folder=tmp_path)
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def configured(control_plane: Command, tmp_path: Path, empty_database: str) -> Command:
    """The same, after init, with a database that has no tables yet."""
    control_plane("init")
    path = tmp_path / "control-plane.toml"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(
            f'url = "{empty_database}"' if line.startswith("url =") else line for line in lines
        )
    )
    return control_plane


def test_init_writes_a_configuration_that_loads_and_the_key(control_plane: Command, tmp_path: Path):
    shown = control_plane("init").stdout
    settings = load_settings(tmp_path / "control-plane.toml")
    signer: SigningKey = settings.jobs.signer()
    assert base64.b64encode(signer.public_key).decode() in shown
    assert settings.jobs.signing_key == tmp_path / "job-signing.pem"
    assert settings.jobs.signing_key.stat().st_mode & 0o777 == 0o600
    assert settings.public_api.certificate == tmp_path / "tls/certificate.pem"


def test_init_overwrites_nothing(control_plane: Command, tmp_path: Path):
    control_plane("init")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert "there already" in control_plane("init", status=1).stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def refused_by_the_disk(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_new_control_plane_in_the_order_of_the_help(configured: Command, tmp_path: Path):
    error = configured("token", "create", "shop", "--scope", "read", status=1).stderr
    assert "control-plane migrate" in error
    configured("migrate")
    configured("migrate")
    configured("node", "add", "driver-1", "--group", "hsm")
    configured("node", "add", "driver-1", "--group", "hsm")
    assert "2 records: nothing found" in configured("audit", "verify").stdout
    assert "exported 2 records" in configured("audit", "export", "--to", "audit.jsonl").stderr
    assert (
        "2 records: nothing found" in configured("audit", "verify", "--file", "audit.jsonl").stdout
    )
    words = ("--exported", "audit.jsonl", "--keep-days", "1", "--reason", "ticket 31")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", refused_by_the_disk)
        patch.chdir(tmp_path)
        refused = CliRunner().invoke(app, ["audit", "prune", *words])  # in this process
    assert refused.exit_code == 1
    assert "cannot write audit.jsonl to the disk: Input/output error" in refused.stderr
    assert "0 records deleted" in configured("audit", "prune", *words).stdout
    other = configured("node", "add", "driver-1", "--group", "b", status=1).stderr
    assert "node remove driver-1" in other
    assert "--certificate FILE" in " ".join(other.split())
    (node,) = json.loads(configured("node", "list", "--json").stdout)
    assert (node["id"], node["group"], node["last_seen"]) == ("driver-1", "hsm", None)
    options = ["--scope", "read", "--scope", "sign", "--days", "30"]
    made = json.loads(configured("token", "create", "shop", *options, "--json").stdout)
    assert made["token"].startswith("custody_")
    assert made["scopes"] == ["read", "sign"]
    listed = configured("token", "list")
    assert made["id"] in listed.stdout
    assert made["token"] not in listed.stdout
    configured("token", "revoke", made["id"])
    (row,) = json.loads(configured("token", "list", "--json").stdout)
    assert row["revoked_at"] is not None
    configured("node", "remove", "driver-1")
    assert "node list" in configured("node", "remove", "driver-1", status=1).stderr
    assert "--certificate" in configured("node", "add", "driver-1", "--group", "b", status=1).stderr


def test_signatures_and_audit_records_of_nodes_have_a_retention_each(configured: Command):
    configured("migrate")

    def days(*words: str) -> int | None:
        found: int | None = json.loads(configured("retention", "show", "--json", *words).stdout)[
            "days"
        ]
        return found

    reason = ("--reason", "ticket 31")
    assert (
        "signatures and imports are kept" in configured("retention", "set", "730", *reason).stdout
    )
    said = configured("retention", "set", "400", "--node-audit", *reason).stdout
    assert "audit records of nodes are kept for 400 days" in said
    assert (days(), days("--node-audit")) == (730, 400)
    configured("retention", "off", *reason)
    assert (days(), days("--node-audit")) == (None, 400)
    configured("retention", "off", "--node-audit", *reason)
    assert days("--node-audit") is None
    assert "4 records: nothing found" in configured("audit", "verify").stdout


def test_doctor_says_what_to_do_about_each_thing_that_is_not_there(configured: Command):
    found = json.loads(configured("doctor", "--json", status=1).stdout)
    failed = {check["name"]: check for check in found if check["status"] == "fail"}
    assert failed.keys() == {"certificate public_api", "certificate node_api", "database"}
    assert "control-plane migrate" in failed["database"]["todo"]
    configured("migrate")
    found = {
        check["name"]: check
        for check in json.loads(configured("doctor", "--json", status=1).stdout)
    }
    assert found["clock"]["status"] == found["job-signing key"]["status"] == "ok"
    assert "node add" in found["nodes"]["todo"]
    assert "nothing answers at" in configured("doctor", status=1).stdout


def test_a_node_needs_an_id_that_a_certificate_can_name(configured: Command):
    configured("migrate")
    assert "node id" in configured("node", "add", "a b", "--group", "hsm", status=1).stderr
    assert (
        "not a group's name"
        in configured("node", "add", "driver-1", "--group", "a b", status=1).stderr
    )


def test_a_signer_is_registered_with_its_owner(configured: Command):
    configured("migrate")
    add = ("node", "add", "signer-1", "--group", "mpc", "--owner")
    configured(*add, "acme")
    configured(*add, "acme")
    assert "as acme's" in configured(*add, "bank", status=1).stderr
    (node,) = json.loads(configured("node", "list", "--json").stdout)
    assert (node["id"], node["group"], node["owner"]) == ("signer-1", "mpc", "acme")


def test_mistakes_in_the_configuration_are_named(configured: Command, tmp_path: Path):
    path = tmp_path / "control-plane.toml"
    text = path.read_text()
    path.write_text(text.replace("port = 8443", 'port = "many"\ncolour = "red"'))
    error = configured("token", "list", status=1).stderr
    assert "public_api.port" in error
    assert "public_api.colour" in error
    path.write_text(text.replace("[database]\n", '[database]\nurl_file = "database-url"\n'))
    assert "either url or url_file" in configured("token", "list", status=1).stderr
    path.unlink()
    assert "--config" in configured("token", "list", status=1).stderr


def test_a_database_that_is_not_there_is_said_plainly(configured: Command, tmp_path: Path):
    path = tmp_path / "control-plane.toml"
    text = path.read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("url =")]
    path.write_text(text.replace(line, 'url = "postgresql://nobody@127.0.0.1:1/none"'))
    for arguments in (["migrate"], ["token", "list"], ["node", "list"]):
        assert "Connection refused" in configured(*arguments, status=1).stderr


def test_serve_says_what_is_missing(configured: Command):
    error = configured("serve", status=1).stderr
    assert "tls/certificate.pem" in error


def test_openapi_needs_no_configuration(control_plane: Command):
    document = json.loads(control_plane("openapi").stdout)
    assert document["info"]["title"] == "Custody"
