"""A signer's database is lost, and an old backup of it is restored.

Since the backup the signer has banned another signer under one key, and all have refreshed the
other key. The restored signer asks its peers before it works. It knows the ban again, erases the
old share again, and gets the new share by repair.
"""

import time

import psycopg

from custody.client import ChangeStatus, Network
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.signer import Signer
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import StackOptions, database_name

REASON = "drill: the disk failed, restored last week's backup"
SECONDS = 120
BACKUP = "signer_backup"


def run(drill: Drill) -> None:
    with drill.stack(StackOptions(drivers=0, signers=3)) as stack:
        one, two, three = (stack.signers[f"signer-{number}"] for number in (1, 2, 3))
        cluster, application = stack.clusters[-1], drill.application(stack)
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            for network in (Network.ETHEREUM, Network.SOLANA):
                application.make_wallet(network, TWO_OF_THREE)
            application.sign_with_all()
        banned, refreshed = application.keys[0], application.keys[1]
        with drill.step("back up signer-1's database"):
            one.stop()
            cluster.create_database(BACKUP, database_name(one))
            one.start()
        with drill.step("signer-1 bans signer-2 under the first key, and signer-3 hears of it"):
            key_id = str(banned.key.id)
            one.run("ban signer-2", "bans", "add", key_id, "signer-2", "--reason", REASON)
            two.kill()
            application.sign(banned, "by signer-1 and signer-3")
            two.start()
        with drill.step("refresh the second key"), application.connect() as custody:
            change = custody.refresh_key(refreshed.key.id, wait=SECONDS)
            drill.require(change.status is ChangeStatus.DONE, f"the refresh: {change.status}")
        with drill.lose("signer-1's database"):
            one.kill()
            cluster.drop_database(database_name(one))
        with drill.step("restore the old backup, and start signer-1"):
            cluster.create_database(database_name(one), BACKUP)
            drill.require(_rows(one, "SELECT FROM bans") == 0, "the backup has the ban")
            one.start(wait=False)
            _wait(
                drill, one, "SELECT FROM restore_watch WHERE nonce IS NOT NULL", "it asks its peers"
            )
            drill.require(not one.is_ready(), "signer-1 works before its peers have answered")
        with drill.step("state the lost audit records, and acknowledge them"):
            one.run("state the restore", "audit", "restored", "--reason", REASON)
            stack.control_planes[0].run(
                "acknowledge the restore",
                *("node", "restored", one.node_id, "--reason", REASON, "--yes"),
            )
        with drill.step("all peers answer"):
            _wait(
                drill,
                one,
                "SELECT FROM restore_watch WHERE answered_at IS NOT NULL",
                "peers answer",
            )
        with drill.step("the ban is back, and the old share is erased again"):
            drill.require(_rows(one, "SELECT FROM bans") == 1, "the ban is forgotten")
            states = "SELECT FROM shares WHERE key_id = %s AND ciphertext IS NOT NULL"
            left = _rows(one, states, refreshed.key.id)
            drill.require(left == 0, "a share that was erased has come back")
        with drill.step("repair the share of the second key"):
            for helper in (two, three):
                helper.run(
                    "approve the repair",
                    *("repair", "approve", str(refreshed.key.id), one.node_id, "--reason", REASON),
                )
            with application.connect() as custody:
                change = custody.repair_share(refreshed.key.id, one.node_id, wait=SECONDS)
            drill.require(change.status is ChangeStatus.DONE, f"the repair: {change.status}")
        with drill.step("stop signer-2: signer-1 is needed for every signature"):
            two.stop()
        drill.recovered(application, refreshed)
        drill.require_nothing_lost(application)
        with drill.step("every audit chain is complete, and signer-1's shows the gap"):
            two.start()
            for signer in stack.signers.all:
                signer.run("verify the audit chain", "audit", "verify")


def _rows(signer: Signer, query: str, *values: object) -> int:
    with psycopg.connect(signer.database_url) as connection:
        return len(connection.execute(query.encode(), values).fetchall())


def _wait(drill: Drill, signer: Signer, query: str, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not _rows(signer, query):
        drill.require(time.monotonic() < deadline, f"not after {SECONDS} s: {what}")
        time.sleep(0.2)


SCENARIO = Scenario("14", "An old backup of a signer's database is restored", run, waits=True)
