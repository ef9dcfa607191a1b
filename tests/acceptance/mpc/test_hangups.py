"""SIGHUP ends no signer and no delivery server, also while they sign."""

import signal
import threading
from pathlib import Path

from custody.client import Custody, Key
from devstack.service import Service
from devstack.stack import Stack
from tests.acceptance.mpc.conftest import sign_and_check
from tests.waiting import wait_until

READ = "TLS files read again, after SIGHUP"
TIMES = 3
DELIVERY_USE = "delivery "


def test_signing_goes_on_through_hangups(stack: Stack, custody: Custody, keys: dict[str, Key]):
    daemons: dict[Service, Path] = {each: each.log for each in stack.signers.all}
    daemons |= {each: each.log for each in stack.signers.delivery_servers}
    pids = {each: each.process.pid for each in daemons}
    before = {each: log.read_text().count(READ) for each, log in daemons.items()}
    over = threading.Event()

    def hang_up() -> None:
        for time in range(1, TIMES + 1):
            for each in daemons:
                each.process.signal(signal.SIGHUP)
            for each, log in daemons.items():
                wait_until(lambda: log.read_text().count(READ) >= before[each] + time)  # noqa: B023
        over.set()

    thread = threading.Thread(target=hang_up)
    thread.start()
    number = 0
    while not over.is_set() or number < TIMES:
        sign_and_check(custody, keys["EdDSA"], f"hangup {number}".encode())
        sign_and_check(custody, keys["ECDSA"], f"hangup {number}".encode())
        number += 1
        assert thread.is_alive() or over.is_set()
    thread.join()
    assert {each: each.process.pid for each in daemons} == pids
    assert all(each.is_running for each in daemons)
    assert all(DELIVERY_USE in each.log.read_text() for each in stack.signers.all)
