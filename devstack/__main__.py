"""Run the whole system on this machine: `python -m devstack up | down | demo`."""

import logging
import sys
from pathlib import Path

from custody.runtime.console import application, err, operator_errors
from custody.runtime.errors import OperatorError
from devstack.interruption import Interrupted, interruptible
from devstack.processes import fork_server
from devstack.progress import say

CHECKOUT = Path(__file__).resolve().parent.parent
DEV = CHECKOUT / "build" / "dev"
DEMO = CHECKOUT / "build" / "demo"

app = application("The whole system on this machine, with a SoftHSM token.")


@app.command()
def up() -> None:
    """Start everything and leave it running; build/dev/env has its addresses and tokens."""
    fork_server.start()  # the fork server imports its modules while this process imports others
    from devstack.local import LocalStack

    local = LocalStack(DEV)
    local.up()
    say(f"\nThe stack is up. To use it: set -a; . {local.environment_file}; set +a")


@app.command()
def down() -> None:
    """Stop what `up` started and delete its data."""
    from devstack.local import LocalStack

    LocalStack(DEV).down()


@app.command()
def demo() -> None:
    """Create wallets, sign with them, verify with other libraries, and stop again."""
    fork_server.start()
    # the libraries that verify signatures take a second to import, and only the demo needs them
    from custody.client import CustodyError
    from devstack.demo import demo as run_demo
    from devstack.verification import NotVerified

    try:
        run_demo(DEMO)
    except (CustodyError, NotVerified) as error:
        raise OperatorError(
            f"{type(error).__name__}: {error}", f"See the logs in {DEMO / 'logs'}."
        ) from error


def main() -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with interruptible(), operator_errors():
            app()
    except Interrupted as interrupted:
        err.print(f"{interrupted}: everything was stopped")
        sys.exit(interrupted.exit_code)


if __name__ == "__main__":
    main()
