"""mpc-signer layer4, as an operator types it, against a real bucket."""

import json
from pathlib import Path
from typing import Any

import pytest

from custody.database.pool import Pool
from custody.runtime.configuration import read_settings
from custody.runtime.signing_key import create_signing_key
from devstack.configuration_file import write
from devstack.s3 import S3Server
from mpc.commands import layer4
from mpc.layer4 import copy_queries
from mpc.layer4.canary import is_canary
from mpc.layer4.putting import place_of
from mpc.settings import SignerSettings
from mpc.shares.shares import Shares
from tests.customers import Customer
from tests.integration.signer.commands import command, edit
from tests.integration.signer.keys import confirm, new_key

GOOD = {
    "may put": "ok",
    "refuses a taken name": "ok",
    "may not get": "ok",
    "may not list": "ok",
    "may not overwrite": "ok",
    "may not put elsewhere": "ok",
    "versioning": "ok",
    "object lock": "ok",
    "may not delete": "ok",
    "may not delete a version": "ok",
}


def options(customer: Customer) -> list[Any]:
    """The options of init for a customer's bucket."""
    section = customer.section
    return [
        *("--customer-key", section["customer_key_file"], "--endpoint", section["endpoint"]),
        *("--region", section["region"], "--bucket", section["bucket"]),
        *("--prefix", section["prefix"], "--credentials-file", section["credentials_file"]),
        *("--ca", section["ca"]),
    ]


def add_layer4(config: Path, customer: Customer) -> None:
    section = config.with_name("section.toml")
    write(section, {"layer4": customer.section})
    config.write_text(config.read_text() + "\n" + section.read_text())


def text_of(path: Path) -> str:
    return path.read_text()


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def identity_file(config: Path) -> None:
    create_signing_key(read_settings(config, SignerSettings).identity.private_key)


async def test_init_checks_a_good_bucket_and_adds_the_section(
    config: Path, s3_server: S3Server, tmp_path: Path
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    set_mode(config, 0o600)
    done = await command(config, "layer4", "init", *options(customer), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert {check["name"]: check["status"] for check in said["checks"]} == GOOD
    assert said["written"]
    assert mode_of(config) == 0o600
    settings = read_settings(config, SignerSettings)
    assert settings.layer4 is not None
    assert settings.layer4.place == customer.settings().place
    assert all(is_canary(customer.decrypted(name)) for name in customer.names())
    again = await command(config, "layer4", "init", *options(customer))
    assert again.exit_code == 1
    assert "already" in again.output


@pytest.mark.parametrize(
    ("changes", "found", "exit_code"),
    [
        (
            {"more_actions": ("s3:GetObject", "s3:ListBucket")},
            {"may not get": "warn", "may not list": "warn"},
            0,
        ),
        (
            {"more_actions": ("s3:PutObject", "s3:DeleteObject")},
            {"may not put elsewhere": "fail", "may not delete": "fail"},
            1,
        ),
        (
            {"object_lock": False},
            {"may not overwrite": "fail", "versioning": "fail", "object lock": "fail"},
            1,
        ),
    ],
)
async def test_init_names_what_a_bucket_permits_too_much(
    config: Path,
    s3_server: S3Server,
    tmp_path: Path,
    changes: dict[str, Any],
    found: dict[str, str],
    exit_code: int,
) -> None:
    customer = Customer.of(s3_server, tmp_path, **changes)
    before = text_of(config)
    done = await command(config, "layer4", "init", *options(customer), "--json")
    said = json.loads(done.stdout)
    assert {c["name"]: c["status"] for c in said["checks"] if c["status"] != "ok"} == found
    assert (done.exit_code, said["written"]) == (exit_code, exit_code == 0)
    assert (text_of(config) == before) is (exit_code == 1)


async def test_init_with_a_prefix_that_the_policy_does_not_allow(
    config: Path, s3_server: S3Server, tmp_path: Path
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    customer.section["prefix"] = "signer-2/"
    done = await command(config, "layer4", "init", *options(customer))
    assert done.exit_code == 1
    assert "403 AccessDenied" in done.output
    assert "nothing was written: may put" in done.output


async def test_without_the_section_each_command_says_how_to_turn_it_on(config: Path) -> None:
    for name in ("status", "backfill", "test"):
        done = await command(config, "layer4", name)
        assert done.exit_code == 1
        assert "mpc-signer layer4 init" in done.output


async def test_backfill_makes_and_puts_what_is_missing_and_status_counts(
    config: Path,
    identity_file: None,
    pool: Pool,
    shares: Shares,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    add_layer4(config, customer)
    for _ in range(3):
        await confirm(pool, shares, new_key())
    before = await command(config, "layer4", "status", "--json")
    assert before.exit_code == 1
    assert json.loads(before.stdout)["missing"] == 3
    done = await command(config, "layer4", "backfill")
    assert (done.exit_code, done.stdout) == (0, "made 3 copies\n")
    after = await command(config, "layer4", "status", "--json")
    said = json.loads(after.stdout)
    assert (after.exit_code, said["stored"], said["not_stored"]) == (0, 3, [])
    assert len(customer.copies()) == 3
    again = await command(config, "layer4", "backfill", "--json")
    assert json.loads(again.stdout)["made"] == 0
    assert len(customer.names()) == 3


async def test_status_says_how_many_rows_it_leaves_out(
    config: Path,
    identity_file: None,
    pool: Pool,
    shares: Shares,
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layer4, "SHOWN", 2)
    add_layer4(config, Customer.of(s3_server, tmp_path))
    for _ in range(3):
        await confirm(pool, shares, new_key())
    said = json.loads((await command(config, "layer4", "status", "--json")).stdout)
    assert (said["missing"], said["shown"], len(said["not_stored"])) == (3, 2, 2)
    assert "the first 2 of them are shown" in (await command(config, "layer4", "status")).output


async def test_backfill_into_a_bucket_that_refuses_continues_later_with_the_same_bytes(
    config: Path,
    identity_file: None,
    pool: Pool,
    shares: Shares,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    add_layer4(config, customer)
    await confirm(pool, shares, new_key())
    right = customer.section["credentials_file"].read_text()
    customer.section["credentials_file"].write_text(right.replace("signer-1", "signer-9"))
    done = await command(config, "layer4", "backfill", "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["made"], said["waiting"]) == (1, 1, 1)
    assert "InvalidAccessKeyId" in said["fault"]
    here = {"limit": 10, **{name: said_of(config)[name] for name in ("place", "customer_key")}}
    [row] = await pool.rows(copy_queries.NOT_STORED, here)
    customer.section["credentials_file"].write_text(right)
    assert (await command(config, "layer4", "backfill")).exit_code == 0
    assert customer.names() == [row.name]


def said_of(config: Path) -> dict[str, str]:
    section = read_settings(config, SignerSettings).layer4
    assert section is not None
    return place_of(section)


async def test_a_canary_that_the_customer_decrypts(
    config: Path, s3_server: S3Server, tmp_path: Path
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    add_layer4(config, customer)
    done = await command(config, "layer4", "test", "--json")
    said = json.loads(done.stdout)
    assert customer.decrypted(said["name"]).decode() == said["text"]


async def test_a_key_of_small_order_stops_every_command(
    config: Path, s3_server: S3Server, tmp_path: Path
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    add_layer4(config, customer)
    neutral = "AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    customer.key.public_key.write_text(f"ssh-ed25519 {neutral} customer\n")
    for name in ("status", "backfill", "test"):
        done = await command(config, "layer4", name)
        assert done.exit_code == 1
        assert "order, or not in the canonical form" in done.output, name


async def test_doctor_checks_copies_and_bucket(
    config: Path,
    identity_file: None,
    pool: Pool,
    shares: Shares,
    s3_server: S3Server,
    tmp_path: Path,
) -> None:
    customer = Customer.of(s3_server, tmp_path)
    await confirm(pool, shares, new_key())
    assert (await layer4_checks(config))["layer 4"][0] == "ok"  # off
    add_layer4(config, customer)
    found = await layer4_checks(config)
    assert found["layer 4"][0] == "warn"
    assert "1 have no copy" in found["layer 4"][1]
    assert found["bucket: versioning"] == ("ok", "on")
    assert found["bucket: object lock"] == ("ok", "COMPLIANCE, 1 Days")
    edit(config, f'bucket = "{customer.bucket}"', 'bucket = "another-bucket"')
    assert (await layer4_checks(config))["bucket: versioning"][0] == "fail"


async def layer4_checks(config: Path) -> dict[str, tuple[str, str]]:
    done = await command(config, "doctor", "--json")
    checks = json.loads(done.stdout)
    return {
        check["name"]: (check["status"], check["detail"])
        for check in checks
        if "layer 4" in check["name"] or "bucket" in check["name"]
    }
