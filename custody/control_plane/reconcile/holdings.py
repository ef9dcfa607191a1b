"""What nodes say of the keys that they hold, and what all holders of a key agree on. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError

from custody.wire.algorithms import Store
from custody.wire.inventory import HeldKey, Holding
from custody.wire.jobs import CHILD_KEY_VERSION
from custody.wire.signed_bytes import ATTESTATION_TYPE, BadSignedBytes, PinnedKeys, SignedBytes
from custody.wire.statements import Attestation, MadeFor


class BadInventory(ValueError):
    """A node's inventory that cannot be believed: the text says why."""


class Disagreement(ValueError):
    """Why a key cannot be adopted: its holders attest different facts, or some are missing."""


@dataclass(frozen=True)
class Held:
    """A key as one node holds it. ``signed``: the attestation, as the node signed it."""

    node: str
    attested: Attestation
    signed: SignedBytes
    holding: Holding
    created_at: datetime
    generation: int | None
    share_set_id: UUID | None
    outcome: bytes | None

    @property
    def key_id(self) -> UUID:
        """Return the key's id."""
        return self.attested.key_id

    @property
    def share_set(self) -> tuple[int | None, UUID | None]:
        """Return generation and id of the set of its share; of a wrapped key both are None."""
        return self.generation, self.share_set_id


@dataclass(frozen=True)
class Agreed:
    """A key as all of its holders attest it: one driver, or all n signers.

    ``held``: in the order of the group's signers. ``made_for``: None if the holders do not know.
    """

    held: tuple[Held, ...]
    made_for: MadeFor | None

    @property
    def attested(self) -> Attestation:
        """Return the facts, which are the same in each holder's attestation."""
        return self.held[0].attested

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return its holders."""
        return tuple(each.node for each in self.held)


def open_held(node: str, group: str, store: Store, identity: bytes, said: HeldKey) -> Held:
    """Return what a node holds, once its statement is verified. Raise BadInventory.

    ``identity``: the node's Ed25519 public key, as it was when the database was backed up.
    """
    try:
        payload = PinnedKeys([identity]).open(ATTESTATION_TYPE, said.attestation)
        attested = Attestation.model_validate_json(payload)
    except (BadSignedBytes, ValidationError) as error:
        raise BadInventory(f"an attestation is not one of node {node}: {error}") from None
    key_id = attested.key_id
    if attested.node != node or attested.store is not store:
        raise BadInventory(f"the attestation of key {key_id} is another node's or another store's")
    if key_id.version == CHILD_KEY_VERSION:
        raise BadInventory(f"key {key_id} has a derived key's id: nodes hold no derived keys")
    if store is Store.HSM and (attested.group != group or attested.threshold != 1):
        raise BadInventory(f"the attestation of key {key_id} is of another group, {attested.group}")
    if store is Store.MPC:
        if node not in attested.signers or len(set(attested.signers)) != len(attested.signers):
            raise BadInventory(f"node {node} is not one of the signers that it names for {key_id}")
        if said.generation is None or said.share_set_id is None:
            raise BadInventory(f"the share of key {key_id} has no set")
    return Held(
        node=node,
        attested=attested,
        signed=said.attestation,
        holding=said.holding,
        created_at=said.created_at,
        generation=said.generation,
        share_set_id=said.share_set_id,
        outcome=said.outcome,
    )


def agreed(by_node: Mapping[str, Held]) -> Agreed:
    """Return what all holders of a key attest. Raise Disagreement.

    ``by_node``: the statements of those nodes whose inventory is complete; not empty.
    """
    first = next(iter(by_node.values())).attested
    needed = list(by_node)[:1] if first.store is Store.HSM else first.signers
    missing = [name for name in needed if name not in by_node]
    if missing:
        raise Disagreement(f"{', '.join(missing)} did not say that they hold a share of it")
    held = tuple(by_node[name] for name in needed)
    if first.store is Store.HSM:
        _require_same_facts(list(by_node.values()))
    else:
        _require_same_facts(held)
        _require_one_set(held)
    return Agreed(held, _made_for(held, first.threshold))


def _require_same_facts(held: Sequence[Held]) -> None:
    facts = [
        each.attested.model_dump(exclude={"node", "made_for"} | _own_list(each)) for each in held
    ]
    for each, said in zip(held, facts, strict=True):
        if said != facts[0]:
            raise Disagreement(f"{each.node} and {held[0].node} attest different facts of it")


def _own_list(held: Held) -> set[str]:
    """Return the field that differs between drivers of one group: each names itself."""
    return {"signers"} if held.attested.store is Store.HSM else set()


def _require_one_set(held: Sequence[Held]) -> None:
    not_used = [each.node for each in held if each.holding is not Holding.IN_USE]
    if not_used:
        raise Disagreement(f"the share of {', '.join(not_used)} is not in use")
    if len({each.share_set for each in held}) > 1:
        sets = ", ".join(f"{each.node}: generation {each.generation}" for each in held)
        raise Disagreement(f"its signers use different sets of shares ({sets})")


def _made_for(held: Sequence[Held], threshold: int) -> MadeFor | None:
    """Return the request that the key was made for, if t holders state it and none another.

    At least one of t signers is honest.
    """
    told = [each.attested.made_for for each in held if each.attested.made_for is not None]
    if any(each != told[0] for each in told):
        raise Disagreement("its holders attest different requests that it was made for")
    return told[0] if len(told) >= threshold else None
