"""The project's wheels, built as `make wheel` does, and environments to install them in."""

import subprocess
import sys
import venv
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
DAEMONS = CHECKOUT
CLIENT = CHECKOUT / "deploy" / "custody-client"


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of one pyproject.toml into a folder of its own."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def clean_environment(folder: Path) -> Path:
    """Make an empty virtual environment. Return its interpreter."""
    venv.create(folder, symlinks=True)
    return folder / "bin" / "python"


def install(python: Path, *words: str | Path) -> None:
    """Install into an environment that need not have pip."""
    _pip("--python", python, "install", "--no-compile", *words)


def check_requirements(python: Path) -> None:
    """Fail if a package of the environment misses one that it requires."""
    _pip("--python", python, "check")


def _pip(*words: str | Path) -> None:
    run(Path(sys.executable), "-m", "pip", "--disable-pip-version-check", *words)


def run(python: Path, *words: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run an interpreter away from the checkout, and return what it prints."""
    ended = subprocess.run(
        [python, *words],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
