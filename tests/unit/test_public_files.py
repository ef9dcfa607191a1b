"""The files that a stranger reads first say what the checkout has."""

import hashlib
import re
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
# The text at https://www.apache.org/licenses/LICENSE-2.0.txt.
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text())


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def test_the_license_is_the_standard_text():
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_every_package_names_the_license_by_its_spdx_id():
    workspace = toml("mpc/native/Cargo.toml")["workspace"]["package"]
    crates = [
        toml(name)["package"] for name in ("mpc/native/Cargo.toml", "mpc/native/python/Cargo.toml")
    ]
    projects = [
        toml(name)["project"] for name in ("pyproject.toml", "deploy/custody-client/pyproject.toml")
    ]
    assert {workspace["license"], *(project["license"] for project in projects)} == {"Apache-2.0"}
    assert all(crate["license"] == {"workspace": True} for crate in crates)


def test_the_version_is_in_one_place():
    crates = [
        toml(name)["package"] for name in ("mpc/native/Cargo.toml", "mpc/native/python/Cargo.toml")
    ]
    projects = [
        toml(name)["project"] for name in ("pyproject.toml", "deploy/custody-client/pyproject.toml")
    ]
    assert all(crate["version"] == {"workspace": True} for crate in crates)
    assert all(project["dynamic"] == ["version"] for project in projects)
    assert not any("version" in project for project in projects)


def test_the_audit_state_of_every_library_of_the_protocols_is_named():
    text = (ROOT / "SECURITY.md").read_text()
    direct = [
        name
        for manifest in ("mpc/native/Cargo.toml", "mpc/native/python/Cargo.toml")
        for name in toml(manifest)["dependencies"]
        if name not in ("mpc-native", "serde")
    ]
    assert "dkls23-core" in direct
    assert [name for name in direct if f"`{name}`" not in text] == []


def test_the_versions_in_the_audit_table_are_those_in_use():
    text = (ROOT / "SECURITY.md").read_text()
    for name, requirement in toml("mpc/native/Cargo.toml")["dependencies"].items():
        if isinstance(requirement, str) and requirement.startswith("="):
            assert f"`{name}` {requirement[1:]} " in text
    (pkcs11,) = (
        line for line in toml("pyproject.toml")["project"]["dependencies"] if "pkcs11" in line
    )
    assert f"`{pkcs11.replace('==', '` ')} " in text


@pytest.mark.parametrize("page", PAGES)
def test_a_page_links_to_what_is_there(page: str):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_targets_that_make_has(page: str):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text()))
    assert named <= targets


def test_every_text_file_is_as_the_editorconfig_says():
    config = ConfigParser()
    config.read_string("[root]\n" + (ROOT / ".editorconfig").read_text())
    assert config["*"]["end_of_line"] == "lf"
    faults = []
    for path in tracked_files():
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data:
            continue
        if b"\r\n" in data and path.suffix != ".csv":
            faults.append(f"{path}: CRLF")
        if data and not data.endswith(b"\n") and path.name != "LICENSE":
            faults.append(f"{path}: no newline at the end")
        if re.search(rb"[ \t]+\n", data) and path.suffix != ".lock":
            faults.append(f"{path}: white space at the end of a line")
    assert faults == []


def test_no_file_has_a_conflict_that_a_merge_left():
    marks = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)
    assert [
        path for path in tracked_files() if path.is_file() and marks.search(path.read_bytes())
    ] == []
