"""`--help` imports little: an operator waits for nothing that the command does not need."""

import json
import subprocess
import sys

import pytest

PROGRAMS = {
    "control-plane": "custody.control_plane.cli:app",
    "hsm-driver": "hsm_driver.cli:app",
    "mpc-delivery": "custody.delivery.cli:app",
    "mpc-recover": "mpc.recover_cli:app",
    "mpc-signer": "mpc.cli:app",
    "pki": "custody.pki.cli:application",
    "softhsm": "softhsm.__main__:app",
}
HEAVY = {
    "aiohttp",
    "alembic",
    "asyncpg",
    "coincurve",
    "cryptography",
    "custody.wire.jobs",
    "embit",
    "fastapi",
    "httpx",
    "mpc._native",
    "pkcs11",
    "prometheus_client",
    "psycopg",
    "pyrage",
    "sqlalchemy",
    "starlette",
    "structlog",
    "uvicorn",
    "uvloop",
}
MAX_MODULES = 700
"""Python, typer and rich have most of them; with what the commands do, there would be 2,000."""

ALL_HELPS = """
import contextlib, importlib, io, json, sys
import typer.core
from typer.main import get_command
from typer.testing import CliRunner

module, name = sys.argv[1].split(":")
app = getattr(importlib.import_module(module), name)
helps = []

def walk(command, words):
    done = CliRunner().invoke(app, [*words, "--help"])
    assert done.exit_code == 0, (words, done.output, done.exception)
    helps.append(words)
    for name, child in getattr(command, "commands", {}).items():
        walk(child, [*words, name])

walk(get_command(app), [])
print(json.dumps({"helps": len(helps), "modules": sorted(sys.modules)}))
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_of_every_command_imports_little(program: str):
    done = subprocess.run(
        [sys.executable, "-c", ALL_HELPS, PROGRAMS[program]],
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["helps"] >= 3
    assert HEAVY.isdisjoint(found["modules"])
    assert len(found["modules"]) < MAX_MODULES
