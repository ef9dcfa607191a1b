"""The HSM is lost. Its backup is left, and goes into a replacement."""

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.stack import StackOptions
from softhsm.tokens import TokenFolder


def run(drill: Drill) -> None:
    with drill.stack(StackOptions()) as stack:
        application = drill.application(stack)
        driver, token = stack.drivers[0], TokenFolder(stack.token.folder)
        label, kept = stack.token.label, TokenFolder(drill.folder / "backup")
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        with drill.step("back the HSM up, and confirm the backup"):
            token.copy_to(label, kept)
            driver.run("confirm", "master-key", "confirm-backup", "--place", str(kept.folder))
        with drill.lose("SIGKILL of the driver; the token is deleted with its keys"):
            driver.kill()
            token.wipe(label)
        with drill.step("the driver's commands say that the token is not there"):
            drill.refused(lambda: driver.run("check", "master-key", "check"), label)
        with drill.step("restore the backup into a replacement, and start the driver"):
            kept.copy_to(label, token)
            driver.run("check the restored keys", "master-key", "check")
            driver.run("adopt the restored keys", *ADOPT)
            driver.start()
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("the audit chain is complete"):
            driver.run("verify the audit chain", "audit", "verify")


ADOPT = ("master-key", "adopt", "--restored", "--reason", "the HSM was lost in a drill")

SCENARIO = Scenario("2", "An HSM is lost; the backup of its master key is left", run)
