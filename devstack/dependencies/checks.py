"""The result of one check, and the run of a program for a check."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
CRATE = CHECKOUT / "mpc" / "native"
LOCK = CHECKOUT / "requirements.lock"
CLIENT_LOCK = CHECKOUT / "requirements-client.lock"
TOOLS = CHECKOUT / "build" / "audit" / "bin"
CARGO_TOOLS = CHECKOUT / "build" / "cargo-tools" / "bin"


class Result(Enum):
    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "NOT CHECKED"


@dataclass(frozen=True)
class Check:
    """One line of the table that `make audit` prints. ``details`` has a line for each finding."""

    name: str
    result: Result
    details: Sequence[str] = field(default_factory=tuple)


def run(*words: str | Path, folder: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run a tool of this checkout or of Rust, and keep its output."""
    path = os.pathsep.join(
        [
            str(CARGO_TOOLS),
            os.environ.get("PATH", os.defpath),
            str(Path.home() / ".cargo" / "bin"),
        ]
    )
    return subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def last_lines(text: str, number: int = 20) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-number:]
