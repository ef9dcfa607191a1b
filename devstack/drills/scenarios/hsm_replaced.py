"""Somebody puts an HSM with another master key in the place of the right one.

The driver refuses it, and says which key it is. The right HSM comes back from its backup.
"""

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.stack import StackOptions
from softhsm.tokens import TokenFolder

ANOTHER = "is another key"
RESTORED = ("master-key", "adopt", "--restored", "--reason", "a drill")


def run(drill: Drill) -> None:
    with drill.stack(StackOptions()) as stack:
        application = drill.application(stack)
        driver, token = stack.drivers[0], TokenFolder(stack.token.folder)
        label, kept = stack.token.label, TokenFolder(drill.folder / "backup")
        with drill.step("make keys and sign; back the HSM up"):
            application.make_hsm_keys()
            application.sign_with_all()
            token.copy_to(label, kept)
        with drill.lose("SIGKILL of the driver; a token with another master key is in its place"):
            driver.kill()
            pin = stack.token.pin_file.read_text()
            token.wipe(label)
            token.make(label, pin)
            driver.generate_master_key()
        with drill.step("every command refuses the other key, and names it"):
            drill.refused(lambda: driver.run("check all", "doctor"), ANOTHER)
            drill.refused(lambda: driver.run("adopt", "master-key", "adopt"), ANOTHER)
            drill.refused(lambda: driver.run("adopt as restored", *RESTORED), ANOTHER)
        with drill.step("restore the right key from its backup, and start the driver"):
            token.wipe(label)
            kept.copy_to(label, token)
            driver.start()
        drill.recovered(application)
        drill.require_nothing_lost(application)


SCENARIO = Scenario("3", "An HSM is replaced with another master key", run)
