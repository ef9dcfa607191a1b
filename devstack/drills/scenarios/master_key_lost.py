"""The HSM is lost with its master key, and nobody has a backup of that.

Nothing brings these keys back. The drill shows that the driver says so, that the list of what is
lost is exact, and that new wallets are possible with a new master key and an empty database.
"""

import json

from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.processes import run_for_output
from devstack.stack import StackOptions
from devstack.token import Token
from softhsm.tokens import TokenFolder

NEW_KEYS = ("custody/1", "custody-host/1")


def _run(drill: Drill) -> None:
    with drill.stack(StackOptions()) as stack:
        application = drill.application(stack)
        driver, cluster = stack.drivers[0], stack.clusters[-1]
        with drill.step("make keys and sign"):
            lost = application.make_hsm_keys()
            application.sign_with_all()
        with drill.lose("the token and everything on it is deleted; there is no backup"):
            driver.kill()
            TokenFolder(stack.token.folder).wipe(stack.token.label)
        with drill.step("a new token with a new master key: the driver names the lost one"):
            Token(stack.token.folder, stack.token.label)
            driver.generate_master_key()
            drill.refused(
                lambda: driver.run("start", "run"), "is another key than the one that wrapped"
            )
        with drill.step("list what the lost master key wraps: exactly the keys that are lost"):
            listing = driver.command("keys", "list", "--limit", "100000", "--json")
            rows = json.loads(run_for_output(driver.program_of(listing), "list the lost keys"))
            drill.require(
                {row["key_id"] for row in rows} == {str(key.key.id) for key in lost},
                "the list is not that of the lost keys",
            )
        with drill.step("work again with an empty database: new wallets"):
            driver.add_sections({"database": {"url": cluster.create_database("hsm_driver_new")}})
            driver.migrate()
            drill.refused(lambda: driver.run("start", "run"), "the database knows no master key")
            driver.run("adopt the new keys", "master-key", "adopt", *NEW_KEYS, "--yes")
            driver.run("state the restore", "audit", "restored", "--reason", "drill")
            stack.control_planes[0].run(
                "acknowledge it", "node", "restored", driver.node_id, "--reason", "drill", "--yes"
            )
            driver.start()
            [new, *_] = application.make_hsm_keys()
        drill.recovered(application, new)
        losses = drill.compare(application)
        drill.require(
            len(losses) == len(lost)
            and all(any(line.startswith(key.name) for line in losses) for key in lost),
            f"not exactly the keys under the lost master key are lost: {'; '.join(losses)}",
        )
        drill.record_losses([key.name for key in lost])


SCENARIO = Scenario("5", "The master key is lost, and there is no backup of it", _run)
