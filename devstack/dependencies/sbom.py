"""Writes lists of components (SBOM) of both wheels and of the crate, in CycloneDX's JSON.

Maturin writes the crate's list into the wheel ``custody``, so the list names exactly the crates
that were compiled.
"""

import contextlib
import importlib.metadata
import json
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from custody.runtime.errors import OperatorError
from devstack.dependencies import licences
from devstack.dependencies.checks import CHECKOUT, CLIENT_LOCK, LOCK, TOOLS, last_lines, run

DIST = CHECKOUT / "dist"
CLIENT = CHECKOUT / "deploy" / "custody-client" / "pyproject.toml"


def write_lists() -> list[Path]:
    """Write the three lists into dist/, which must contain the wheels."""
    daemons, client = _wheel("custody"), _wheel("custody_client")
    return [
        _of_wheel(daemons, LOCK, CHECKOUT / "pyproject.toml"),
        _of_wheel(client, CLIENT_LOCK, CLIENT),
        _of_crate(daemons),
    ]


def _wheel(distribution: str) -> Path:
    found = sorted(DIST.glob(f"{distribution}-*.whl"))
    if len(found) != 1:
        raise OperatorError(f"dist/ has {len(found)} wheels of {distribution}", "Run: make wheel")
    return found[0]


def _of_wheel(wheel: Path, lock: Path, project: Path) -> Path:
    """List a wheel, and the packages that its lock pins, with their hashes."""
    written = wheel.with_suffix(".cdx.json")
    ended = run(
        TOOLS / "cyclonedx-py", "requirements", lock, "--pyproject", project,
        "--mc-type", "library", "--output-reproducible", "--of", "JSON", "-o", written,
    )  # fmt: skip
    if ended.returncode:
        raise OperatorError(
            f"cyclonedx-py made no list of {wheel.name}: {' '.join(last_lines(ended.stderr, 3))}",
            "Run again: make sbom",
        )
    written.write_text(
        json.dumps(_complete(json.loads(written.read_text()), wheel), indent=2) + "\n"
    )
    return written


def _complete(listed: dict[str, Any], wheel: Path) -> dict[str, Any]:
    """Add the facts that the lock and pyproject.toml lack: our own versions, and licences."""
    distribution, version, *_ = wheel.name.split("-")
    listed["metadata"]["component"]["version"] = version
    for component in listed["components"]:
        del component["description"]  # a copy of the line in the lock
        with contextlib.suppress(PackageNotFoundError):
            if found := licences.licence_of(importlib.metadata.metadata(component["name"])):
                component["licenses"] = [{"expression": found}]
    if distribution == "custody":
        listed["components"] += [
            _our_part("custody-client", version, f"pkg:pypi/custody-client@{version}"),
            _our_part("mpc-python", version, f"pkg:cargo/mpc-python@{version}"),
        ]
    return listed


def _our_part(name: str, version: str, purl: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "licenses": [{"expression": "Apache-2.0"}],
        "purl": purl,
    }


def _of_crate(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".cyclonedx.json"))
        components = archive.read(name)
    written = DIST / f"{Path(name).name.removesuffix('.cyclonedx.json')}.cdx.json"
    written.write_bytes(components)
    return written
