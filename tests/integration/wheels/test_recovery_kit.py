"""The recovery kit installs without a network, and recovers the keys of the test vectors."""

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

from devstack.recovery_kit import build_kit
from tests.built_wheels import CHECKOUT

VECTORS = CHECKOUT / "tests" / "vectors" / "layer4"
NO_NETWORK = os.environ | {
    "https_proxy": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "PIP_NO_INDEX": "1",
}
OF_DAEMONS = {"aiohttp", "botocore", "fastapi", "sqlalchemy", "python-pkcs11", "uvicorn"}


def run(*words: str | Path, folder: Path) -> str:
    done = subprocess.run(
        words, cwd=folder, env=NO_NETWORK, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kit(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit") / "recovery-kit"
    build_kit(folder, list(wheels.values()))
    return folder


@pytest.fixture(scope="module")
def programs(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that the commands of the README have made."""
    environment = tmp_path_factory.mktemp("machine") / "recovery"
    venv.create(environment, with_pip=True)
    pip = environment / "bin" / "pip"
    found = sorted((kit / "wheels").glob("*.whl"))
    run(pip, "install", "--no-index", "--no-deps", "--no-compile", *found, folder=kit)
    return environment / "bin"


def test_the_checksums_are_those_of_all_files(kit: Path):
    checked = run("sha256sum", "--check", "SHA256SUMS", folder=kit)
    files = {str(path.relative_to(kit)) for path in kit.rglob("*") if path.is_file()}
    assert {line.removesuffix(": OK") for line in checked.splitlines()} == files - {"SHA256SUMS"}


def test_the_installed_kit_recovers_the_keys_of_the_vectors(programs: Path, tmp_path: Path):
    program = programs / "mpc-recover"
    words = (VECTORS, "--customer-key", VECTORS / "customer-key")
    said = json.loads(run(program, "drill", *words, "--json", folder=tmp_path))
    assert [key["recovered"] for key in said["keys"]] == [True] * 3
    expected = json.loads((VECTORS / "expected.json").read_text()).values()
    for number, each in enumerate(expected):
        output = tmp_path / str(number)
        run(program, "recover", words[0], each["public_key"], *words[1:], "--output", output,
            folder=tmp_path)  # fmt: skip
        assert output.read_text().strip() == each["private_key"]


def test_the_kit_has_nothing_that_only_daemons_need(programs: Path, tmp_path: Path):
    listed = json.loads(run(programs / "pip", "list", "--format", "json", folder=tmp_path))
    assert not OF_DAEMONS & {each["name"].lower() for each in listed}


def test_the_script_of_the_kit_recovers_a_key(kit: Path):
    files = [VECTORS / "frost-ed25519-1.age", VECTORS / "frost-ed25519-3.age"]
    printed = run("python3", "recover.py", VECTORS / "customer-key", *files, folder=kit)
    expected = json.loads((VECTORS / "expected.json").read_text())["frost-ed25519"]
    assert printed.strip() == expected["private_key"]
