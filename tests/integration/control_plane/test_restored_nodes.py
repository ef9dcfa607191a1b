"""Restored databases of nodes: what an admin is shown, and acknowledges."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert, select
from typer.testing import CliRunner, Result

from custody.control_plane.access.scopes import Scope
from custody.control_plane.audit.restores import AuditRestores
from custody.control_plane.cli import app
from custody.control_plane.database import Database
from custody.control_plane.settings import initialise
from custody.control_plane.tables import audit_restores, nodes
from custody.wire.audit import AuditHead, Restored
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, RESTORED_TYPE, SignedBytes, SigningKey
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode


async def test_restores_of_a_node_are_shown_to_admins_alone(replica: Replica, node: MemoryNode):
    signer = SigningKey(Ed25519PrivateKey.generate())
    heads = []
    for sequence in (2, 5):
        head = AuditHead(node="node-1", sequence=sequence, hash=bytes([sequence]) * 32)
        heads.append((head, signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())))
    (agreed, own), (_, kept) = heads
    restored = Restored(
        node="node-1", agreed=agreed, kept=kept, own=own, operator="bo", reason="backup of Monday",
        at=datetime.now(UTC),
    )  # fmt: skip
    signed = signer.sign(RESTORED_TYPE, restored.model_dump_json().encode())
    async with replica.engine.begin() as connection:
        [name] = (await connection.execute(select(nodes.c.id))).scalars()
        await connection.execute(
            insert(audit_restores).values(
                node_id=name,
                number=1,
                **dict(signed),
                acknowledged_at=datetime.now(UTC),
                acknowledged_by="ada",
                acknowledged_reason="asked Bo",
            )
        )
    admin = replica.client((await replica.token([Scope.ADMIN])).text)
    reader = replica.client((await replica.token([Scope.READ])).text)
    (shown,) = (await admin.get("/v1/nodes")).json()["items"]
    (restore,) = shown["restores"]
    assert (restore["lost_sequence"], restore["lost_hash"]) == (5, "0x" + "05" * 32)
    assert (restore["own_sequence"], restore["own_hash"]) == (2, "0x" + "02" * 32)
    assert (restore["operator"], restore["reason"]) == ("bo", "backup of Monday")
    assert (restore["acknowledged_by"], restore["acknowledged_reason"]) == ("ada", "asked Bo")
    (shown,) = (await reader.get("/v1/nodes")).json()["items"]
    assert shown["restores"] == []


@pytest.fixture
def command(tmp_path: Path, control_plane_database: str) -> Callable[..., Result]:
    """Runs `control-plane` in this process, and looks at how it ends."""
    path = tmp_path / "control-plane.toml"
    initialise(path)
    url = f'url = "{control_plane_database}"'
    path.write_text(re.sub(r"^url =.*$", url, path.read_text(), flags=re.MULTILINE))

    def run(*words: str, status: int = 0) -> Result:
        done = CliRunner().invoke(app, ["--config", str(path), *words])
        assert done.exit_code == status, done.output
        return done

    return run


class RestoredNode:
    """A node whose records 3 to 5 are gone, as the control plane knows it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.signer = SigningKey(Ed25519PrivateKey.generate())
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO nodes (id, node_group, identity_public_key, audit_alarm, health)"
                " VALUES ('driver-1', 'hsm', %s, 'the audit chain ends at record 2', '{}')",
                [self.signer.public_key],
            )
            for sequence in (2, 5):
                head = self.head(sequence)
                connection.execute(
                    "INSERT INTO audit_heads (node_id, sequence, hash, payload, signature,"
                    " signing_key_id) VALUES ('driver-1', %s, %s, %s, %s, %s)",
                    [sequence, self.hash(sequence), *dict(head).values()],
                )

    def hash(self, sequence: int) -> bytes:
        return bytes([sequence]) * 32

    def head(self, sequence: int) -> SignedBytes:
        head = AuditHead(node="driver-1", sequence=sequence, hash=self.hash(sequence))
        return self.signer.sign(AUDIT_HEAD_TYPE, head.model_dump_json().encode())

    def state(self, reason: str) -> None:
        restored = Restored(
            node="driver-1",
            agreed=AuditHead(node="driver-1", sequence=2, hash=self.hash(2)),
            kept=self.head(5),
            own=self.head(2),
            operator="bo",
            reason=reason,
            at=datetime.now(UTC),
        )
        signed = self.signer.sign(RESTORED_TYPE, restored.model_dump_json().encode())

        async def claim() -> None:
            async with Database(self.url) as database:
                await AuditRestores(database).claim("driver-1", signed)

        asyncio.run(claim())


def test_a_restored_node_is_acknowledged_once_it_has_stated_that(
    command: Callable[..., Result], control_plane_database: str
):
    node = RestoredNode(control_plane_database)
    words = ("node", "restored", "driver-1", "--reason", "asked Bo", "--by", "ada")
    assert "audit restored" in command(*words, status=1).stderr
    node.state("backup of Monday\x1b[2J\n  gone:  nothing")
    shown = command(*words, "--yes").stdout
    assert "records 3 to 5" in shown
    assert node.hash(5).hex() in shown
    assert node.hash(2).hex() in shown
    assert "\x1b" not in shown  # what a node says cannot write over what is shown
    assert "\\n  gone:  nothing" in shown
    (row,) = json.loads(command("node", "restores", "driver-1", "--json").stdout)
    assert (row["operator"], row["acknowledged_by"]) == ("bo", "ada")
    assert (row["agreed_sequence"], row["lost_sequence"]) == (2, 5)
    assert "records 3 to 5" in command("node", "restores", "driver-1").stdout
    with psycopg.connect(control_plane_database) as connection:
        rows = connection.execute("SELECT sequence, set_aside_by FROM audit_heads ORDER BY 1")
        assert rows.fetchall() == [(2, None), (5, 1)]
        assert connection.execute("SELECT audit_alarm FROM nodes").fetchall() == [(None,)]


def test_the_record_of_a_removal_states_what_is_deleted(
    command: Callable[..., Result], control_plane_database: str
):
    node = RestoredNode(control_plane_database)
    node.state("backup of Monday")
    command("node", "restored", "driver-1", "--reason", "asked Bo", "--by", "ada", "--yes")
    assert "2 audit heads" in command("node", "remove", "driver-1", status=1).stderr
    command("node", "remove", "driver-1", "--with-audit-heads")
    with psycopg.connect(control_plane_database) as connection:
        row = connection.execute("SELECT record FROM audit ORDER BY sequence DESC").fetchone()
    assert row is not None
    assert json.loads(row[0])["details"] == {
        "node": "driver-1",
        "with_audit_heads": "true",
        "heads": "2",
        "records": "0",
        "last_sequence": "2",
        "last_hash": node.hash(2).hex(),
        "restore_1": f"lost records 3 to 5, the last with hash {node.hash(5).hex()}; then had 2 "
        f"records, the last with hash {node.hash(2).hex()}; acknowledged by ada",
    }


def test_a_restore_of_a_removed_node_is_not_acknowledged(
    command: Callable[..., Result], control_plane_database: str, monkeypatch: pytest.MonkeyPatch
):
    RestoredNode(control_plane_database).state("backup of Monday")

    def remove_before_the_answer(*_: object, **__: object) -> None:
        command("node", "remove", "driver-1", "--with-audit-heads")

    monkeypatch.setattr("typer.confirm", remove_before_the_answer)
    refused = command("node", "restored", "driver-1", "--reason", "asked Bo", status=1)
    assert "node driver-1 was removed meanwhile" in refused.stderr


def test_nobody_acknowledges_by_a_slip(command: Callable[..., Result], control_plane_database: str):
    RestoredNode(control_plane_database).state("backup of Monday")
    command("node", "restored", "driver-1", "--reason", "asked Bo", status=1)
    (row,) = json.loads(command("node", "restores", "driver-1", "--json").stdout)
    assert row["acknowledged_at"] is None
