"""Commands as an operator types them, beside a test's own event loop."""

import asyncio
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from typer.testing import CliRunner, Result

from mpc.cli import app


async def command(config: Path, *arguments: object) -> Result:
    """``mpc-signer``, to its end."""
    words = ["--config", str(config), *map(str, arguments)]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def rewrap_until_killed(config: Path, new_key_file: Path, statement: int) -> int:
    """The exit status of a rewrap that ends before its statement of that number."""
    return await _until_killed("rewrapping", config, new_key_file, statement)


async def erase_until_killed(config: Path, key_id: UUID, when: str) -> int:
    """The exit status of an erasure that ends before or after its commit."""
    return await _until_killed("erasing", config, key_id, when)


async def _until_killed(module: str, *arguments: object) -> int:
    command = [sys.executable, "-m", f"tests.integration.signer.{module}", *map(str, arguments)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    return done.returncode


def edit(config: Path, before: str, after: str) -> None:
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


def rewrite(config: Path, text: str) -> None:
    config.write_text(text)
