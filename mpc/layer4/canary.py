"""A canary: a small object that the customer decrypts to see that its key opens share copies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpc.layer4.customer_key import CustomerKey

FOLDER = "canaries"
BEGINNING = "Canary of mpc-signer:"


@dataclass(frozen=True)
class Canary:
    """``text``: what the customer reads. ``name``: of the object."""

    name: str
    text: str
    content: bytes


def new_canary(prefix: str, node: str, key: CustomerKey, now: datetime) -> Canary:
    """Return a canary that is encrypted as share copies are. It contains no secret."""
    text = (
        f"{BEGINNING} the customer key {key.fingerprint} opens the share copies of {node}. "
        f"Written at {now.isoformat(timespec='seconds')}.\n"
    )
    content = key.encrypt(text.encode())
    digest = hashlib.sha256(content).hexdigest()
    return Canary(f"{prefix}{FOLDER}/{now:%Y%m%dT%H%M%SZ}-{digest}.age", text, content)


def is_canary(document: bytes) -> bool:
    """Return whether a decrypted object is a canary."""
    return document.startswith(BEGINNING.encode())
