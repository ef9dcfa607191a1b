"""An operator freezes a node: nothing is signed until it is unfrozen, across restarts too."""

import time

from custody.client import Custody, Network
from custody.wire.node_api import NodeHealth
from custody.wire.resources import Signature, SignatureStatus
from devstack.service import clean_environment
from devstack.stack import Stack
from tests.commands import run_command

REASON = "lost laptop, see ticket 17"


def hsm_driver(stack: Stack, *arguments: str) -> str:
    driver = stack.drivers[0]
    done = run_command(driver.command(*arguments), clean_environment(**driver.environment()))
    assert done.returncode == 0, done.stderr
    return done.stdout


def waiting(custody: Custody, signature: Signature) -> Signature:
    """The signature once it says why it waits."""
    deadline = time.monotonic() + 15
    while signature.reason is None:
        assert time.monotonic() < deadline, signature
        time.sleep(0.1)
        signature = custody.get_signature(signature.key_id, signature.id)
    return signature


def health(custody: Custody) -> NodeHealth:
    return next(iter(custody.list_nodes())).health


def test_a_frozen_node_signs_nothing_until_it_is_unfrozen(make_stack) -> None:
    stack: Stack = make_stack()
    with stack.client() as custody:
        wallet = custody.create_wallet(Network.ETHEREUM)
        assert REASON in hsm_driver(stack, "freeze", "--reason", REASON)
        asked = waiting(custody, custody.sign_message(wallet.key_id, "hello", wait=0))
        assert asked.status is SignatureStatus.PENDING
        assert asked.reason is not None
        assert asked.reason.code in ("frozen", "no_node_works")  # a claim may wait already
        assert REASON in asked.reason.detail
        assert not stack.drivers[0].is_ready()

        stack.drivers[0].stop()
        stack.drivers[0].start(wait=False)
        again = waiting(custody, custody.sign_message(wallet.key_id, "again", wait=0))
        assert again.reason is not None
        assert again.reason.code == "no_node_works"  # a frozen driver claims nothing
        until_health_says(custody, REASON)

        assert "works again" in hsm_driver(stack, "unfreeze")
        for one in (asked, again):
            done = custody.get_signature(one.key_id, one.id, wait=60)
            assert done.status is SignatureStatus.SIGNED


def until_health_says(custody: Custody, words: str) -> None:
    """Wait for the heartbeat of a driver that has just started."""
    deadline = time.monotonic() + 15
    while words not in str(health(custody).detail):
        assert time.monotonic() < deadline, health(custody)
        time.sleep(0.1)
