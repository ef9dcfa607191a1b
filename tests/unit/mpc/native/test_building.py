"""What a person reads where Rust is missing."""

import subprocess
import sys
from pathlib import Path

BACKEND = Path(__file__).parents[4] / "mpc" / "native" / "backend.py"


def advice(path: Path, home: Path) -> str:
    """What the build backend says with only the programs in `path`."""
    ended = subprocess.run(
        [sys.executable, str(BACKEND)],
        env={"PATH": str(path), "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == bool(ended.stderr)
    return ended.stderr


def program(path: Path, name: str, says: str) -> None:
    (path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (path / name).chmod(0o755)


def test_without_rust_it_says_what_to_install_or_that_a_wheel_needs_none(tmp_path: Path) -> None:
    said = advice(tmp_path, tmp_path)
    assert "Rust 1.88 or newer is needed, and there is none" in said
    assert "rustup" in said
    assert "make wheel" in said


def test_debians_old_rust_is_not_enough(tmp_path: Path) -> None:
    program(tmp_path, "cargo", "cargo 1.63.0")
    program(tmp_path, "rustc", "rustc 1.63.0 (4b91a6ea7 2022-08-08)")
    assert "and this is rustc 1.63.0" in advice(tmp_path, tmp_path)


def test_the_oldest_rust_that_will_do_is_taken(tmp_path: Path) -> None:
    program(tmp_path, "cargo", "cargo 1.88.0")
    program(tmp_path, "rustc", "rustc 1.88.0 (6b00bc388 2025-06-23)")
    assert advice(tmp_path, tmp_path) == ""
