"""Waiting until something is final, by calls that the service holds open."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from custody.client.calls import Call, Calls
from custody.client.errors import Failed, NotFinal, Rejected
from custody.wire.answers import Unknown
from custody.wire.resources import (
    ChangeStatus,
    Import,
    ImportStatus,
    Key,
    KeyChange,
    KeyStatus,
    Signature,
    SignatureStatus,
    Wallet,
)

DEFAULT_WAIT = 60.0
"""Seconds that an operation waits for its result."""

LONGEST_CALL = 30.0
"""Seconds of one long poll; longer waits are several."""

SHORTEST_ROUND = 1.0
"""Seconds from one long poll to the next, also where the service answers at once: a newer service
does so for a status that it knows to be final and this version does not."""

Resource = TypeVar("Resource", Wallet, Key, Signature, KeyChange, Import)


def until_final(
    first: Call[Resource], again: Callable[[Resource], Call[Resource]], wait: float
) -> Calls[Resource]:
    """Make the first call, then poll until the resource is final. An Unknown status is not final.

    ``wait`` in seconds; 0 returns its present state. Raises NotFinal, Rejected, Failed.
    """
    if wait <= 0:
        return (yield from first)
    deadline = time.monotonic() + wait
    call = first.waiting(min(wait, LONGEST_CALL))
    while True:
        sent = time.monotonic()
        resource = yield from call
        if _is_final(resource):
            return resource
        now = time.monotonic()
        left = deadline - now
        if left <= 0:
            raise NotFinal(resource)
        pause = min(max(0.0, SHORTEST_ROUND - (now - sent)), left)
        call = again(resource).waiting(min(left - pause, LONGEST_CALL))
        call = replace(call, pause=pause)


def _is_final(resource: Wallet | Key | Signature | KeyChange | Import) -> bool:
    """Return whether there is a result. Raise Rejected or Failed if there never will be."""
    status = resource.status
    if isinstance(status, Unknown):
        return False
    match status:
        case SignatureStatus.REJECTED | ChangeStatus.REJECTED:
            raise Rejected(resource)
        case SignatureStatus.FAILED | KeyStatus.FAILED | ChangeStatus.FAILED | ImportStatus.FAILED:
            raise Failed(resource)
        case ImportStatus.USED | ImportStatus.EXPIRED:  # its import keys take no key any more
            raise Failed(resource)
        case SignatureStatus.SIGNED | KeyStatus.ACTIVE | ChangeStatus.DONE | ImportStatus.READY:
            return True
        case _:
            return False
