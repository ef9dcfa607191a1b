"""A wallet moves from a 2-of-3 group to a 3-of-5 group of other owners on other hosts.

The old hosts shall not be trusted any more. The address stays. An old and a new signer are killed
in the middle. At the end the old operators erase their shares, and cannot sign any more.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from uuid import UUID

import psycopg

from custody.client import Custody, Key, KeyArchived, Network, PinnedGroup, PinnedNodes
from devstack.control_plane import ControlPlaneOptions
from devstack.drills.application import AcknowledgedKey, Application
from devstack.drills.drill import Drill, DrillFailed
from devstack.drills.scenario import Scenario
from devstack.service import start_together
from devstack.signer import Signer
from devstack.stack import Stack, StackOptions

OLD, NEW = "old", "zurich"
GROUPS = {
    OLD: PinnedGroup(2, ["signer-1", "signer-2", "signer-3"]),
    NEW: PinnedGroup(3, [f"signer-{number}" for number in range(4, 9)]),
}
OWNERS = ("acme", "globex", "trustee", "alpine", "birch", "cedar", "alpine", "birch")
CEREMONY_SECONDS = 30
"""What the others wait for a signer that was killed in a ceremony of all."""
SECONDS = 240.0
REASON = ("--reason", "it moved to the group zurich: a drill")


def _run(drill: Drill) -> None:
    options = StackOptions(
        drivers=0,
        signers=len(OWNERS),
        owners=OWNERS,
        control_plane=ControlPlaneOptions(ceremonies={"keys_seconds": CEREMONY_SECONDS}),
    )
    with drill.stack(options) as stack:
        pins = _pins(stack)
        application = Application(lambda: stack.client(pinned_nodes=pins))
        with drill.step("make wallets in the old group, and sign"):
            with stack.client() as custody:
                for name, group in GROUPS.items():
                    custody.create_signer_group(name, list(group.signers), group.threshold)
            wallets = [
                application.make_wallet(network, OLD)
                for network in (Network.ETHEREUM, Network.SOLANA)
            ]
            application.sign_with_all()
        with drill.lose("the trust in the hosts of the old group"):
            pass
        copies = [_copy(drill, stack, application, wallet) for wallet in wallets]
        with drill.step("both groups hold each key, and the API shows both"):
            _require_both_holders(drill, application, wallets, copies)
        moved = [
            application.moved(wallet, copy) for wallet, copy in zip(wallets, copies, strict=True)
        ]
        drill.recovered(application, moved[0])
        with drill.step("archive the old keys; the old operators erase their shares and restart"):
            _retire(stack, application, wallets)
        with drill.step("the old signers cannot sign, even if the keys are un-archived"):
            for wallet in wallets:
                _require_unusable(drill, stack, application, wallet.key.id)
        drill.require_nothing_lost(application)
        with drill.step("the audit chains of the old signers are complete"):
            for name in GROUPS[OLD].signers:
                stack.signers[name].run("verify the audit chain", "audit", "verify")


def _pins(stack: Stack) -> PinnedNodes:
    signers = {signer.node_id: signer.identity_public_key for signer in stack.signers.all}
    return PinnedNodes({}, signers, {}, GROUPS)


def _copy(drill: Drill, stack: Stack, application: Application, wallet: AcknowledgedKey) -> Key:
    """Copy a key, and kill an old and a new signer when the new ones have made import keys."""
    victims = [stack.signers["signer-1"], stack.signers["signer-5"]]
    what = f"copy the {wallet.name}; SIGKILL of signer-1 (old) and signer-5 (new) meanwhile"
    with drill.step(what), ThreadPoolExecutor(1) as thread, application.connect() as custody:
        copying = thread.submit(custody.copy_key, wallet.key.id, NEW, wait=SECONDS)
        _wait_for_import_key(victims[1], copying)
        for victim in victims:
            victim.kill()
        application.sign(wallet, "the old group signs while its key is copied")
        drill.require(not copying.done(), "the copy was made without one of the new signers")
        start_together(victims)
        return copying.result()


def _wait_for_import_key(signer: Signer, copying: "Future[Key]") -> None:
    deadline = time.monotonic() + SECONDS
    with psycopg.connect(signer.database_url, autocommit=True) as connection:
        while not connection.execute("SELECT FROM import_keys").fetchall():
            if copying.done() or time.monotonic() > deadline:
                raise DrillFailed(f"{signer.node_id} was not seen with an import key")
            time.sleep(0.01)


def _require_both_holders(
    drill: Drill,
    application: Application,
    wallets: Sequence[AcknowledgedKey],
    copies: Sequence[Key],
) -> None:
    with application.connect() as custody:
        for wallet, copy in zip(wallets, copies, strict=True):
            old = custody.get_key(wallet.key.id)
            drill.require(old.copies == (copy.id,), f"{old.id} does not list its copy {copy.id}")
            drill.require(copy.copied_from == old.id, f"{copy.id} does not name {old.id}")
            drill.require(
                (old.signer_group, copy.signer_group) == (OLD, NEW)
                and old.public_key == copy.public_key,
                f"{old.id} and {copy.id} are not one key of both groups",
            )


def _retire(stack: Stack, application: Application, wallets: Sequence[AcknowledgedKey]) -> None:
    with application.connect() as custody:
        for wallet in wallets:
            custody.archive_key(wallet.key.id, wait=SECONDS)
    old = [stack.signers[name] for name in GROUPS[OLD].signers]
    for signer in old:
        for wallet in wallets:
            signer.run("erase", "shares", "erase", str(wallet.key.id), *REASON, "--yes")
        signer.stop()
    start_together(old)


def _require_unusable(drill: Drill, stack: Stack, application: Application, key_id: UUID) -> None:
    with application.connect() as custody:
        try:
            custody.sign_message(key_id, "by an archived key", wait=0)
            raise DrillFailed("an archived key was asked for a signature, and the API took it")
        except KeyArchived:
            pass
        custody.unarchive_key(key_id, wait=SECONDS)
        _require_no_share(drill, custody, key_id)
        custody.archive_key(key_id, wait=SECONDS)
    for name in GROUPS[OLD].signers:
        left = "SELECT FROM shares WHERE key_id = %s AND ciphertext IS NOT NULL"
        with psycopg.connect(stack.signers[name].database_url) as connection:
            found = connection.execute(left, [key_id]).fetchall()
        drill.require(not found, f"{name} still has a share of {key_id}")


def _require_no_share(drill: Drill, custody: Custody, key_id: UUID) -> None:
    """Ask for a signature, and read why it does not come."""
    asked = custody.sign_message(key_id, "by signers without shares", wait=0)
    deadline = time.monotonic() + SECONDS
    while asked.reason is None or asked.reason.code != "no_share":
        drill.require(
            not asked.status.is_final and time.monotonic() < deadline,
            f"the request is {asked.status.value}, and says {asked.reason}",
        )
        time.sleep(0.1)
        asked = custody.get_signature(key_id, asked.id)


SCENARIO = Scenario(
    "16", "A wallet moves to a new group: other signers, the same address", _run, waits=True
)
