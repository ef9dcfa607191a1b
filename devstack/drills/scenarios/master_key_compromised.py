"""Somebody may know the PIN or the master key. The database and its backups are safe.

Every key goes under a new master key while applications sign. The old one is retired, and deleted
from the HSM: it opens nothing any more.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import psycopg

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.driver import Driver, DriverOptions
from devstack.processes import Program, run, run_for_output
from devstack.service import clean_environment
from devstack.stack import Stack, StackOptions

OLD, NEW = ("custody/1", "custody-host/1"), ("custody/2", "custody-host/2")


def _run(drill: Drill) -> None:
    with drill.stack(StackOptions(driver=DriverOptions(rewrappable=True))) as stack:
        application = drill.application(stack)
        driver = stack.drivers[0]
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        before = _rows(stack)
        drill.require({name for name, _ in before.values()} <= set(OLD), "keys are not under 1")
        with drill.lose("the trust in the master key: somebody may know its PIN"):
            pass
        with drill.step("make, adopt and back up the next version, and restart the driver"):
            driver.run("make the next version", "master-key", "generate")
            driver.run("adopt it", "master-key", "adopt", *NEW, "--yes")
            driver.run("confirm its backup", "master-key", "confirm-backup", "--place", "a drill")
            driver.stop()
            driver.start()
        with drill.step("see that each key can be rewrapped"):
            kinds = _document(driver, "master-key", "rewrap", "--dry-run", "--json")["kinds"]
            drill.require(
                bool(kinds) and all(kind["can_be_rewrapped"] for kind in kinds),
                f"not each key can be rewrapped: {kinds}",
            )
        with drill.step("rewrap all keys while applications sign, and retire the old version"):
            with application.load():
                driver.run("rewrap", "master-key", "rewrap", "--yes", "--retire")
            after = _rows(stack)
            drill.require(
                {name for name, _ in after.values()} <= set(NEW), "a key is under an old version"
            )
        with drill.step("restart the driver, and delete the old version from the HSM"):
            driver.stop()
            driver.start()
            driver.run("sign with each key", "keys", "verify")
            for name in OLD:
                _delete(stack, name)
            driver.run("check all", "doctor")
        drill.recovered(application)
        with drill.step("a row from before the rewrap opens nothing any more"):
            some = next(iter(before))
            _put_back(stack, some, before[some])
            drill.refused(
                lambda: driver.run("use the old row", "keys", "verify", some), before[some][0]
            )
            _put_back(stack, some, after[some])
        drill.require_nothing_lost(application)


Row = tuple[str, bytes]
"""Master key and wrapped key."""


def _rows(stack: Stack) -> dict[str, Row]:
    with psycopg.connect(stack.databases.driver) as connection:
        found = connection.execute("SELECT key_id::text, master_key, wrapped FROM wrapped_keys")
        return {key_id: (master_key, wrapped) for key_id, master_key, wrapped in found}


def _put_back(stack: Stack, key_id: str, row: Row) -> None:
    with psycopg.connect(stack.databases.driver) as connection:
        connection.execute(
            "UPDATE wrapped_keys SET master_key = %s, wrapped = %s WHERE key_id = %s",
            [*row, key_id],
        )


def _document(driver: Driver, *arguments: str) -> dict[str, list[dict[str, object]]]:
    text = run_for_output(driver.program_of(driver.command(*arguments)), " ".join(arguments))
    document: dict[str, list[dict[str, object]]] = json.loads(text)
    return document


def _delete(stack: Stack, name: str) -> None:
    """Delete a master key as an operator does, with a tool of another vendor."""
    label, _, version = name.partition("/")
    token = stack.token
    arguments: Sequence[str | Path] = [
        "pkcs11-tool", "--module", token.module, "--token-label", token.label,
        "--login", "--pin", token.pin_file.read_text(),
        "--delete-object", "--type", "secrkey", "--label", label, "--id", f"{int(version):08x}",
    ]  # fmt: skip
    environment = clean_environment(SOFTHSM2_CONF=token.configuration)
    program = Program("pkcs11-tool", arguments, stack.folder, stack.log("pkcs11-tool"), environment)
    run(program, f"delete {name}")


SCENARIO = Scenario("15", "The master key may be known to somebody: rewrap", _run)
