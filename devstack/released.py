"""`python -m devstack.released`: the databases of this version with data, for tests of upgrades.

A whole stack makes keys in both modes and signs with them. Its databases become files of plain SQL.
The keys that open the databases are copied beside them. Nothing else uses these keys.
"""

import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from custody.client import Custody, Network, Store
from custody.runtime.console import application, operator_errors, out
from custody.runtime.errors import OperatorError
from devstack.control_plane import ControlPlaneOptions
from devstack.interruption import interruptible
from devstack.postgres import find_binaries
from devstack.service import stop_together
from devstack.stack import Stack, StackOptions

RELEASED = Path(__file__).resolve().parent.parent / "tests" / "released"
GROUP = "two-of-two"
MESSAGE = "Signed by version {version}"
REASON = "the dump of a release"
NOT_SQL = ("\\restrict ", "\\unrestrict ")
"""Lines of a newer pg_dump that an older psql does not know."""

app = application("Databases of this version with data, for the tests of later upgrades.")


@app.command()
def write(
    folder: Annotated[
        Path | None, typer.Option(help="A new folder [default: tests/released/VERSION].")
    ] = None,
) -> None:
    """Run a stack, and write its databases and the keys that open them."""
    with operator_errors():
        out.print(f"written: {write_release(folder or RELEASED / version('custody'))}")


def write_release(folder: Path) -> Path:
    """Write the dump of this version into a folder that does not exist yet, and return the folder.

    Raise OperatorError.
    """
    if folder.exists():
        raise OperatorError(
            f"{folder} exists", "Never change the dump of a release. Delete another dump yourself."
        )
    with tempfile.TemporaryDirectory() as temporary:
        options = StackOptions(signers=2, control_plane=ControlPlaneOptions(lifetime_seconds=60))
        with Stack(Path(temporary) / "stack", options) as stack:
            with stack.client() as custody:
                _use(custody)
            _record_settings(stack)
            stop_together([*stack.drivers, *stack.signers.all])
            stop_together(stack.control_planes)
            made = Path(temporary) / "made"
            made.mkdir()
            _dump(stack, made)
            _copy_keys(stack, made)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, folder)
    return folder


def _use(custody: Custody) -> None:
    """Make a key of each curve in each mode, and sign a message with each key."""
    message = MESSAGE.format(version=version("custody"))
    custody.create_signer_group(GROUP, ["signer-1", "signer-2"], 2)
    for network in (Network.ETHEREUM, Network.SOLANA):
        for wallet in (
            custody.create_wallet(network),
            custody.create_wallet(network, Store.MPC, signer_group=GROUP),
        ):
            custody.sign_message(wallet.key_id, message)


def _record_settings(stack: Stack) -> None:
    """Make audit records that no job makes."""
    for node in (*stack.drivers, *stack.signers.all):
        node.run("set the retention", "retention", "set", "400", "--reason", REASON)


def _dump(stack: Stack, folder: Path) -> None:
    databases = stack.databases
    names = [signer.node_id for signer in stack.signers.all]
    signers = zip(names, databases.signers, strict=True)
    named = {"control_plane": databases.control_plane, "hsm_driver": databases.driver}
    for name, url in {**named, **dict(signers)}.items():
        (folder / f"{name}.sql").write_text(_sql(url))


def _sql(url: str) -> str:
    done = subprocess.run(
        [find_binaries() / "pg_dump", "--no-owner", "--no-privileges", "--dbname", url],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise OperatorError(f"pg_dump failed: {done.stderr}", "Correct what pg_dump names.")
    lines = done.stdout.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(NOT_SQL))


def _copy_keys(stack: Stack, folder: Path) -> None:
    """Copy the private keys of the control plane and of each node, and the token."""
    keys: dict[str, Path] = {"control_plane.pem": stack.control_plane_files.signing_key}
    for driver in stack.drivers:
        keys[f"{driver.node_id}.pem"] = driver.identity
    for signer in stack.signers.all:
        keys[f"{signer.node_id}.pem"] = signer.identity
        keys[f"{signer.node_id}.key"] = signer.folder / "encryption.key"
    for name, path in keys.items():
        shutil.copyfile(path, folder / name)
    shutil.copytree(
        stack.token.folder,
        folder / "token",
        ignore=shutil.ignore_patterns("softhsm2.conf", "*.lock"),
    )
    for pin in (folder / "token").glob("*.pin"):
        pin.write_text(pin.read_text() + "\n")  # as every text file of the repository ends


if __name__ == "__main__":
    with interruptible():
        app()
