"""The host of the only driver is lost, and nobody has a copy of its files.

The new host is a new node: it has a new id, a new identity key and a new certificate. Database and
token are those of the lost host.
"""

import shutil

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.stack import StackOptions


def run(drill: Drill) -> None:
    with drill.stack(StackOptions()) as stack:
        application = drill.application(stack)
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        lost = stack.drivers[0]
        with drill.lose("SIGKILL of the driver; its host's files are deleted"):
            lost.kill()
            shutil.rmtree(lost.folder)
        with drill.step("configure a new host with an id, a certificate and a key of its own"):
            new = stack.add_driver("hsm-driver-2")
            stack.control_planes[0].add_nodes([new.node_id], new.group)
        with drill.step("start the driver on the new host"):
            new.start()
        drill.recovered(application)
        drill.require_nothing_lost(application, drill.connect(stack))
        with drill.step("the new driver makes keys, and its audit chain is complete"):
            application.make_hsm_keys()
            # the lost driver adopted the master keys, and nobody has its chain any more
            new.run("verify the audit chain", "audit", "verify", "--other", lost.node_id)


SCENARIO = Scenario("1b", "A driver's host is lost with all its files", run)
