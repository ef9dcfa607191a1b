"""`control-plane job-signing-key`: who pins the next key, and when a switch is refused."""

import base64
import errno
import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner, Result

from custody.control_plane.cli import app
from custody.control_plane.settings import initialise
from custody.wire.signed_bytes import signing_key_id

Command = Callable[..., Result]


@pytest.fixture
def control_plane(tmp_path: Path, control_plane_database: str) -> Command:
    """Runs `control-plane` in this process."""
    path = tmp_path / "control-plane.toml"
    initialise(path)
    text = re.sub(
        r"^url =.*$", f'url = "{control_plane_database}"', path.read_text(), flags=re.MULTILINE
    )
    path.write_text(text.replace("servers = []", 'servers = ["delivery-1"]'))

    def run(*words: str, status: int = 0) -> Result:
        done = CliRunner().invoke(app, ["--config", str(path), *words])
        assert done.exit_code == status, done.output
        return done

    return run


@pytest.fixture
def command(control_plane: Command) -> Command:
    return partial(control_plane, "job-signing-key")


class Nodes:
    """Rows of nodes, as heartbeats write them."""

    def __init__(self, url: str) -> None:
        self._url = url

    def beat(
        self,
        node: str,
        pins: list[str] | None,
        delivery: dict[str, list[str]] | None = None,
        seconds_ago: float = 1,
    ) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO nodes (id, node_group, last_seen, job_signing_keys,"
                " delivery_job_signing_keys)"
                " VALUES (%s, 'hsm', now() - make_interval(secs => %s), %s, %s)"
                " ON CONFLICT (id) DO UPDATE SET last_seen = excluded.last_seen,"
                " job_signing_keys = excluded.job_signing_keys,"
                " delivery_job_signing_keys = excluded.delivery_job_signing_keys",
                [node, seconds_ago, pins, Jsonb(delivery or {})],
            )


@pytest.fixture
def nodes(control_plane_database: str) -> Nodes:
    return Nodes(control_plane_database)


def ids(command: Command, status: int = 0) -> dict[str, str]:
    keys = json.loads(command("status", "--json", status=status).stdout)["keys"]
    return {name: key["id"] for name, key in keys.items()}


def test_a_switch_needs_every_living_node_and_delivery_server(command: Command, nodes: Nodes):
    old = ids(command)["current"]
    shown = command("next").stdout
    new = ids(command)["next"]
    assert new in shown
    nodes.beat("driver-1", [old])
    nodes.beat("driver-of-last-year", None)  # a version that does not say what it pins
    nodes.beat("driver-away", [old], seconds_ago=3600)
    nodes.beat("signer-1", [old, new], {"delivery-1": [old]})

    refused = command("switch", status=1).output
    assert all(name in refused for name in ("driver-1", "driver-of-last-year", "delivery-1"))
    assert "driver-away" not in refused
    assert ids(command, status=1) == {"current": old, "next": new}

    nodes.beat("driver-1", [old, new])
    nodes.beat("driver-of-last-year", [new])
    assert "delivery-1" in command("status", status=1).stdout
    nodes.beat("signer-1", [old, new], {"delivery-1": [old, new]})
    assert "ready: control-plane job-signing-key switch" in command("status").stdout
    done = command("switch").stdout
    assert "away, and not known to pin it: driver-away" in done
    assert ids(command) == {"current": new, "previous": old}
    assert "no next job-signing key" in command("switch", status=1).output


def test_one_signers_word_that_a_delivery_server_pins_a_key_is_not_enough(
    command: Command, nodes: Nodes
):
    command("next")
    new = ids(command)["next"]
    nodes.beat("signer-1", [new], {"delivery-1": [new]})
    nodes.beat("signer-2", [new], {"delivery-1": []})
    assert "delivery-1" in command("switch", status=1).output


def test_a_forced_switch_asks_nobody(command: Command, nodes: Nodes):
    nodes.beat("driver-1", [])
    command("next")
    new = ids(command, status=1)["next"]
    command("switch", "--force")
    assert ids(command)["current"] == new


def refused_by_the_disk(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_switch_that_is_stopped_has_its_record(
    control_plane: Command, command: Command, monkeypatch: pytest.MonkeyPatch
):
    """The record is under the next key, which `audit verify` knows before the switch as well."""
    command("next")
    keys = ids(command)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused_by_the_disk)
        assert "cannot switch the key files" in command("switch", status=1).stderr
    assert ids(command) == keys
    assert "1 records: nothing found" in control_plane("audit", "verify").stdout
    command("switch")
    assert "2 records: nothing found" in control_plane("audit", "verify").stdout
    assert ids(command) == {"current": keys["next"], "previous": keys["current"]}


def test_status_counts_unfinished_requests_by_the_key_that_signed_them(
    command: Command, control_plane_database: str
):
    old = ids(command)["current"]
    with psycopg.connect(control_plane_database, autocommit=True) as connection:
        connection.execute("INSERT INTO applications (id, name) VALUES (gen_random_uuid(), 'shop')")
        connection.execute(
            "INSERT INTO keys (id, application_id, node_group, store, scheme, curve)"
            " SELECT gen_random_uuid(), id, 'hsm', 'hsm', 'ECDSA', 'secp256k1' FROM applications"
        )
        connection.execute(
            "INSERT INTO jobs (id, kind, endpoint, application_id, key_id, node_group, body_digest,"
            " payload, signature, signing_key_id, state, expires_at, finished_at)"
            " SELECT gen_random_uuid(), 'Sign', 'signatures', application_id, id, 'hsm', '', '',"
            " '', signer, 'Queued', now(), finished FROM keys, (VALUES (%s, null),"
            " (%s, now()), ('a-key-of-before', null)) AS given(signer, finished)",
            [old, old],
        )
    unfinished = json.loads(command("status", "--json").stdout)["unfinished"]
    assert {each["signing_key_id"]: each["requests"] for each in unfinished} == {
        old: 1,
        "a-key-of-before": 1,
    }


def test_the_public_key_that_next_prints_is_the_next_key(command: Command):
    shown = command("next").stdout
    status = json.loads(command("status", "--json").stdout)
    assert status["keys"]["next"]["public_key"] in shown
    assert status["ready_to_switch"]  # without nodes there is nobody to ask
    public_key = base64.b64decode(status["keys"]["next"]["public_key"])
    assert signing_key_id(public_key) == ids(command)["next"]
