"""Tokens and nodes that no command added: `audit verify` compares the rows with the records."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from custody.control_plane.audit import own_export
from custody.control_plane.audit.own_chain import NAME, Auditor
from custody.control_plane.cli import app
from custody.control_plane.settings import initialise, load_settings
from custody.database.pool import Pool
from custody.runtime.audit_file import verify_file
from custody.runtime.errors import OperatorError
from custody.runtime.tls import load_certificates
from custody.wire.signed_bytes import PinnedKeys
from tests.integration.node_api.certificates import Certificates

Found = tuple[list[str], list[str]]

TOKEN_OF_NOBODY = (
    "INSERT INTO tokens (id, application_id, hash, scopes)"
    " SELECT gen_random_uuid(), id, sha256('mine'), '{sign}' FROM applications"
)


class Access:
    """A control plane with a token that is valid, a token that is revoked, and two nodes."""

    def __init__(self, config: Path, url: str) -> None:
        self.config = config
        self.url = url
        self.token = self.create()
        self.revoked = self.create()
        self.run("token", "revoke", self.revoked)
        self.run("node", "add", "zurich-1", "zurich-2", "--group", "hsm", "--owner", "acme")

    def run(self, *words: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, ["--config", str(self.config), *words])
        assert done.exit_code == status, done.output
        return done.stdout

    def create(self) -> str:
        made = self.run("token", "create", "shop", "--scope", "sign", "--days", "9", "--json")
        token: str = json.loads(made)["id"]
        return token

    def change(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            assert connection.execute(sql).rowcount > 0

    def verified(self) -> Found:
        """Return the findings and the notes of `audit verify`."""
        done = CliRunner().invoke(app, ["--config", str(self.config), "audit", "verify", "--json"])
        found = json.loads(done.stdout)
        assert done.exit_code == (1 if found["findings"] else 0)
        return [what for _, what in found["findings"]], found["notes"]

    def prune(self, path: Path) -> int:
        """Export, and prune every record that the file contains."""
        signer = load_settings(self.config).jobs.signer()

        async def work() -> int:
            keys = [signer.public_key]
            async with Pool(self.url, 1, "test") as pool, pool.transaction() as connection:
                await own_export.append_to(connection, path)
                file = verify_file(path, PinnedKeys(keys), NAME, 10)
                auditor = Auditor("bo", signer)
                return await own_export.prune(
                    connection, auditor, keys, file, timedelta(0), "ticket 31"
                )

        return asyncio.run(work())


@pytest.fixture
def access(tmp_path: Path, control_plane_database: str) -> Access:
    path = tmp_path / "control-plane.toml"
    initialise(path)
    url = f'url = "{control_plane_database}"'
    path.write_text(re.sub(r"^url =.*$", url, path.read_text(), flags=re.MULTILINE))
    return Access(path, control_plane_database)


def test_rows_that_commands_wrote_have_no_findings(access: Access):
    access.run("node", "remove", "zurich-2")
    access.run("node", "add", "zurich-1", "--group", "hsm", "--owner", "acme")
    assert access.verified() == ([], [])
    assert "7 records: nothing found" in access.run("audit", "verify")


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (TOKEN_OF_NOBODY, "no record says who added it"),
        ("UPDATE tokens SET revoked_at = NULL WHERE revoked_at IS NOT NULL",
         "after record 3 took its access away"),
        ("UPDATE tokens SET hash = sha256('mine') WHERE revoked_at IS NULL",
         "differs from record 1 in hash"),
        ("UPDATE tokens SET scopes = '{admin}', expires_at = NULL WHERE revoked_at IS NULL",
         "differs from record 1 in scopes, expires_at"),
        ("WITH other AS (INSERT INTO applications (id, name) VALUES (gen_random_uuid(), 'bank')"
         " RETURNING id) UPDATE tokens SET application_id = other.id FROM other"
         " WHERE revoked_at IS NULL", "differs from record 1 in application_id"),
        ("INSERT INTO nodes (id, node_group) VALUES ('zurich-3', 'hsm')",
         "the node zurich-3, but no record says who added it"),
        ("UPDATE nodes SET owner = 'bank' WHERE id = 'zurich-1'", "differs from record 4 in owner"),
        ("UPDATE nodes SET node_group = 'mpc' WHERE id = 'zurich-2'",
         "differs from record 5 in group"),
    ],
)  # fmt: skip
def test_a_row_that_no_command_wrote_is_found(access: Access, change: str, finding: str):
    access.change(change)
    [what], notes = access.verified()
    assert (finding in what, notes) == (True, [])


def test_the_finding_names_the_command_that_ends_it(access: Access):
    access.change(TOKEN_OF_NOBODY)
    [what], _ = access.verified()
    access.run(*what.split("control-plane ")[-1].split())
    assert access.verified() == ([], [])


def test_a_node_that_was_removed_and_put_back_is_found(access: Access):
    access.run("node", "remove", "zurich-2")
    access.change("INSERT INTO nodes (id, node_group, owner) VALUES ('zurich-2', 'hsm', 'acme')")
    [what], _ = access.verified()
    assert "after record 6 took its access away" in what


def test_a_token_that_gives_no_access_needs_no_record(access: Access):
    access.change(TOKEN_OF_NOBODY)
    access.change("UPDATE tokens SET expires_at = now() WHERE hash = sha256('mine')")
    assert access.verified() == ([], [])


def test_a_record_of_an_earlier_version_is_noted(access: Access):
    """It has neither the hash nor the application's id: such a token cannot be compared whole."""
    access.change(TOKEN_OF_NOBODY)

    async def record() -> None:
        async with Pool(access.url, 1, "test") as pool, pool.transaction() as connection:
            [row] = await connection.rows("SELECT id FROM tokens WHERE hash = sha256('mine')")
            said = {"token": str(row.id), "application": "shop"}
            auditor = Auditor("bo", load_settings(access.config).jobs.signer())
            details = {**said, "scopes": "sign", "expires_at": "never"}
            await auditor.record(connection, "CreateToken", details)

    asyncio.run(record())
    findings, [note] = access.verified()
    assert findings == []
    assert "does not state application_id, hash of the token" in note
    assert note.split()[:2] == ["record", "6"]
    assert " ".join(access.run("audit", "verify").split()).endswith(note)


def test_an_earlier_certificate_that_is_accepted_again_is_found(access: Access, tmp_path: Path):
    path = Certificates(tmp_path / "pki").node("zurich-1") / "certificate.pem"
    add = ("node", "add", "zurich-1", "--group", "hsm", "--owner", "acme")
    access.run(*add, "--certificate", str(path))
    access.run(*add)  # keeps the certificate
    assert access.verified() == ([], [])
    access.run("node", "remove", "zurich-2")
    access.prune(tmp_path / "audit.jsonl")
    assert access.verified() == ([], [])
    access.change(
        "UPDATE nodes SET certificates_from = certificates_from - interval '1 s'"
        " WHERE id = 'zurich-1'"
    )
    [what], _ = access.verified()
    assert "zurich-1" in what
    assert "in certificates_from" in what


def test_the_record_of_a_node_names_its_certificate(access: Access, tmp_path: Path):
    path = Certificates(tmp_path / "pki").node("zurich-1") / "certificate.pem"
    add = ("node", "add", "zurich-1", "--group", "hsm", "--owner", "acme")
    access.run(*add, "--certificate", str(path))
    with psycopg.connect(access.url) as connection:
        row = connection.execute("SELECT record FROM audit ORDER BY sequence DESC").fetchone()
    assert row is not None
    certificate = load_certificates(path)[0]
    assert json.loads(row[0])["details"] == {
        "node": "zurich-1",
        "group": "hsm",
        "owner": "acme",
        "certificate_serial": f"{certificate.serial_number:x}",
        "certificates_from": certificate.not_valid_before_utc.isoformat(),
    }


def test_a_prune_states_valid_rows_again(access: Access, tmp_path: Path):
    path = tmp_path / "audit.jsonl"
    assert access.prune(path) == 4  # the record of zurich-2, at the checkpoint, stays
    assert access.verified() == ([], [])
    access.run("token", "revoke", access.token)
    assert access.prune(path) > 0
    assert access.verified() == ([], [])
    access.change("UPDATE tokens SET revoked_at = NULL")
    findings, _ = access.verified()
    assert len(findings) == 2  # both tokens: no record states them any more
    access.change("UPDATE nodes SET owner = 'bank'")
    assert len(access.verified()[0]) == 4


def test_a_prune_deletes_nothing_while_a_row_has_no_record(access: Access, tmp_path: Path):
    access.change(TOKEN_OF_NOBODY)
    with pytest.raises(OperatorError, match="the audit has 1 findings"):
        access.prune(tmp_path / "audit.jsonl")
