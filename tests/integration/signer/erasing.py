"""mpc-signer shares erase that ends by SIGKILL, as a power cut would have it.

    python -m tests.integration.signer.erasing CONFIG KEY_ID WHEN

WHEN is ``before`` or ``after`` the commit of its transaction, which is all that it does.
"""

import os
import signal
import sys

from custody.database.connection import Connection
from mpc.cli import app

config, key_id, when = sys.argv[1:]
execute = Connection.run


async def run(self: Connection, sql: str) -> str:
    if sql == "COMMIT" and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    tag = await execute(self, sql)
    if sql == "COMMIT":
        os.kill(os.getpid(), signal.SIGKILL)
    return tag


if __name__ == "__main__":
    Connection.run = run  # type: ignore[method-assign]
    app(["--config", config, "shares", "erase", key_id, "--reason", "moved to zurich", "--yes"])
