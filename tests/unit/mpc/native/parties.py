"""All participants of one ceremony in one process, and the messages between them.

The messages pass through `tamper`, which stands for a participant (or network) that lies.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mpc import _native as native

Tamper = Callable[[int, int, int, bytes, bytes], tuple[bytes, bytes]]
"""(exchange, sender, recipient, broadcast, private) -> what arrives instead."""


class Ended(Exception):
    """Not everybody came to the end: index -> what it raised."""

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        super().__init__({index: repr(error) for index, error in errors.items()})
        self.errors = errors


def as_sent(_: int, __: int, ___: int, broadcast: bytes, private: bytes) -> tuple[bytes, bytes]:
    return broadcast, private


def run(sessions: Mapping[int, Any], tamper: Tamper = as_sent) -> dict[int, Any]:
    """Index -> result. Raises Ended after the exchange in which somebody failed."""
    (exchanges,) = {session.exchanges for session in sessions.values()}
    sent = {index: session.start() for index, session in sessions.items()}
    for exchange in range(1, exchanges + 1):
        errors: dict[int, Exception] = {}
        following = {}
        for index, session in sessions.items():
            incoming = {
                sender: tamper(
                    exchange, sender, index, messages.broadcast, messages.private.get(index, b"")
                )
                for sender, messages in sent.items()
                if sender != index
            }
            try:
                following[index] = session.advance(incoming)
            except (native.ProtocolAbort, native.BanCounterparty, native.LocalMisuse) as error:
                errors[index] = error
        if errors:
            raise Ended(errors)
        sent = following
    assert set(sent.values()) == {None}
    return {index: session.result() for index, session in sessions.items()}


def session_id() -> bytes:
    return secrets.token_bytes(32)


def dkg_sessions(protocol: str, threshold: int, signers: int) -> dict[int, native.Dkg]:
    session = session_id()
    return {
        index: native.Dkg(protocol, index, threshold, signers, session)
        for index in range(1, signers + 1)
    }


def make_key(protocol: str, threshold: int, signers: int) -> dict[int, native.Share]:
    return run(dkg_sessions(protocol, threshold, signers))


def signing_sessions(
    shares: Mapping[int, native.Share],
    quorum: Iterable[int],
    message: bytes,
    path: list[int] | None = None,
) -> dict[int, native.Signing]:
    session, participants = session_id(), list(quorum)
    return {
        index: native.Signing(shares[index], participants, message, session, path or [])
        for index in participants
    }


def sign(
    shares: Mapping[int, native.Share],
    quorum: Iterable[int],
    message: bytes,
    path: list[int] | None = None,
) -> bytes:
    """The signature, of which every participant has the same."""
    (signature,) = set(run(signing_sessions(shares, quorum, message, path)).values())
    return bytes(signature)


def refresh_sessions(shares: Mapping[int, native.Share]) -> dict[int, native.Refresh]:
    session = session_id()
    return {index: native.Refresh(share, session) for index, share in shares.items()}


def refresh(shares: Mapping[int, native.Share]) -> dict[int, native.Share]:
    return run(refresh_sessions(shares))


def repair_sessions(
    shares: Mapping[int, native.Share], target: int, helpers: list[int]
) -> dict[int, native.Repair]:
    session, protocol = session_id(), shares[helpers[0]].protocol
    return {
        index: native.Repair(
            protocol, index, target, helpers, shares[index] if index != target else None, session
        )
        for index in [*helpers, target]
    }


def repair(shares: Mapping[int, native.Share], target: int, helpers: list[int]) -> native.Share:
    results = run(repair_sessions(shares, target, helpers))
    assert all(results[helper] is None for helper in helpers)
    repaired = results[target]
    assert isinstance(repaired, native.Share)
    return repaired
