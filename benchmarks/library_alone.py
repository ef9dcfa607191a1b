"""The limit in MPC mode: the library alone, all parties in one process, one thread a core.

It measures the protocols' computation only: no signed or encrypted messages, network or database.
"""

import os
import secrets
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from custody.wire.encoding import Model
from custody.wire.tickets import Protocol
from mpc._native import Dkg, Messages, Share, Signing

Session = Any
"""A session of mpc._native."""


class Alone(Model):
    """Seconds for one key generation and (median) for one signature, all parties together.

    ``rate``: signatures a second, several at a time. ``message_bytes``: of all parties, for one
    signature. ``share_bytes``: one share in its stored form.
    """

    generate: float
    sign: float
    rate: float
    message_bytes: int
    share_bytes: int


class Library:
    """All parties of one group, in this process."""

    def __init__(self, protocol: Protocol, threshold: int, signers: int) -> None:
        self._protocol = protocol
        self._threshold = threshold
        self._signers = signers
        self._pool = ThreadPoolExecutor(os.cpu_count())

    def measure(self, seconds: float) -> Alone:
        """Generate a key, then sign with it: one by one, then several at a time."""
        began = time.perf_counter()
        shares = self._generate()
        generate = time.perf_counter() - began
        sizes: list[int] = []
        times: list[float] = []
        end = time.perf_counter() + seconds / 2
        while time.perf_counter() < end or len(times) < 5:
            began = time.perf_counter()
            sizes.append(self._sign(shares, self._in_threads))
            times.append(time.perf_counter() - began)
        return Alone(
            generate=generate,
            sign=statistics.median(times),
            rate=self._rate(shares, seconds / 2),
            message_bytes=max(sizes),
            share_bytes=len(shares[1].to_bytes()),
        )

    def _generate(self) -> dict[int, Share]:
        session_id = secrets.token_bytes(32)
        sessions = {
            index: Dkg(self._protocol, index, self._threshold, self._signers, session_id)
            for index in range(1, self._signers + 1)
        }
        _run(sessions, self._in_threads)
        return {index: session.result() for index, session in sessions.items()}

    def _sign(self, shares: Mapping[int, Share], side_by_side: "SideBySide") -> int:
        """Make one signature. Return the number of bytes of its messages."""
        session_id, digest = secrets.token_bytes(32), secrets.token_bytes(32)
        quorum = list(range(1, self._threshold + 1))
        sessions = {index: Signing(shares[index], quorum, digest, session_id) for index in quorum}
        size = _run(sessions, side_by_side)
        if len({session.result() for session in sessions.values()}) != 1:
            raise RuntimeError("the parties have different signatures")
        return size

    def _rate(self, shares: Mapping[int, Share], seconds: float) -> float:
        """Return signatures a second. Each thread makes whole signatures, party by party."""
        end = time.perf_counter() + seconds

        def sign_for_a_while() -> int:
            count = 0
            while time.perf_counter() < end:
                self._sign(shares, _one_by_one)
                count += 1
            return count

        began = time.perf_counter()
        threads = [self._pool.submit(sign_for_a_while) for _ in range(os.cpu_count() or 1)]
        return sum(thread.result() for thread in threads) / (time.perf_counter() - began)

    def _in_threads(self, calls: list[Callable[[], Messages | None]]) -> list[Messages | None]:
        return list(self._pool.map(lambda call: call(), calls))


SideBySide = Callable[[list[Callable[[], Messages | None]]], list[Messages | None]]


def _one_by_one(calls: list[Callable[[], Messages | None]]) -> list[Messages | None]:
    return [call() for call in calls]


def _run(sessions: Mapping[int, Session], side_by_side: SideBySide) -> int:
    """Run the exchanges of all sessions. Return the number of bytes of all messages."""
    indices, size = list(sessions), 0
    sent = side_by_side([sessions[index].start for index in indices])
    while None not in sent:
        out = {index: each for index, each in zip(indices, sent, strict=True) if each is not None}
        size += sum(
            len(each.broadcast) * (len(out) - 1) + sum(map(len, each.private.values()))
            for each in out.values()
        )
        sent = side_by_side([_advance(sessions[index], index, out) for index in indices])
    return size


def _advance(
    session: Session, index: int, out: Mapping[int, Messages]
) -> Callable[[], Messages | None]:
    incoming = {
        sender: (messages.broadcast, messages.private.get(index, b""))
        for sender, messages in out.items()
        if sender != index
    }
    return lambda: session.advance(incoming)
