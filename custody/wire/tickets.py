"""Tickets: the control plane's signed permissions for one ceremony each."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1, Algorithm
from custody.wire.encoding import HexBytes, Model
from custody.wire.group_sizes import MAX_SIGNERS, MIN_THRESHOLD
from custody.wire.jobs import KeyHolders
from custody.wire.nodes import NodeId

SECRET_BYTES = 32


class Protocol(StrEnum):
    """The threshold protocols, by library and curve."""

    DKLS23_SECP256K1 = "dkls23-secp256k1"  # Doerner, Kondi, Lee, shelat: eprint 2023/765
    FROST_ED25519 = "frost-ed25519"  # RFC 9591, section 6.1
    FROST_SECP256K1_TR = "frost-secp256k1-tr"  # RFC 9591, with BIP-340 and BIP-341


PROTOCOL = {
    ECDSA_SECP256K1: Protocol.DKLS23_SECP256K1,
    EDDSA_ED25519: Protocol.FROST_ED25519,
    SCHNORR_SECP256K1: Protocol.FROST_SECP256K1_TR,
}
"""The protocol that makes and uses an algorithm's MPC keys."""
ALGORITHM = {protocol: algorithm for algorithm, protocol in PROTOCOL.items()}
"""The algorithm of a protocol's keys."""


def protocol_of(algorithm: Algorithm) -> Protocol:
    """Return an algorithm's protocol. Raise ValueError if there is none."""
    if algorithm not in PROTOCOL:
        raise ValueError(f"there are no MPC keys of {algorithm}")
    return PROTOCOL[algorithm]


class CeremonyKind(StrEnum):
    GENERATE = "Generate"
    """Distributed key generation, by all n."""
    IMPORT = "Import"
    """All n take sub-shares of an existing private key, and refresh their shares at once."""
    SIGN = "Sign"
    """t of the n sign."""
    REFRESH = "Refresh"
    """All n replace their shares; the key stays."""
    REPAIR = "Repair"
    """t signers make the share of a signer again that has lost it."""


NEW_KEY = frozenset({CeremonyKind.GENERATE, CeremonyKind.IMPORT})
"""The kinds that make the first shares of a key."""


class Participant(Model):
    """A participant. ``index``: its share's index, 1 to n, for the life of the group."""

    signer: NodeId
    index: Annotated[int, Field(ge=1, le=MAX_SIGNERS)]


class Ticket(Model):
    """A ticket. ``job_id`` and ``job_digest`` bind it to one job; ``ceremony`` is used once.

    ``generation`` counts a key's sets of shares from 0: the generation of the set that Generate,
    Import or Refresh makes, or that Sign or Repair uses. ``share_set_id`` is the ceremony that made
    the used set (null for Generate and Import). ``participants`` are in order of their index.
    ``target`` is the index of the share that Repair makes.

    Delivery servers never see a ticket: they get a DeliveryTicket (custody/wire/delivery.py).
    """

    version: Literal[1] = 1
    ceremony: UUID
    meeting: UUID
    """The delivery server's name for the ceremony: random, and unrelated to every other id."""
    secret: Annotated[HexBytes, Field(min_length=SECRET_BYTES, max_length=SECRET_BYTES, repr=False)]
    """Random, so that the ticket's hash reveals nothing about the other fields. Signers derive keys
    from it for their messages before they know each other's keys."""
    kind: CeremonyKind
    job_id: UUID
    job_digest: HexBytes
    key_id: UUID
    """The key's id; the root's id if the job is for a derived key."""
    generation: Annotated[int, Field(ge=0)]
    share_set_id: UUID | None
    protocol: Protocol
    group: str
    """The signer group's name."""
    threshold: Annotated[int, Field(ge=MIN_THRESHOLD, le=MAX_SIGNERS)]
    signers: Annotated[list[NodeId], Field(min_length=MIN_THRESHOLD, max_length=MAX_SIGNERS)]
    """All n of the group, in order of their index."""
    participants: Annotated[list[Participant], Field(min_length=MIN_THRESHOLD)]
    target: int | None = None
    digest: HexBytes | None = None
    """The 32 bytes to sign; null if no digest is signed."""
    delivery: str
    """Name of the delivery server, as in the signers' configuration."""
    issued_at: AwareDatetime
    """A signer whose database was restored refuses the tickets that were issued before."""
    expires_at: AwareDatetime

    @model_validator(mode="after")
    def _parts_go_together(self) -> "Ticket":
        if len(set(self.signers)) != len(self.signers):
            raise ValueError("a signer is in the group twice")
        if self.threshold > len(self.signers):
            raise ValueError("the threshold is larger than the number of signers")
        indices = [each.index for each in self.participants]
        if indices != sorted(set(indices)):
            raise ValueError("participants are not in order of their index, each once")
        for each in self.participants:
            if each.index > len(self.signers) or self.signers[each.index - 1] != each.signer:
                raise ValueError(f"{each.signer} does not have index {each.index} in the group")
        if len(indices) != self._needed:
            raise ValueError(f"{self.kind.value} needs {self._needed} participants")
        if (self.target is not None) != (self.kind is CeremonyKind.REPAIR):
            raise ValueError("only Repair has a target, and must have one")
        if self.target is not None and self.target not in indices:
            raise ValueError("the target does not take part")
        if (self.share_set_id is None) != (self.kind in NEW_KEY):
            raise ValueError("only Generate and Import start without shares, and they must")
        return self

    @property
    def holders(self) -> KeyHolders:
        """Return the signer group."""
        return KeyHolders(group=self.group, threshold=self.threshold, signers=tuple(self.signers))

    @property
    def _needed(self) -> int:
        match self.kind:
            case CeremonyKind.SIGN:
                return self.threshold
            case CeremonyKind.REPAIR:
                return self.threshold + 1
            case CeremonyKind.GENERATE | CeremonyKind.IMPORT | CeremonyKind.REFRESH:
                return len(self.signers)
