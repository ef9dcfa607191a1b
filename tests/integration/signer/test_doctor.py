"""``mpc-signer doctor``: what is well, what is not, and what to do about it."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from custody.database.pool import Pool
from custody.runtime.signing_key import create_signing_key
from devstack.processes import LOCALHOST, free_port
from mpc.peers import Peers, checked_identity
from mpc.shares.encryption_key import FileKey, create_key_file
from mpc.shares.shares import Shares
from tests.integration.signer.commands import command, edit, rewrite
from tests.integration.signer.conftest import configuration_text
from tests.integration.signer.keys import activate, new_key
from tests.integration.signer.test_commands import public_key


async def doctor(config: Path) -> dict[str, dict[str, str]]:
    done = await command(config, "doctor", "--json")
    assert done.exit_code == 1, done.stdout  # no control plane is there
    return {check["name"]: check for check in json.loads(done.stdout)}


async def pin(pool: Pool, *signers: str) -> None:
    for name in signers:
        await Peers(pool).add(name, checked_identity(public_key()))


async def test_it_says_what_to_do_about_each_thing_that_is_not_there(config: Path):
    rewrite(config, configuration_text(f"postgresql://me@{LOCALHOST}:{free_port()}/signer"))
    found = await doctor(config)
    failed = {name: check for name, check in found.items() if check["status"] == "fail"}
    assert set(failed) == {
        "identity key", "certificate control_plane", "certificate delivery delivery-1",
        "database", "database durability", "encryption key", "encryption key backup",
        "encryption key age", "peers", "bans", "restore", "repairs", "delivery servers",
        "signed requests", "control plane",
    }  # fmt: skip
    assert all(check["detail"] and check["todo"] for check in failed.values())


async def test_the_protocols_are_tried(config: Path):
    check = (await doctor(config))["threshold protocols"]
    assert check["status"] == "ok"
    assert "dkls23-secp256k1" in check["detail"]


async def test_a_new_signer_lacks_its_peers(config: Path, key: FileKey):
    create_signing_key(config.parent / "identity.pem")
    found = await doctor(config)
    assert found["peers"]["status"] == "fail"
    assert found["encryption key"]["status"] == "ok"
    assert key.id in found["encryption key"]["detail"]


async def test_peers_that_share_a_key_are_missed(pool: Pool, shares: Shares, config: Path):
    await activate(pool, shares, new_key())
    await pin(pool, "signer-2")
    check = (await doctor(config))["peers"]
    assert check["status"] == "warn"
    assert check["detail"].startswith("signer-3:")
    await pin(pool, "signer-3")
    assert (await doctor(config))["peers"]["status"] == "ok"


async def test_the_wrong_encryption_key_is_found(keys, config: Path, tmp_path: Path):
    create_key_file(tmp_path / "wrong.key")
    edit(config, "encryption.key", "wrong.key")
    check = (await doctor(config))["encryption key"]
    assert check["status"] == "fail"
    assert "which is not here" in check["detail"]


async def test_a_key_file_that_others_may_read_is_found(keys, config: Path):
    (config.parent / "encryption.key").chmod(0o644)
    check = (await doctor(config))["encryption key"]
    assert check["status"] == "fail"
    assert "chmod 600" in check["todo"]


async def test_a_rewrap_that_was_begun_is_noticed(pool: Pool, keys, config: Path, tmp_path: Path):
    following = create_key_file(tmp_path / "next.key")
    edit(config, "# other_key_files = []", 'other_key_files = ["next.key"]')
    await pool.rows(
        "INSERT INTO encryption_keys (id, check_value) VALUES (:id, :check_value)",
        {"id": following.id, "check_value": following.check_value},
    )
    check = (await doctor(config))["encryption key"]
    assert check["status"] == "warn"
    assert "rewrap" in check["todo"]


@pytest.mark.parametrize(("left", "status"), [(0, "ok"), (1, "warn")])
async def test_what_a_crash_left_in_flight_is_noticed(
    pool: Pool, config: Path, left: int, status: str
):
    for _ in range(left):
        await pool.rows(
            "INSERT INTO in_flight (key_id, signer, ceremony) "
            "VALUES (:key_id, 'signer-2', :ceremony)",
            {"key_id": uuid4(), "ceremony": uuid4()},
        )
    assert (await doctor(config))["bans"]["status"] == status
