"""The local stack: up, used by somebody who knows only its env file, and down."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from devstack.launcher import Recorded
from devstack.local import LocalStack

USE = """
import os
from custody.client import Custody, Network, Store
with Custody.from_environment() as custody:
    wallets = [custody.create_wallet(Network.SOLANA, external_id="customer-42")]
    for group in os.environ["CUSTODY_SIGNER_GROUPS"].split(","):
        wallets.append(custody.create_wallet(Network.SOLANA, Store.MPC, signer_group=group))
    for wallet in wallets:
        print(custody.sign_message(wallet.key_id, "hello").model_dump_json())
"""
SIGNERS = [f"signer-{number}" for number in range(1, 6)]


def environment(local: LocalStack) -> dict[str, str]:
    """What a shell has after reading the env file, as README says."""
    script = f'set -a; . "{local.environment_file}"; set +a; env -0'
    shown = subprocess.run(
        ["sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True
    )
    pairs = shown.stdout.decode().rstrip("\0").split("\0")
    return dict(pair.split("=", 1) for pair in pairs)


def variable(name: str) -> str:
    return name.upper().replace("-", "_")


def shares_of(database_url: str) -> int:
    """How many keys a signer has a share of."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT count(*) FROM shares WHERE state = 'active'").fetchone()
        assert found is not None
        return int(found[0])


def started(local: LocalStack) -> list[tuple[str, int]]:
    record = Recorded(local.folder / "processes")
    return [(process.name, process.identity.pid) for process in record.processes()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def local(tmp_path):
    local = LocalStack(tmp_path / "a folder's name")
    yield local
    local.down()


def test_up_is_usable_by_its_env_file_alone_and_down_ends_it_all(local):
    local.up()
    assert local.environment_file.stat().st_mode & 0o777 == 0o600
    variables = environment(local)
    done = subprocess.run(
        [sys.executable, "-c", USE], env=variables, capture_output=True, text=True, check=True
    )
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["status"] for each in made] == ["Signed"] * 3
    assert variables["CUSTODY_SIGNER_GROUPS"] == "three-of-five,two-of-three"

    before = started(local)
    assert [name for name, _ in before] == [
        "postgres", "control-plane", "hsm-driver", "delivery-1", *SIGNERS,
    ]  # fmt: skip
    assert [variables[f"PID_{variable(name)}"] for name, _ in before] == [
        str(pid) for _, pid in before
    ]
    for name in ("delivery-1", *SIGNERS):
        assert variables[f"CUSTODY_{variable(name)}_PID"] == variables[f"PID_{variable(name)}"]
    urls = [variables[f"CUSTODY_{variable(name)}_DATABASE_URL"] for name in SIGNERS]
    assert [shares_of(url) for url in urls] == [2, 2, 2, 1, 1]
    local.up()
    assert started(local) == before

    data = Recorded(local.folder / "processes").folders()
    local.down()
    assert not any(is_alive(pid) for _, pid in before)
    assert not any(folder.exists() for folder in data)
    assert [path.name for path in local.folder.iterdir()] == ["logs"]


def test_up_after_a_crash_ends_the_half_that_is_left(local):
    local.up()
    before = started(local)
    driver = before[-1][1]
    os.kill(driver, signal.SIGKILL)
    while is_alive(driver):
        time.sleep(0.01)
    local.up()
    assert not any(is_alive(pid) for _, pid in before)
    assert all(is_alive(pid) for _, pid in started(local))


def test_down_ends_what_a_killed_up_had_started(local):
    up = (
        f"from pathlib import Path; from devstack.local import LocalStack; "
        f"LocalStack(Path({str(local.folder)!r})).up()"
    )
    process = subprocess.Popen([sys.executable, "-c", up], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "PostgreSQL" in process.stdout.readline()
    process.kill()
    process.wait()
    before = started(local)
    assert [name for name, _ in before] == ["postgres"]
    local.down()
    assert not any(is_alive(pid) for _, pid in before)


def test_down_leaves_a_process_alone_that_only_has_the_same_pid(local):
    local.folder.mkdir()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        entry = {"name": "old", "identity": {"pid": bystander.pid, "started": 1}, "gently": 15}
        (local.folder / "processes").write_text(json.dumps(entry) + "\n")
        assert started(local) == [("old", bystander.pid)]
        local.down()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_part_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path, make_stack):
    stack = make_stack()
    driver = stack.drivers[0]
    driver.stop()
    driver.config.write_text(driver.config.read_text().replace("[loop]", "[loops]"))
    with pytest.raises(Exception, match=r"hsm-driver ended with status 1(.|\n)*loops"):
        driver.start()
