"""The build backend (PEP 517 and 660): maturin, with two additions.

Without Rust, pip shows a traceback of maturin. This backend checks for Rust first, and says what to
install. The wheel ``custody`` also needs the wheel ``custody-client`` of its own version. Only the
build knows that version, so the build writes the requirement into the wheel that maturin made.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import maturin
from maturin import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

CHECKOUT = Path(__file__).parents[2]
OLDEST_RUST = (1, 88)
ADVICE = (
    "The MPC protocols are compiled from Rust: Rust {0}.{1} or newer is needed, {found}.\n"
    "  -> install it from https://rustup.rs, or install a wheel that `make wheel` built elsewhere"
).format(*OLDEST_RUST, found="{found}")

# Without build isolation pip does not put the environment's own programs, as maturin, on PATH;
# and a service's or sudo's PATH leaves out where rustup installs.
os.environ["PATH"] = os.pathsep.join(
    [
        sysconfig.get_path("scripts"),
        os.environ.get("PATH", os.defpath),
        str(Path.home() / ".cargo" / "bin"),
    ]
)


def explain_missing_rust() -> str | None:
    """Return the message for a person, or None if Rust is new enough."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        return ADVICE.format(found="and there is none")
    version = subprocess.run(
        ["rustc", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    numbers = re.search(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < OLDEST_RUST:
        return ADVICE.format(found=f"and this is {version or 'none that runs'}")
    return None


def _need_rust() -> None:
    if (missing := explain_missing_rust()) is not None:
        sys.exit(missing)


def prepare_metadata_for_build_wheel(*args: Any, **kwargs: Any) -> str:
    _need_rust()
    return str(maturin.prepare_metadata_for_build_wheel(*args, **kwargs))


def prepare_metadata_for_build_editable(*args: Any, **kwargs: Any) -> str:
    _need_rust()
    return str(maturin.prepare_metadata_for_build_editable(*args, **kwargs))


def build_wheel(wheel_directory: str, *args: Any, **kwargs: Any) -> str:
    _need_rust()
    name = str(maturin.build_wheel(wheel_directory, *args, **kwargs))
    finish_wheel(Path(wheel_directory, name))
    return name


def build_editable(*args: Any, **kwargs: Any) -> str:
    _need_rust()
    return str(maturin.build_editable(*args, **kwargs))


def finish_wheel(wheel: Path) -> None:
    """Require ``custody-client==<version of the wheel>``, and name no path of this machine.

    maturin writes the folder of the checkout into the list of the crate's components (SBOM).
    """
    distribution, version, *_ = wheel.name.split("-")
    info = f"{distribution}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        members = {member.filename: member for member in archive.infolist()}
        files = {name: archive.read(name) for name in members}

    changed = {f"{info}/METADATA": _with_requirement(files[f"{info}/METADATA"], version)}
    for name in files:
        if name.startswith(f"{info}/sboms/"):
            changed[name] = files[name].replace(f"file://{CHECKOUT}/".encode(), b"file:///")
    record = files[f"{info}/RECORD"].decode()
    for name, data in changed.items():
        record = _with_new_hash(record, name, data)
    changed[f"{info}/RECORD"] = record.encode()

    finished = wheel.with_suffix(".finished")
    with zipfile.ZipFile(finished, "w") as archive:
        for name, member in members.items():
            archive.writestr(member, changed.get(name, files[name]))
    finished.replace(wheel)


def _with_requirement(metadata: bytes, version: str) -> bytes:
    # The first line is Metadata-Version. The order of the others has no meaning.
    first, others = metadata.split(b"\n", 1)
    return b"\n".join([first, f"Requires-Dist: custody-client=={version}".encode(), others])


def _with_new_hash(record: str, file: str, data: bytes) -> str:
    """Return the RECORD of a wheel with another hash and size for one file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    line = f"{file},sha256={digest},{len(data)}"
    return re.sub(f"(?m)^{re.escape(file)},.*$", line, record)


if __name__ == "__main__":
    _need_rust()
