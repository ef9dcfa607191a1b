"""The control plane's database is lost. A copy from before some keys and signatures is left.

The nodes know everything that is newer: `reconcile` asks them, and adopts the keys. One request was
not finished when the copy was made, and was signed before the loss.
"""

from custody.client import Network, Wallet
from devstack.drills.application import AcknowledgedKey
from devstack.drills.drill import Drill, DrillFailed
from devstack.drills.scenario import Scenario
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import Stack, StackOptions

DATABASE, COPY = "control_plane", "control_plane_of_last_night"


def run(drill: Drill) -> None:
    with drill.stack(StackOptions(signers=3)) as stack:
        [cluster], [control_plane], [driver] = stack.clusters, stack.control_planes, stack.drivers
        old, new = drill.application(stack), drill.application(stack)
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            old.make_hsm_keys()
            old.make_wallet(Network.SOLANA, TWO_OF_THREE)
            old.sign_with_all()
        with drill.step("ask for a signature while the driver is away, and copy the database"):
            driver.stop()
            with stack.client() as custody:
                asked = custody.sign_message(old.keys[0].key.id, "not finished yet", wait=0)
            control_plane.stop()
            cluster.create_database(COPY, DATABASE)
            control_plane.start()
            driver.start()
        with drill.step("make more keys and sign, after the copy"):
            with stack.client() as custody:
                signed = custody.get_signature(asked.key_id, asked.id, wait=60)
            old.verified(old.keys[0], "not finished yet", signed)
            new.make_hsm_keys()
            new.make_wallet(Network.SOLANA, TWO_OF_THREE)
            new.sign_with_all()
        with drill.lose("the control plane's database is dropped"):
            control_plane.kill()
            cluster.drop_database(DATABASE)
        with drill.step("restore the copy"):
            cluster.create_database(DATABASE, COPY)
        with drill.step("see what differs: nothing is changed"):
            drill.refused(
                lambda: control_plane.run("reconcile", "reconcile"), "nothing was changed"
            )
        with drill.step("adopt the keys, and give the request its outcome"):
            words = ("reconcile", "--apply", "--application", "local")
            drill.refused(lambda: control_plane.run("reconcile", *words), "unknown_signature")
        with drill.step("start the control plane"):
            control_plane.start()
        drill.recovered(new)
        with drill.step(f"compare and use {len(new.keys)} adopted keys"):
            for each in new.keys:
                _require_adopted(drill, stack, each)
                new.sign(each, "after the loss")
        drill.require_nothing_lost(old)
        count = len(new.keys)
        drill.record_losses([f"{count} requests to sign that came after the copy, with signatures"])


def _require_adopted(drill: Drill, stack: Stack, acknowledged: AcknowledgedKey) -> None:
    """Compare a key and its wallet with what the application was told, but for their creation."""
    with drill.connect(stack)() as custody:
        key = custody.get_key(acknowledged.key.id)
        wallet: Wallet | None = None
        if acknowledged.wallet is not None:
            wallet = custody.get_wallet(acknowledged.wallet.id)
            wallet = wallet.model_copy(update={"created_at": acknowledged.wallet.created_at})
    same = {
        "created_at": acknowledged.key.created_at,
        "attestations": acknowledged.key.attestations,
    }
    if key.model_copy(update=same) != acknowledged.key or wallet != acknowledged.wallet:
        raise DrillFailed(f"{acknowledged.name} is another one now")


SCENARIO = Scenario(
    "11", "The control plane's database is lost; last night's copy is left", run, waits=True
)
