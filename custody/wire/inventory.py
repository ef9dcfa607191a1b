"""The inventory of a node: its keys, which of them are archived, and its journal's outcomes.

A control plane whose database was restored asks for it in its answer to a heartbeat, and the node
hands it in by pages:

    POST /node/v1/inventory
"""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, SerializerFunctionWrapHandler, model_serializer

from custody.wire.answers import Answer
from custody.wire.encoding import Base64Bytes, Model
from custody.wire.jobs import MAX_DEPTH, ChildNumber
from custody.wire.signed_bytes import SignedBytes

MAX_PAGE = 256
"""Limit of keys, and of outcomes, in one page."""
MAX_PAGE_BYTES = 2 * 1024 * 1024
"""Bytes of outcomes, before base64, at which a node ends a page: a page fits into one request."""


class InventoryQuestion(Answer):
    """What a control plane asks. ``outcomes_since``: older outcomes of the journal are left out.

    ``archived``: the node is to state its archived keys. An earlier control plane cannot read them.
    """

    id: UUID
    outcomes_since: AwareDatetime
    archived: bool = False


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
    ERASED = "erased"
    """No share any more: an operator has erased it on purpose, after the key was archived."""


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


class ArchivedKey(Model):
    """A key that signs nothing at the node, nor do the keys below its path.

    ``path``: from the root, and empty for the root itself. ``by``: whether a request or an operator
    on the host archived it; a key that both have archived comes twice.
    """

    root_id: UUID
    path: Annotated[tuple[ChildNumber, ...], Field(max_length=MAX_DEPTH)] = ()
    by: Literal["request", "operator"]
    archived_at: AwareDatetime


class InventoryPage(Model):
    """Body of a page. ``number``: from 0; page 0 begins the node's inventory again.

    ``held_back``: outcomes that a frozen node has not reported and leaves out. ``archived``: null
    on each page if the node does not state its archived keys.
    """

    question: UUID
    number: Annotated[int, Field(ge=0)]
    keys: Annotated[tuple[HeldKey, ...], Field(max_length=MAX_PAGE)] = ()
    outcomes: Annotated[tuple[RecordedOutcome, ...], Field(max_length=MAX_PAGE)] = ()
    is_last: bool = False
    held_back: int = 0
    archived: Annotated[tuple[ArchivedKey, ...], Field(max_length=MAX_PAGE)] | None = None

    @model_serializer(mode="wrap")
    def _as_before_without_archived_keys(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        """Leave the field out where it is null: an earlier control plane does not know it."""
        fields: dict[str, object] = serialize(self)
        if self.archived is None:
            fields.pop("archived", None)
        return fields


class PageReceived(Answer):
    """Answer to a page. ``wanted``: false if nobody asks this node any more."""

    wanted: bool
