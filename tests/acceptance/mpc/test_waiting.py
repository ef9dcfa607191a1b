"""With too few signers there a request waits, says for how many, and is done when they are back."""

import time
from uuid import UUID

import psycopg
import pytest

from custody.client import Custody, Signature, SignatureStatus
from devstack.service import stop_together
from devstack.stack import Stack
from tests.acceptance.mpc.conftest import make_key, sign_and_check

SECONDS = 60


def until_it_waits(custody: Custody, signature: Signature) -> Signature:
    """The signature, once its reason is that it waits for signers."""
    deadline = time.monotonic() + SECONDS
    while signature.reason is None or signature.reason.code != "waiting_for_signers":
        assert signature.status in (SignatureStatus.PENDING, SignatureStatus.EXECUTING)
        assert time.monotonic() < deadline, signature
        time.sleep(0.1)
        signature = custody.get_signature(signature.key_id, signature.id)
    return signature


def ceremonies_of(stack: Stack, signature_id: UUID) -> int:
    """How many were begun for a signature."""
    with psycopg.connect(stack.databases.control_plane) as connection:
        return len(
            connection.execute(
                "SELECT FROM steps WHERE request_id = %s AND ticket IS NOT NULL", (signature_id,)
            ).fetchall()
        )


@pytest.fixture(scope="module")
def key(custody):
    return make_key(custody, "EdDSA", "3-of-5")


def test_it_signs_while_n_minus_t_are_stopped(custody, key, signers):
    stop_together(signers[3:5])
    sign_and_check(custody, key, b"two are away")


def test_those_that_are_stopped_say_so_and_are_chosen_for_nothing_until_they_are_back(
    stack, custody, key, signers
):
    stop_together(signers[0:2])
    health = {signer.id: signer.health for signer in custody.list_signers()}
    for name in ("signer-1", "signer-2"):
        assert (health[name].status, health[name].detail) == ("failing", "was told to stop")
    for number in range(3):
        signature = sign_and_check(custody, key, f"first go {number}".encode())
        assert ceremonies_of(stack, signature.id) == 1
    signers[0].start()
    health = {signer.id: signer.health for signer in custody.list_signers()}
    assert (health["signer-1"].status, health["signer-2"].status) == ("ok", "failing")


def test_it_signs_while_n_minus_t_hang(custody, key, signers):
    for signer in signers[:2]:
        signer.pause()
    try:
        sign_and_check(custody, key, b"two hang")
    finally:
        for signer in signers[:2]:
            signer.resume()


def test_it_signs_after_n_minus_t_were_killed(custody, key, signers):
    for signer in signers[1:3]:
        signer.kill()
    sign_and_check(custody, key, b"two were killed")


def test_it_says_how_many_are_there_and_is_done_when_one_comes_back(custody, key, signers):
    stop_together(signers[2:5])
    waiting = until_it_waits(custody, custody.sign_message(key.id, "three are away", wait=0))
    assert waiting.status is SignatureStatus.PENDING
    assert waiting.reason is not None
    assert waiting.reason.detail == (
        "2 of the 3 signers needed are there (away: signer-3, signer-4, signer-5); "
        "signer-3: was told to stop; signer-4: was told to stop; signer-5: was told to stop"
    )
    signers[2].start()
    done = custody.get_signature(key.id, waiting.id, wait=SECONDS)
    assert done.status is SignatureStatus.SIGNED
    assert done.reason is None
