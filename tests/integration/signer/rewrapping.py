"""mpc-signer rewrap that ends by SIGKILL, as a power cut would have it.

    python -m tests.integration.signer.rewrapping CONFIG NEW_KEY_FILE STATEMENT

It is killed before the statement of that number: the process does nothing more, and what it had
done by then is on disk.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mpc.shares.rewrap
from custody.database.connection import Row
from custody.database.pool import Pool
from mpc.cli import app

left = int(sys.argv[3])
execute = Pool.rows


async def rows(self: Pool, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
    global left
    left -= "alembic_version" not in sql  # the check of the schema changes nothing
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return await execute(self, sql, parameters)


def main(config: Path, new_key_file: Path) -> None:
    mpc.shares.rewrap.PAGE = 2
    Pool.rows = rows  # type: ignore[method-assign]
    app(["--config", str(config), "rewrap", "--new-key-file", str(new_key_file)])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
