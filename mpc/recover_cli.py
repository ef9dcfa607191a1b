"""The program mpc-recover: the offline commands, and the one that needs a signer's database."""

from mpc.commands.restore_signer import add_restore_signer
from mpc.recover.cli import app

__all__ = ["app", "main"]

add_restore_signer(app)


def main() -> None:
    app()
