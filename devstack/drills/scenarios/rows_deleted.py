"""Somebody drops a table of the driver's database. Base backup and archived WAL are left.

The database is restored to a moment before. The last signature came after that moment: its audit
record is lost, which the node states and an admin acknowledges. The driver runs all the time.
"""

import time

import psycopg

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.stack import StackOptions

REASON = "drill: a table was dropped, restored to the minute before"


def run(drill: Drill) -> None:
    with drill.stack(StackOptions(separate_clusters=True)) as stack:
        server, url, driver = stack.clusters[1], stack.databases.driver, stack.drivers[0]
        application = drill.application(stack)
        with drill.step("archive the WAL (needs a restart), and make a base backup"):
            server.archive_wal()
            server.stop()
            server.start()
            base = server.folder / "base"
            server.base_backup(base)
        with drill.step("make keys and sign, after the base backup"):
            application.make_hsm_keys()
            application.sign_with_all()
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute("SELECT clock_timestamp()::text").fetchone()
            time.sleep(0.5)
            application.sign(application.keys[0], "after the moment that is restored")
            with drill.lose("DROP TABLE wrapped_keys"):
                connection.execute("DROP TABLE wrapped_keys CASCADE")
                connection.execute("SELECT pg_switch_wal()")
        assert row is not None
        with drill.step("stop PostgreSQL, and restore to the moment before"):
            server.stop()
            server.recover_until(base, f"recovery_target_time = '{row[0]}'")
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("state the lost audit records, and acknowledge them"):
            drill.refused(
                lambda: driver.run("verify the audit chain", "audit", "verify"), "could not verify"
            )
            driver.run("state the restore", "audit", "restored", "--reason", REASON)
            stack.control_planes[0].run(
                "acknowledge the restore",
                *("node", "restored", driver.node_id, "--reason", REASON, "--yes"),
            )
            driver.run("verify the audit chain", "audit", "verify")


SCENARIO = Scenario("12b", "Rows are deleted; a base backup and the archived WAL are left", run)
