"""A signer's host and database are lost for good. A new host gets its backup, an older one.

The encryption key comes from its own backup. Since the backup a key was made and another one
refreshed: the restored signer notices, signs with neither, and both are repaired.
"""

import json
import shutil
from pathlib import Path

import pyrage

from custody.client import Network
from custody.runtime.configuration import write_secret
from devstack.configuration_file import Table
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.drills.scenarios.signer_repaired import repair_share
from devstack.processes import Program, run, run_for_output
from devstack.service import clean_environment, command
from devstack.signer import Signer, SignerOptions
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import Stack, StackOptions, database_name

LOST = "signer-3"
HELPERS = ("signer-1", "signer-2")


def _run(drill: Drill) -> None:
    identity = pyrage.x25519.Identity.generate()
    identity_file = drill.folder / "backup-key.txt"
    write_secret(identity_file, f"{identity}\n".encode())
    backup: Table = {"folder": "backups", "recipients": [str(identity.to_public())]}
    options = StackOptions(drivers=0, signers=3, signer=SignerOptions(more={"backup": backup}))
    with drill.stack(options) as stack:
        application, lost = drill.application(stack), stack.signers[LOST]
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            old, refreshed = (
                application.make_wallet(network, TWO_OF_THREE)
                for network in (Network.ETHEREUM, Network.SOLANA)
            )
            application.sign_with_all()
        with drill.step(f"make a backup of {LOST}, verify it, and move it to another host"):
            file, encryption_key = _backup(drill, lost, identity_file)
        with drill.step("after the backup: refresh one key, and make another"):
            with application.connect() as custody:
                custody.refresh_key(refreshed.key.id)
            since = application.make_wallet(Network.SOLANA, TWO_OF_THREE)
            application.sign_with_all("after the backup")
        with drill.lose(f"SIGKILL of {LOST}; its files are deleted, its database is dropped"):
            lost.kill()
            stack.clusters[-1].drop_database(database_name(lost))
            shutil.rmtree(lost.folder)
        with drill.step("the other two sign with each key meanwhile"):
            application.sign_with_all("without the lost signer")
        with drill.step("restore files and database on a new host"):
            newer = _restore(drill, stack, lost, file, identity_file, encryption_key)
        drill.require(
            all(str(key.key.id) in newer for key in (refreshed, since))
            and str(old.key.id) not in newer,
            f"the restore does not name exactly what is newer: {newer}",
        )
        with drill.step("state the restore, and acknowledge it"):
            lost.run("state the restore", "audit", "restored", "--reason", "drill")
            stack.control_planes[0].run(
                "acknowledge it", "node", "restored", LOST, "--reason", "drill", "--yes"
            )
        with drill.step("start the signer: it asks its peers for bans"):
            lost.start()
        with drill.step("repair what is newer than the backup"):
            for key in (refreshed, since):
                repair_share(drill, stack, application, key, LOST, HELPERS)
        with drill.step("stop signer-1, so that the restored signer must sign"):
            stack.signers["signer-1"].stop()
        drill.recovered(application, old)
        drill.require_nothing_lost(application)
        with drill.step("the audit chain of the signer is complete"):
            lost.run("verify the audit chain", "audit", "verify")


def _backup(drill: Drill, signer: Signer, identity_file: Path) -> tuple[Path, Path]:
    """Return the backup and the encryption key, both outside of the signer's folder."""
    signer.run("make a backup", "backup", "create")
    signer.run("verify it", "backup", "verify", "--identity", str(identity_file))
    [made] = (signer.folder / "backups").glob("*.backup")
    file = Path(shutil.copy2(made, drill.folder))
    return file, Path(shutil.copy2(signer.folder / "encryption.key", drill.folder))


def _restore(
    drill: Drill,
    stack: Stack,
    signer: Signer,
    file: Path,
    identity_file: Path,
    encryption_key: Path,
) -> str:
    """Restore files and database. Return what the command says to be newer."""
    files = drill.folder / "restored"
    log = drill.folder / "commands.log"
    arguments: list[str | Path] = [command("mpc-signer"), "backup", "restore", file]
    arguments += ["--identity", identity_file, "--files", files]
    run(Program("restore", arguments, drill.folder, log, clean_environment()), "restore files")
    shutil.copytree(files, signer.folder)
    shutil.copy2(encryption_key, signer.folder)
    stack.clusters[-1].create_database(database_name(signer))
    restoring = signer.command(
        "backup", "restore", str(file), "--identity", str(identity_file), "--json"
    )
    shown = json.loads(run_for_output(signer.program_of(restoring), "restore the database"))
    return " ".join(each["what"] for each in shown["newer"])


SCENARIO = Scenario(
    "6", "A signer is lost for good: its backup, and repairs of what is newer", _run, waits=True
)
