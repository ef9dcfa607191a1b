"""The host of the only driver is lost. Copies of its configuration and identity key are left.

The new host is the same node as before. Database and token are those of the lost host.
"""

import shutil

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.stack import StackOptions


def run(drill: Drill) -> None:
    with drill.stack(StackOptions()) as stack:
        application = drill.application(stack)
        driver = stack.drivers[0]
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        with drill.step("copy the configuration and the identity key to another place"):
            copies = drill.folder / "copies"
            copies.mkdir(mode=0o700)
            files = [driver.config, driver.identity]
            for path in files:
                shutil.copy2(path, copies)
        with drill.lose("SIGKILL of the driver; its host's files are deleted"):
            driver.kill()
            shutil.rmtree(driver.folder)
        with drill.step("put the copies on a new host, and start the driver"):
            driver.folder.mkdir(mode=0o700)
            for path in files:
                shutil.copy2(copies / path.name, path)
            driver.start()
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("the audit chain is complete"):
            driver.run("verify the audit chain", "audit", "verify")


SCENARIO = Scenario("1a", "A driver's host is lost; copies of its files are left", run)
