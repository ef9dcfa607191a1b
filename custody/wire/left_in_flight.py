"""Pairs of signers that stopped in the middle of a signature and wait for an operator."""

from uuid import UUID

from pydantic import AwareDatetime

from custody.wire.encoding import Model
from custody.wire.nodes import NodeId


class LeftInFlight(Model):
    """The counterparty and the root key of a signature that a stop interrupted."""

    key_id: UUID
    signer: NodeId
    since: AwareDatetime


def how_to_resolve(me: str, signer: str, key_id: UUID) -> str:
    """Return what the operator of ``me`` must do, with the command."""
    return (
        f"{me} stopped while it was signing with {signer} under key {key_id}: find out why, then "
        f"on {me}'s host: mpc-signer bans resolve {key_id} {signer} --clear --reason TEXT "
        f"(or --ban, if {signer} may have caused the stop)"
    )
