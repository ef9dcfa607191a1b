"""Clients that sign in both modes, at a rate, and remember what they were told."""

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from custody.client import Custody, CustodyError, Ended, HashFunction, Key, NotFinal, Signature
from devstack.drills.application import AcknowledgedKey, Connect
from devstack.soak.judgement import Sample, Stored, Told
from devstack.verification import NotVerified, verify_message

CLIENTS = 3
"""Clients of each mode."""
WAIT = 60.0
SETTLE_SECONDS = 120.0
"""Within this time after the last fault, each request that was accepted is final."""


@dataclass(frozen=True)
class Mode:
    """The keys of a mode, which sign in turn."""

    name: str
    keys: Sequence[AcknowledgedKey]


class SoakLoad:
    """The load on one mode. ``told`` has each request by its external id."""

    def __init__(self, mode: Mode, connect: Connect) -> None:
        self.mode = mode
        self.told: dict[str, Told] = {}
        self.latencies: list[Sample] = []
        self._signatures: dict[str, Signature] = {}
        self._connect = connect
        self._lock = threading.Lock()

    def rate(self, seconds: float) -> float:
        """Return the signatures a second of clients that do not pause."""
        with self.running(0.0):
            time.sleep(seconds)
        signed = len(self.latencies)
        self.latencies.clear()
        return max(signed, 1) / seconds

    @contextmanager
    def running(self, interval: float) -> Iterator[None]:
        """Send requests meanwhile, one every ``interval`` seconds. Raise a client's own error."""
        stop, began = threading.Event(), time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as threads:
            clients = [
                threads.submit(self._client, number, interval * CLIENTS, stop, began)
                for number in range(CLIENTS)
            ]
            try:
                yield
            finally:
                stop.set()
            for client in clients:
                client.result()

    def _client(self, number: int, pause: float, stop: threading.Event, began: float) -> None:
        turn = number
        due = time.monotonic() + pause * number / CLIENTS
        with self._connect() as custody:
            while not stop.wait(max(0.0, due - time.monotonic())):
                due = max(due + pause, time.monotonic())
                self._sign(custody, self.mode.keys[turn % len(self.mode.keys)], began)
                turn += 1

    def _sign(self, custody: Custody, acknowledged: AcknowledgedKey, began: float) -> None:
        name = f"soak-{uuid.uuid4()}"
        with self._lock:
            self.told[name] = Told.NOTHING
        sent = time.monotonic()
        told = self._told(custody, acknowledged, name)
        took = time.monotonic() - sent
        with self._lock:
            self.told[name] = told
            if told is Told.SIGNED:
                self.latencies.append(Sample(sent - began, took))

    def _told(self, custody: Custody, acknowledged: AcknowledgedKey, name: str) -> Told:
        hashing = HashFunction.SHA_256 if acknowledged.wallet is None else None
        try:
            signature = custody.sign_message(
                acknowledged.key.id, name, hash_function=hashing, external_id=name, wait=WAIT
            )
        except NotFinal:
            return Told.ACCEPTED
        except Ended:
            return Told.ENDED
        except CustodyError:
            return Told.NOTHING
        with self._lock:
            self._signatures[name] = signature
        return Told.SIGNED if _verifies(acknowledged, signature) else Told.NOT_VERIFIED

    def stored(self) -> list[Stored]:
        """Wait until all requests are final, at most for two minutes, and list and verify them."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = [one for key in self.mode.keys for one in self._stored(key)]
            is_open = any(one.status in ("Pending", "Executing") for one in found)
            if not is_open or time.monotonic() > deadline:
                return found
            time.sleep(1)

    def _stored(self, acknowledged: AcknowledgedKey) -> list[Stored]:
        with self._connect() as custody:
            return [
                Stored(
                    external_id=one.external_id,
                    status=str(one.status),
                    code=one.reason.code if one.reason else None,
                    verified=one.signature is None or self._is_as_told(acknowledged, one),
                )
                for one in custody.list_signatures(acknowledged.key.id)
            ]

    def _is_as_told(self, acknowledged: AcknowledgedKey, signature: Signature) -> bool:
        """Return whether a signature verifies, and is the one that the application got, if any."""
        told = self._signatures.get(signature.external_id or "", signature)
        return told == signature and _verifies(acknowledged, signature)


def _verifies(acknowledged: AcknowledgedKey, signature: Signature) -> bool:
    key: Key = acknowledged.key
    address = acknowledged.wallet.address if acknowledged.wallet else None
    try:
        verify_message(signature.message or "", signature, key, address)
    except NotVerified:
        return False
    return True
