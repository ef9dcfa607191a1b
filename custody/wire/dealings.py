"""A signer's part of a key, dealt to the signers of another group: a copy of the key.

The mathematics: docs/adr/0036-import-and-copy-of-shares.md.
"""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from custody.wire.algorithms import Network
from custody.wire.encoding import HexBytes, Model
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.imports import MAX_SEALED
from custody.wire.jobs import KeyHolders, ShareIndex
from custody.wire.nodes import NodeId
from custody.wire.public_keys import check_public_key
from custody.wire.tickets import ALGORITHM, Protocol

Points = Annotated[tuple[HexBytes, ...], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
SealedBytes = Annotated[HexBytes, Field(min_length=1, max_length=MAX_SEALED)]


class Dealing(Model):
    """One signer's dealing (DEALING_TYPE). Its signature is the dealer's word for the old set.

    At least one of t dealers is honest, where t is the old group's threshold. So if all t state the
    same public key, chain code and verifying shares of the old set, these are right. That
    ``dealt_by`` is the old group is known only from the request that an application has signed.
    """

    version: Literal[1] = 1
    key_id: UUID
    """The key that is copied."""
    copy_id: UUID
    """The id of the new key, which is that of the request for the copy."""
    share_set_id: UUID
    """The ceremony that made the dealt set."""
    generation: int
    protocol: Protocol
    network: Network | None
    """The copied key's network, whose rules its signatures follow. Null for a bare key."""
    public_key: HexBytes
    chain_code: HexBytes | None
    imported: bool
    """True if the private key once came from an application."""
    dealt_by: KeyHolders
    """The group that holds the copied key."""
    verifying_shares: Points
    """Of the dealt set, by index."""
    quorum: Annotated[
        tuple[ShareIndex, ...], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)
    ]
    """The indices of the signers that deal together, in order."""
    holders: KeyHolders
    """The group that will hold the copy."""
    signer: NodeId
    index: ShareIndex
    commitments: Points
    """To the coefficients of the dealer's polynomial, from the constant term on."""
    sealed: Annotated[
        dict[NodeId, SealedBytes], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)
    ]
    """For each signer of ``holders`` the polynomial's value at its index."""

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        check_public_key(ALGORITHM[self.protocol], self.public_key)
        signers = self.dealt_by.signers
        if signers[self.index - 1 : self.index] != (self.signer,):
            raise ValueError(f"{self.signer} does not have index {self.index}")
        if len(self.verifying_shares) != len(signers):
            raise ValueError("one verifying share for each signer of the group")
        if list(self.quorum) != sorted(set(self.quorum)) or self.quorum[-1] > len(signers):
            raise ValueError("the quorum is not in order of the indices, each once")
        if len(self.quorum) != self.dealt_by.threshold or self.index not in self.quorum:
            raise ValueError("as many dealers as the threshold, this one among them")
        if len(self.commitments) != self.holders.threshold:
            raise ValueError("one commitment for each coefficient")
        if self.sealed.keys() != set(self.holders.signers):
            raise ValueError("one sub-share for each signer of the new group")
        return self

    @property
    def agreed(self) -> dict[str, object]:
        """What must be the same in each dealer's."""
        return self.model_dump(exclude={"signer", "index", "commitments", "sealed"})
