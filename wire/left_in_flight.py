"""A signature that a signer's stop has left in the middle: the pair waits for an operator."""

from uuid import UUID

from pydantic import AwareDatetime

from wire.encoding import Model
from wire.nodes import NodeId


class LeftInFlight(Model):
    """With ``signer``, under a root key: whether it learned anything, nobody knows."""

    key_id: UUID
    signer: NodeId
    since: AwareDatetime


def how_to_resolve(me: str, signer: str, key_id: UUID) -> str:
    """What the operator of ``me`` has to do about it."""
    return (
        f"{me} stopped while it was signing with {signer} under key {key_id}: find out why, then "
        f"on {me}'s host: mpc-signer bans resolve {key_id} {signer} --clear --reason TEXT"
    )
