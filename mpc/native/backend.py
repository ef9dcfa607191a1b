"""The build backend: maturin, after a look at whether Rust is there.

PEP 517 and 660. pip's own message, when there is no Rust, is a traceback of maturin's.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
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
    """What to tell a person, or None where a new enough Rust is there."""
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


def build_wheel(*args: Any, **kwargs: Any) -> str:
    _need_rust()
    return str(maturin.build_wheel(*args, **kwargs))


def build_editable(*args: Any, **kwargs: Any) -> str:
    _need_rust()
    return str(maturin.build_editable(*args, **kwargs))


if __name__ == "__main__":
    _need_rust()
