"""Waiting until something is final, by calls that the service holds open."""

import time
from collections.abc import Callable
from typing import TypeVar

from control_plane.client.calls import Call, Steps
from control_plane.client.errors import Failed, NotFinal, Rejected
from wire.resources import (
    ChangeStatus,
    Key,
    KeyChange,
    KeyStatus,
    Signature,
    SignatureStatus,
    Wallet,
)

LONGEST_CALL = 30.0
"""Seconds of one long poll; longer waits are several."""

Resource = TypeVar("Resource", Wallet, Key, Signature, KeyChange)


def until_final(
    first: Call[Resource], again: Callable[[Resource], Call[Resource]], wait: float
) -> Steps[Resource]:
    """Make the first call, then look again until the resource is final.

    ``wait`` in seconds; 0 returns it as it is. Raises NotFinal, Rejected, Failed.
    """
    if wait <= 0:
        return (yield from first)
    deadline = time.monotonic() + wait
    resource = yield from first.waiting(min(wait, LONGEST_CALL))
    while not _is_final(resource):
        left = deadline - time.monotonic()
        if left <= 0:
            raise NotFinal(resource)
        resource = yield from again(resource).waiting(min(left, LONGEST_CALL))
    return resource


def _is_final(resource: Wallet | Key | Signature | KeyChange) -> bool:
    """Whether there is a result. Raises Rejected or Failed when there never will be."""
    match resource.status:
        case SignatureStatus.REJECTED | ChangeStatus.REJECTED:
            raise Rejected(resource)
        case SignatureStatus.FAILED | KeyStatus.FAILED | ChangeStatus.FAILED:
            raise Failed(resource)
        case SignatureStatus.SIGNED | KeyStatus.ACTIVE | ChangeStatus.DONE:
            return True
        case _:
            return False
