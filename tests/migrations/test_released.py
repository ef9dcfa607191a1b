"""Every released schema with data in it, upgraded to this version: what it kept is still usable."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer import Typer
from typer.testing import CliRunner

import hsm_driver.cli
import mpc.cli
from custody.control_plane.audit.heads import AuditHeads
from custody.control_plane.audit.own_chain import verify_own_chain
from custody.database.pool import Pool
from custody.node.audit_export import lines_after, place_at
from custody.node.audit_prune import Order, Pruning
from custody.node.audit_records import read_kept
from custody.node.chain_verification import Subject, Verification, verify_chain
from custody.runtime.audit_file import ExportFile, FileVerification, verify_file
from custody.runtime.signing_key import load_signing_key
from custody.wire.node_api import AuditHeads as KeptHeads
from custody.wire.signed_bytes import PinnedKeys
from devstack.postgres import Cluster
from hsm_driver.audited_keys import CHECK as KEYS
from mpc import _native as native
from mpc.shares.audited_shares import CHECK as SHARES
from mpc.shares.encryption_key import load_key_file
from mpc.shares.encryption_keys import EncryptionKeys
from mpc.shares.shares import Shares
from tests.integration.control_plane.conftest import Replica
from tests.migrations.released import RELEASES, Released
from tests.unit.mpc.native import dealers, parties
from tests.unit.mpc.native.verification import is_valid

SIGNERS = ("signer-1", "signer-2")
DIGEST = bytes(range(32))
CHAINS = {
    "hsm-driver": ("hsm_driver", KEYS),
    "signer-1": ("signer-1", SHARES),
    "signer-2": ("signer-2", SHARES),
}


@pytest.fixture(params=RELEASES)
def released(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    postgres: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Released]:
    restored = Released(request.param, tmp_path, postgres)
    monkeypatch.setenv("SOFTHSM2_CONF", str(restored.softhsm))
    restored.migrate()
    yield restored
    restored.drop()


def run(app: Typer, config: Path, *words: str) -> Any:
    done = CliRunner().invoke(app, ["--config", str(config), *words, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_keys_in_the_token_still_sign(released: Released):
    verified = run(hsm_driver.cli.app, released.driver(), "keys", "verify")
    assert (verified["verified"], verified["bad"]) == (2, [])


@pytest.mark.parametrize("signer", SIGNERS)
def test_shares_still_open(released: Released, signer: str):
    verified = run(mpc.cli.app, released.signer(signer), "shares", "verify")
    assert (verified["verified"], verified["bad"]) == (2, [])


async def test_shares_of_a_release_sign_and_are_dealt_to_a_new_group(released: Released):
    """Other libraries verify the signatures of both groups."""
    opened: dict[str, dict[int, native.Share]] = {}
    for signer in SIGNERS:
        key = load_key_file(released.folder / f"{signer}.key")
        async with Pool(released.urls[signer], 1, "test") as pool:
            shares = Shares(pool, EncryptionKeys([key], []))
            for row in await pool.rows("SELECT key_id FROM shares WHERE state = 'active'"):
                stored = await shares.active(row.key_id)
                assert stored is not None
                of_key = opened.setdefault(stored.protocol, {})
                of_key[stored.index] = await shares.open(stored)
    assert sorted(opened) == ["dkls23-secp256k1", "frost-ed25519"]
    for protocol, old in opened.items():
        known = old[1].public_key
        received = dealers.copied(old, [1, 2], 2, 3)
        new = dealers.hollow(protocol, known, 2, received, chain_code=old[1].chain_code)
        for group, quorum in ((old, (1, 2)), (parties.refresh(new), (3, 1))):
            assert is_valid(protocol, known, DIGEST, parties.sign(group, quorum, DIGEST))


def test_keys_of_a_release_are_archived_and_their_shares_erased(released: Released):
    """Both came with later schemas. The chains begin in the release, and verify."""
    why = ("--reason", "a drill")
    driver, signer = released.driver(), released.signer("signer-1")
    [key, _] = sorted(each["key_id"] for each in run(hsm_driver.cli.app, driver, "keys", "list"))
    [share, _] = sorted(each["key_id"] for each in run(mpc.cli.app, signer, "shares", "list"))
    for app, config, command in (
        (hsm_driver.cli.app, driver, ("keys", "archive", key)),
        (hsm_driver.cli.app, driver, ("keys", "unarchive", key)),
        (mpc.cli.app, signer, ("shares", "archive", share)),
        (mpc.cli.app, signer, ("shares", "erase", share, "--yes")),
    ):
        done = CliRunner().invoke(app, ["--config", str(config), *command, *why])
        assert done.exit_code == 0, done.output
    for app, config in ((hsm_driver.cli.app, driver), (mpc.cli.app, signer)):
        assert run(app, config, "audit", "verify", "--offline")["findings"] == []
    assert run(mpc.cli.app, signer, "shares", "verify") == {"verified": 1, "bad": []}


async def chain_of(released: Released, node: str, prune_into: Path | None = None) -> Verification:
    """Verify a chain against the heads at the control plane. With a file: after a prune."""
    database, check = CHAINS[node]
    signer = load_signing_key(released.folder / f"{node}.pem", "identity", "")
    subject = Subject(node, signer)
    replica = Replica(released.urls["control_plane"])
    async with replica.database, Pool(released.urls[database], 2, "test") as pool:
        heads = await AuditHeads(replica.database).kept(node)
        kept = read_kept(KeptHeads(group="", heads=heads), signer, node)
        if prune_into is not None:
            file = await export(pool, subject, prune_into)
            order = Order(file, datetime.now(UTC) + timedelta(days=36_500), "bo", "ticket")
            assert (await Pruning(pool, subject).prune(order)).deleted > 0
        return await verify_chain(pool, subject, kept, check, lambda *_: None)


async def export(pool: Pool, subject: Subject, path: Path) -> FileVerification:
    with ExportFile(path) as file:
        begin = await place_at(pool, subject.node, subject.signer, 0)
        async for line in lines_after(pool, subject.node, subject.signer, begin):
            file.write(line)
    return verify_file(path, PinnedKeys([subject.signer.public_key]), subject.node, 10)


@pytest.mark.parametrize("node", CHAINS)
async def test_the_chain_of_a_node_verifies_against_the_heads_at_the_control_plane(
    released: Released, node: str
):
    found = await chain_of(released, node)
    assert found.findings == []
    assert found.records > 4
    assert found.compared > 0


@pytest.mark.parametrize("node", CHAINS)
async def test_the_chain_of_a_node_can_be_pruned(released: Released, node: str, tmp_path: Path):
    found = await chain_of(released, node, tmp_path / "audit.jsonl")
    assert found.findings == []
    assert found.pruned == found.records - 1


async def test_the_audit_of_the_control_plane_verifies(released: Released):
    signer = load_signing_key(released.folder / "control_plane.pem", "job-signing key", "")
    async with Pool(released.urls["control_plane"], 1, "test") as pool:
        found = await verify_own_chain(pool.rows, [signer.public_key])
    assert (found.findings, found.earlier) == ([], 0)
    assert found.records >= 4


async def test_the_api_shows_wallets_keys_and_signatures(released: Released):
    replica = Replica(released.urls["control_plane"])
    await replica.start()
    try:
        api = replica.client((await replica.token(application="local")).text)
        keys = (await api.get("/v1/keys")).json()["items"]
        assert [key["status"] for key in keys] == ["Active"] * 4
        for key in keys:
            signatures = (await api.get(f"/v1/keys/{key['id']}/signatures")).json()["items"]
            assert [each["status"] for each in signatures] == ["Signed"]
        wallets = (await api.get("/v1/wallets")).json()["items"]
        assert all(wallet["address"] for wallet in wallets)
    finally:
        await replica.stop()
