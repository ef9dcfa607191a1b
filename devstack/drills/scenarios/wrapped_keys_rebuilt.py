"""The wrapped-key database is lost without a backup. Each key has a copy in S3."""

from uuid import uuid4

from devstack.certificates import Certificates
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.driver import DriverOptions
from devstack.launcher import Tied
from devstack.s3 import S3Server
from devstack.stack import StackOptions

BUCKET = "wrapped-keys"
PREFIX = "hsm/"
READS = ("s3:GetObject", "s3:ListBucket")


def run(drill: Drill) -> None:
    leaf = Certificates(drill.folder / "s3-pki").server("s3")
    s3 = S3Server(drill.folder / "s3", drill.folder / "s3.log", Tied(), leaf)
    with drill.step("start an S3 server with the owner's bucket"):
        s3.start()
    try:
        credentials = drill.folder / "s3-credentials"
        user = f"driver-{uuid4().hex}"
        s3.add_user(user, credentials)
        s3.create_bucket(BUCKET, {user: PREFIX}, more_actions=READS)
        section = s3.section(BUCKET, PREFIX, credentials)
        _lose_the_database(drill, StackOptions(driver=DriverOptions(more={"key_copies": section})))
    finally:
        s3.kill()


def _lose_the_database(drill: Drill, options: StackOptions) -> None:
    with drill.stack(options) as stack:
        application = drill.application(stack)
        driver, cluster = stack.drivers[0], stack.clusters[-1]
        with drill.step("make keys and sign"):
            application.make_hsm_keys()
            application.sign_with_all()
        with drill.lose("the wrapped-key database is dropped"):
            driver.kill()
            cluster.drop_database("hsm_driver")
        with drill.step("make an empty database and its tables"):
            cluster.create_database("hsm_driver")
            driver.migrate()
        with drill.step("rebuild the wrapped keys from S3"):
            driver.run("rebuild the wrapped keys", "backup", "rebuild-from-s3")
        with drill.step("state the restore, and acknowledge it"):
            driver.run("state the restore", "audit", "restored", "--reason", "drill")
            stack.control_planes[0].run(
                "acknowledge it", "node", "restored", driver.node_id, "--reason", "drill", "--yes"
            )
        with drill.step("start the driver"):
            driver.start()
        drill.recovered(application)
        drill.require_nothing_lost(application)


SCENARIO = Scenario("4b", "The wrapped-key database is lost, its keys have copies in S3", run)
