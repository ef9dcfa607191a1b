"""Commands as an operator types them, beside a test's own event loop."""

import asyncio
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from mpc.cli import app


async def command(config: Path, *arguments: object) -> Result:
    """``mpc-signer``, to its end."""
    words = ["--config", str(config), *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def rewrap_until_killed(config: Path, new_key_file: Path, statement: int) -> int:
    """The exit status of a rewrap that ends before its statement of that number."""
    module = [sys.executable, "-m", "tests.integration.signer.rewrapping"]
    arguments = [*module, str(config), str(new_key_file), str(statement)]
    done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, check=False)
    return done.returncode


def edit(config: Path, before: str, after: str) -> None:
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


def rewrite(config: Path, text: str) -> None:
    config.write_text(text)
