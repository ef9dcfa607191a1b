"""The wrapped-key database is lost, and restored from an older backup.

Keys that were made after the backup are lost. The restore names each of them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyrage

from custody.runtime.configuration import write_secret
from devstack.configuration_file import Table
from devstack.drills.application import AcknowledgedKey
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.driver import Driver, DriverOptions
from devstack.processes import run_for_output
from devstack.stack import StackOptions


def run(drill: Drill) -> None:
    identity = pyrage.x25519.Identity.generate()
    identity_file, backups = drill.folder / "backup-key.txt", drill.folder / "backups"
    write_secret(identity_file, f"{identity}\n".encode())
    backup: Table = {"folder": backups, "recipients": [str(identity.to_public())]}
    with drill.stack(StackOptions(driver=DriverOptions(more={"backup": backup}))) as stack:
        application = drill.application(stack)
        driver, cluster = stack.drivers[0], stack.clusters[-1]
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        with drill.step("make a backup, and verify it"):
            driver.run("make a backup", "backup", "create")
            driver.run("verify it", "backup", "verify", "--identity", str(identity_file))
            [file] = backups.glob("*.backup")
        with drill.step("make keys after the backup, and sign"):
            since = application.make_hsm_keys()
            application.sign_with_all("after the backup")
        with drill.lose("the wrapped-key database is dropped"):
            driver.kill()
            cluster.drop_database("hsm_driver")
        with drill.step("restore the backup into an empty database"):
            cluster.create_database("hsm_driver")
            newer = _restore(driver, file, identity_file)
        with drill.step("the restore names each lost key, and no other"):
            _compare(drill, newer, application.keys, since)
        with drill.step("state the restore, and acknowledge it"):
            driver.run("state the restore", "audit", "restored", "--reason", "drill")
            stack.control_planes[0].run(
                "acknowledge it", "node", "restored", driver.node_id, "--reason", "drill", "--yes"
            )
        with drill.step("start the driver"):
            driver.start()
        drill.recovered(application)
        lost = drill.compare(application)
        drill.require(
            len(lost) == len(since)
            and all(any(line.startswith(key.name) for line in lost) for key in since),
            f"not exactly the keys since the backup are lost: {'; '.join(lost)}",
        )
        drill.record_losses([key.name for key in since])


def _restore(driver: Driver, file: Path, identity_file: Path) -> list[dict[str, str]]:
    """Restore a backup's database. Return what is newer at the control plane."""
    command = driver.command(
        "backup", "restore", str(file), "--identity", str(identity_file), "--json"
    )
    shown = json.loads(run_for_output(driver.program_of(command), "restore a backup"))
    newer: list[dict[str, str]] = shown["newer"]
    return newer


def _compare(
    drill: Drill,
    newer: list[dict[str, str]],
    keys: Sequence[AcknowledgedKey],
    since: Sequence[AcknowledgedKey],
) -> None:
    said = " ".join(each["what"] for each in newer)
    for key in keys:
        is_named, is_lost = str(key.key.id) in said, key in since
        drill.require(is_named == is_lost, f"{key.name}: named {is_named}, lost {is_lost}")


SCENARIO = Scenario("4a", "The wrapped-key database is lost, and a backup is restored", run)
