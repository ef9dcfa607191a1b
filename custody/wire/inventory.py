"""The inventory of a node: the keys that it holds and the outcomes that its journal has.

A control plane whose database was restored asks for it in its answer to a heartbeat, and the node
hands it in by pages:

    POST /node/v1/inventory
"""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from custody.wire.answers import Answer
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.signed_bytes import SignedBytes

MAX_PAGE = 256
"""Limit of keys, and of outcomes, in one page."""
MAX_PAGE_BYTES = 2 * 1024 * 1024
"""Bytes of outcomes, before base64, at which a node ends a page: a page fits into one request."""


class InventoryQuestion(Answer):
    """What a control plane asks. ``outcomes_since``: older outcomes of the journal are left out."""

    id: UUID
    outcomes_since: AwareDatetime


class Holding(StrEnum):
    """How a node holds a key."""

    IN_USE = "in_use"
    """The key signs with it."""
    REPAIRED = "repaired"
    """A share made by Repair: it signs after the next refresh."""
    WAITING = "waiting"
    """A share of a set that is not in use yet: it was neither activated nor abandoned."""
    UNCERTAIN = "uncertain"
    """A restored share: it signs once t signers have named its set."""


class HeldKey(Model):
    """A key that the node holds, or its share of it.

    ``attestation``: an Attestation, which the node signs for this inventory. It is null unless the
    key is in use: clients believe an address that all signers attest, and a set that is not in use
    may still be abandoned. ``generation`` and ``share_set_id`` are those of a share.
    ``outcome``: the outcome of the job that made the key, byte for byte, where a driver's journal
    still has it.
    """

    key_id: UUID
    attestation: SignedBytes | None
    holding: Holding
    created_at: AwareDatetime
    generation: int | None = None
    share_set_id: UUID | None = None
    outcome: Base64Bytes | None = None


class RecordedOutcome(Model):
    """An outcome of the node's journal, byte for byte; ``node`` committed it."""

    job_id: UUID
    node: str
    outcome: Base64Bytes
    committed_at: AwareDatetime


class InventoryPage(Model):
    """Body of a page. ``number``: from 0; page 0 begins the node's inventory again.

    ``held_back``: outcomes that a frozen node has not reported and leaves out.
    """

    question: UUID
    number: Annotated[int, Field(ge=0)]
    keys: Annotated[tuple[HeldKey, ...], Field(max_length=MAX_PAGE)] = ()
    outcomes: Annotated[tuple[RecordedOutcome, ...], Field(max_length=MAX_PAGE)] = ()
    is_last: bool = False
    held_back: int = 0


class PageReceived(Answer):
    """Answer to a page. ``wanted``: false if nobody asks this node any more."""

    wanted: bool
