"""mpc-recover as a process of its own: what it loads, and how it protects its memory."""

import json
import subprocess
import sys
from pathlib import Path

from mpc.recover import opening
from tests.unit.mpc.native.keys import ED25519, key
from tests.unit.mpc.recover.bucket import write_copies, write_key_file

OF_NETWORKS_AND_DATABASES = {
    "aiohttp", "alembic", "asyncpg", "botocore", "custody.database", "httpx", "psycopg",
    "sqlalchemy", "ssl", "urllib3",
}  # fmt: skip
PROGRAM = """
import json, resource, sys
from typer.testing import CliRunner
from custody.runtime import hardening
from mpc.recover_cli import app

done = CliRunner().invoke(app, ["inspect", *sys.argv[1:]])
print(json.dumps({
    "exit_code": done.exit_code,
    "output": done.output,
    "modules": sorted(sys.modules),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "locks": hardening.lock_memory(),
}))
"""


def test_it_loads_nothing_of_networks_and_databases_and_leaves_no_core_file(tmp_path: Path):
    folder = tmp_path / "bucket"
    write_copies(folder, key(ED25519))
    words = [str(folder), "--customer-key", str(write_key_file(tmp_path / "key"))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], check=True, capture_output=True, text=True
    )
    said = json.loads(done.stdout)
    assert said["exit_code"] == 0, said["output"]
    assert OF_NETWORKS_AND_DATABASES.isdisjoint(said["modules"])
    assert said["core"] == 0
    assert "may not lock memory" in said["output"] or said["locks"]


def test_a_user_who_may_not_lock_memory_is_warned(folder, command, monkeypatch):
    monkeypatch.setattr(opening, "lock_memory", lambda: False)
    write_copies(folder, key(ED25519))
    assert "may not lock memory" in command("inspect").output
