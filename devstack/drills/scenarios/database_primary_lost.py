"""The primary of a PostgreSQL pair is killed under load, and the standby is promoted.

All daemons have URLs of both servers. Nobody restarts a daemon.
"""

import time

from custody.client import Network
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.service import Service
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import StackOptions

SIGNERS = 3
LOAD_SECONDS = 4.0


def run(drill: Drill) -> None:
    options = StackOptions(signers=SIGNERS, standby=True)
    with drill.stack(options) as stack:
        primary, standby = stack.clusters[0], stack.standby
        assert standby is not None
        application = drill.application(stack)
        with drill.step("make keys and sign, in both modes"):
            application.make_hsm_keys()
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            application.make_wallet(Network.SOLANA, TWO_OF_THREE)
            application.sign_with_all()
        daemons: list[Service] = [*stack.control_planes, *stack.drivers, *stack.signers.all]
        before = [daemon.process.pid for daemon in daemons]
        with application.load():
            time.sleep(LOAD_SECONDS)
            with drill.lose("SIGKILL of the primary, under load"):
                primary.kill_hard()
            with drill.step("promote the standby"):
                standby.promote()
            drill.recovered(application)
            time.sleep(LOAD_SECONDS)
        drill.require_nothing_lost(application)
        with drill.step("no daemon was restarted, and every audit chain is complete"):
            after = [daemon.process.pid for daemon in daemons if daemon.is_running]
            drill.require(before == after, "a daemon has ended")
            for node in [*stack.drivers, *stack.signers.all]:
                node.run("verify the audit chain", "audit", "verify")


SCENARIO = Scenario("12a", "The primary of PostgreSQL is lost; a synchronous standby is left", run)
