"""Statements by which a restored signer learns the bans that its database has lost.

The control plane carries them. It can neither change an answer nor use it for another question.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from custody.wire.encoding import HexBytes, Model
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.nodes import NodeId
from custody.wire.signed_bytes import SignedBytes

NONCE_BYTES = 32
MAX_BANS_IN_PART = 1_000
MAX_SETS_IN_PART = 2_000
MAX_PARTS = 1_000

Nonce = Annotated[HexBytes, Field(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class BanQuestion(Model):
    """A restored signer asks every other signer for its bans (BAN_QUESTION_TYPE)."""

    version: Literal[1] = 1
    signer: NodeId
    nonce: Nonce
    """Random, for each restore: an answer to an earlier question is not an answer to this one."""
    at: AwareDatetime


class SetInUse(Model):
    """The share set of one key that the answering signer uses."""

    key_id: UUID
    ceremony: UUID
    generation: Annotated[int, Field(ge=0)]
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)]
    signers: Annotated[tuple[NodeId, ...], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
    """All n that hold shares, in order of their index."""


class BanAnswer(Model):
    """One part of all that a signer knows for the asking one (BAN_ANSWER_TYPE).

    The parts of an answer have the same ``at``. Together they are complete: they contain every ban
    that the signer knows, and the set in use of every key that it shares with the asking signer.
    """

    version: Literal[1] = 1
    signer: NodeId
    asker: NodeId
    nonce: Nonce
    """The question's."""
    at: AwareDatetime
    part: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    parts: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    is_asking: bool
    """True if the answering signer was restored itself, and does not have all answers yet."""
    bans: Annotated[tuple[SignedBytes, ...], Field(max_length=MAX_BANS_IN_PART)] = ()
    """Bans, each signed by the signer that bans."""
    sets: Annotated[tuple[SetInUse, ...], Field(max_length=MAX_SETS_IN_PART)] = ()

    @model_validator(mode="after")
    def _part_is_one_of_the_parts(self) -> Self:
        if self.part > self.parts:
            raise ValueError("the part's number exceeds the number of parts")
        return self
