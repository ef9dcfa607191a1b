"""A signer's or the conductor's connection lost at each statement of a key's life."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from custody.client import Curve, Custody, Key, KeyStatus, Scheme, SignatureStatus, Store
from devstack.control_plane import ControlPlaneOptions
from devstack.postgres import Cluster
from devstack.stack import Databases, Stack, StackOptions
from tests.conftest import fresh_database
from tests.faults.cutting_relay import Cut, CuttingRelay, relays
from tests.faults.mpc.conftest import (
    CEREMONY_SECONDS,
    GROUP,
    SECONDS,
    SIGNERS,
    VICTIM,
    nothing_is_left_over,
)

CLIENTS = 3
HIT_SECONDS = 10.0


@pytest.fixture(scope="module")
def parts(
    postgres: Cluster,
    control_plane_template: str,
    signer_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Stack, dict[str, CuttingRelay]]]:
    made = [fresh_database(postgres, control_plane_template)]
    made += [fresh_database(postgres, signer_template) for _ in SIGNERS]
    plane_url, *urls = [next(database) for database in made]
    seconds = {"sign_seconds": CEREMONY_SECONDS, "keys_seconds": 2 * CEREMONY_SECONDS}
    options = StackOptions(
        drivers=0,
        signers=3,
        control_plane=ControlPlaneOptions(lease_seconds=2, ceremonies=seconds),
    )
    victim = SIGNERS.index(VICTIM)
    with relays(plane_url, urls[victim]) as (plane, signer):
        urls[victim] = signer.url
        databases = Databases(plane.url, "", tuple(urls))
        with Stack(tmp_path_factory.mktemp("lost"), options, databases) as stack:
            with stack.client() as custody:
                custody.create_signer_group(GROUP, SIGNERS, 2)
            yield stack, {"signer": signer, "control plane": plane}
    for database in made:
        next(database, None)


class Life:
    """Keys are made, sign, and get new shares, by several applications until the end."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._ends = threading.Event()
        self._threads = ThreadPoolExecutor(CLIENTS)
        self.keys: list[Key] = []
        self.rounds = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "Life":
        self._running: list[Future[None]] = [
            self._threads.submit(self._live) for _ in range(CLIENTS)
        ]
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._threads.shutdown()

    def finish(self) -> None:
        self._ends.set()
        for each in self._running:
            each.result()

    def check(self) -> None:
        """Raise what ended an application before its time."""
        for each in self._running:
            if each.done():
                each.result()

    def _live(self) -> None:
        with self._stack.client() as custody:
            while not self._ends.is_set():
                key = custody.create_key(
                    Scheme.EDDSA, Curve.ED25519, Store.MPC, signer_group=GROUP, wait=SECONDS
                )
                assert key.status is KeyStatus.ACTIVE
                self.keys.append(key)
                self._sign(custody, key)
                custody.refresh_key(key.id, wait=SECONDS)
                self._sign(custody, key)
                with self._lock:
                    self.rounds += 1

    def _sign(self, custody: Custody, key: Key) -> None:
        signed = custody.sign_message(key.id, f"round {self.rounds}", wait=SECONDS)
        assert signed.status is SignatureStatus.SIGNED


def came(hit: threading.Event, life: Life) -> bool:
    deadline = time.monotonic() + HIT_SECONDS
    while not hit.wait(0.05):
        life.check()
        if time.monotonic() > deadline:
            return False
    return True


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "written"), [("signer", "INSERT INTO shares"), ("control plane", "UPDATE keys")]
)
def test_every_key_lives_wherever_the_connection_is_lost(parts, name, written):
    stack, by_name = parts
    relay = by_name[name]
    cut_at: set[tuple[str, Cut]] = set()
    with Life(stack) as life:
        before = relay.ran.copy()
        while life.rounds < 2 * CLIENTS:
            life.check()
            time.sleep(0.1)
        for text, cut in itertools.product(relay.ran - before, Cut):
            if came(relay.cut_at(text, cut), life):
                cut_at.add((text, cut))
            relay.spare()
        life.finish()
        with stack.client() as custody:
            for key in life.keys:
                nothing_is_left_over(stack, key.id)
                signed = custody.sign_message(key.id, "at the end", wait=SECONDS)
                assert signed.status is SignatureStatus.SIGNED
    for cut in Cut:
        assert any(written in text for text, how in cut_at if how is cut)
        assert any(text.startswith("COMMIT") for text, how in cut_at if how is cut)
