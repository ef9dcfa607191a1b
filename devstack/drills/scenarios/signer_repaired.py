"""A signer's database is lost without a backup. The other signers repair its shares."""

from custody.client import ChangeStatus, Network
from devstack.drills.application import AcknowledgedKey, Application
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import Stack, StackOptions, database_name

LOST = "signer-3"
HELPERS = ("signer-1", "signer-2")
REPAIR_SECONDS = 120.0


def _run(drill: Drill) -> None:
    with drill.stack(StackOptions(drivers=0, signers=3)) as stack:
        application, lost = drill.application(stack), stack.signers[LOST]
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            for network in (Network.ETHEREUM, Network.SOLANA):
                application.make_wallet(network, TWO_OF_THREE)
            application.sign_with_all()
        with drill.lose(f"the database of {LOST} is dropped"):
            lost.kill()
            stack.clusters[-1].drop_database(database_name(lost))
        with drill.step("make an empty database and its tables, and pin the other signers"):
            stack.clusters[-1].create_database(database_name(lost))
            lost.migrate()
            stack.signers.pin_each_other()
        with drill.step("state the restore, and acknowledge it"):
            lost.run("state the restore", "audit", "restored", "--reason", "drill")
            stack.control_planes[0].run(
                "acknowledge it", "node", "restored", LOST, "--reason", "drill", "--yes"
            )
        with drill.step("start the signer: it asks its peers for bans"):
            lost.start()
        for key in application.keys:
            with drill.step(f"repair the share of {key.name}"):
                repair_share(drill, stack, application, key, LOST, HELPERS)
        with drill.step("stop signer-1, so that the repaired signer must sign"):
            stack.signers["signer-1"].stop()
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("every share opens, and the audit chain is complete"):
            lost.run("open every share", "shares", "verify")
            lost.run("verify the audit chain", "audit", "verify")


def repair_share(
    drill: Drill,
    stack: Stack,
    application: Application,
    key: AcknowledgedKey,
    signer: str,
    helpers: tuple[str, ...],
) -> None:
    """Have the helpers' operators approve, and repair a share. Raise DrillFailed."""
    for helper in helpers:
        stack.signers[helper].run(
            "approve the repair", "repair", "approve", str(key.key.id), signer, "--reason", "drill"
        )
    with application.connect() as custody:
        repair = custody.repair_share(key.key.id, signer, wait=REPAIR_SECONDS)
    drill.require(
        repair.status is ChangeStatus.DONE, f"{key.name}: the repair is {repair.status.value}"
    )


SCENARIO = Scenario(
    "8b", "A signer's database is lost, and its shares are repaired", _run, waits=True
)
