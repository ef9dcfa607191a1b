"""A driver's certificate and TLS key are lost, and the intermediate's key as well.

The root is left. A new intermediate below the same root issues the driver's certificate again;
nothing else changes.
"""

import shutil

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.pki_commands import PkiCommands
from devstack.stack import StackOptions


def run(drill: Drill) -> None:
    with drill.stack(StackOptions()) as stack:
        application = drill.application(stack)
        driver, pki = stack.drivers[0], PkiCommands(stack.certificates.folder, stack.log("pki"))
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        with drill.lose("SIGKILL of the driver; its certificate and the intermediate are deleted"):
            driver.kill()
            shutil.rmtree(pki.folder / "nodes" / driver.node_id)
            shutil.rmtree(pki.folder / "intermediate")
        with drill.step("make a new intermediate, and issue the driver's certificate again"):
            pki.run("intermediate", "--unencrypted")
            pki.run("issue", "node", driver.node_id)
        with drill.step("start the driver"):
            driver.start()
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("no other process was restarted, and the audit chain is complete"):
            drill.require(stack.control_planes[0].is_running, "the control plane has ended")
            driver.run("verify the audit chain", "audit", "verify")


SCENARIO = Scenario("13a", "A node's certificate and key are lost, and the intermediate", run)
