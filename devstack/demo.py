"""`make demo`: creates wallets, signs messages, and verifies all results with other libraries."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from custody.client import Curve, Custody, Key, Network, Protection, Scheme
from devstack.demo_layer4 import download_copies, recover, result_of_recovery
from devstack.demo_mpc import MpcDemo
from devstack.demo_results import Made, result_of, show
from devstack.demo_steps import sign
from devstack.progress import say, step
from devstack.signer_groups import OWNERS, SIGNERS
from devstack.stack import Stack, StackOptions

MESSAGE = "Hello from {name}: signed by a key that only the HSM can unwrap"
HOST_MESSAGE = "Hello from {name}: signed on the host, by a key that the HSM decrypts for it"


def demo(folder: Path) -> Path:
    """Empty the folder, run the demo in it, and return the result's path.

    Raise OperatorError, CustodyError or NotVerified.
    """
    with _alone(folder):
        shutil.rmtree(folder, ignore_errors=True)
        stack = Stack(folder, StackOptions(signers=SIGNERS, owners=OWNERS, layer4=True), step=step)
        say("Starting everything on this machine")
        try:
            stack.start()
            with stack.client(pinned_nodes=stack.pinned_nodes) as custody:
                say("Keys in the HSM: creating wallets, signing a message with each, verifying")
                made = [_make(custody, network) for network in (*Network, None)]
                in_shares = MpcDemo(stack, custody).run()
            assert stack.customers_bucket is not None
            wallet = in_shares[0]
            downloaded = download_copies(stack.customers_bucket, wallet, folder / "share-copies")
        finally:
            with step("stopping everything"):
                stack.stop()
        recovered = recover(wallet, downloaded, stack.log("mpc-recover"))
        made += in_shares
        result = folder / "result.json"
        described = result_of(made) | {"recovered": result_of_recovery(recovered)}
        result.write_text(json.dumps(described, indent=2) + "\n")
        show([*made, recovered])
    say(f"Every address and signature holds. Written: {result}")
    return result


def _make(custody: Custody, network: Network | None) -> Made:
    """Create a wallet (without a network: a P-256 key), sign with it, and verify."""
    name = f"{network.value} wallet" if network else "P-256 key"
    with step(f"{name}: create"):
        wallet = custody.create_wallet(network) if network else None
        key = custody.get_key(wallet.key_id) if wallet else _create_p256(custody)
    template = HOST_MESSAGE if key.protection is Protection.HOST else MESSAGE
    message = template.format(name=network.value if network else "P-256")
    return sign(custody, name, wallet, key, message)


def _create_p256(custody: Custody) -> Key:
    return custody.create_key(Scheme.ECDSA, Curve.SECP256R1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock, so that one demo runs at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
