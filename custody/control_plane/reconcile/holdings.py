"""What nodes say of the keys that they hold, and what all holders of a key agree on. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError

from custody.wire.algorithms import Store
from custody.wire.inventory import HeldKey
from custody.wire.jobs import CHILD_KEY_VERSION
from custody.wire.requests import CreateSignerGroup
from custody.wire.signed_bytes import ATTESTATION_TYPE, BadSignedBytes, PinnedKeys, SignedBytes
from custody.wire.statements import Attestation, MadeFor


class BadInventory(ValueError):
    """A node's inventory that cannot be believed: the text says why."""


class Disagreement(ValueError):
    """Why a key cannot be adopted: its holders attest different facts, or some are missing."""


@dataclass(frozen=True)
class SignerGroup:
    """A signer group that the database has or the operator names; signers by share index."""

    name: str
    threshold: int
    signers: tuple[str, ...]

    def __str__(self) -> str:
        """Return the group as ``--signer-group`` takes it."""
        return f"{self.name}={self.threshold}:{','.join(self.signers)}"


@dataclass(frozen=True)
class Held:
    """A key as one node uses it. ``signed``: the attestation, as the node signed it."""

    node: str
    attested: Attestation
    signed: SignedBytes
    created_at: datetime
    generation: int | None
    share_set_id: UUID | None
    outcome: bytes | None

    @property
    def key_id(self) -> UUID:
        """Return the key's id."""
        return self.attested.key_id

    @property
    def group(self) -> SignerGroup:
        """Return the group that its attestation names: a claim of this node alone."""
        said = self.attested
        return SignerGroup(said.group, said.threshold, tuple(said.signers))

    @property
    def share_set(self) -> tuple[int | None, UUID | None]:
        """Return generation and id of the set of its share; of a wrapped key both are None."""
        return self.generation, self.share_set_id


@dataclass(frozen=True)
class Agreed:
    """A key as all of its holders attest it: one driver, or all n signers.

    ``held``: in the order of the group's signers. ``group``: the signer group, as the database or
    the operator names it; None for a driver's key. ``made_for``: None if the holders do not know.
    """

    held: tuple[Held, ...]
    group: SignerGroup | None
    made_for: MadeFor | None

    @property
    def attested(self) -> Attestation:
        """Return the facts, which are the same in each holder's attestation."""
        return self.held[0].attested

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return its holders."""
        return tuple(each.node for each in self.held)

    @property
    def created_at(self) -> datetime:
        """Return the first moment at which a holder had the key."""
        return min(each.created_at for each in self.held)

    @property
    def copied_from(self) -> UUID | None:
        """Return the key that this key is a copy of, if its holders know that it is one."""
        return None if self.made_for is None else self.made_for.copied_from


def open_held(node: str, group: str, store: Store, identity: bytes, said: HeldKey) -> Held:
    """Return a key that a node uses, once its statement is verified. Raise BadInventory.

    ``identity``: the node's Ed25519 public key, as it was when the database was backed up.
    """
    if said.attestation is None:
        raise BadInventory(f"node {node} does not attest key {said.key_id}, which it says it uses")
    try:
        payload = PinnedKeys([identity]).open(ATTESTATION_TYPE, said.attestation)
        attested = Attestation.model_validate_json(payload)
    except (BadSignedBytes, ValidationError) as error:
        raise BadInventory(f"an attestation is not one of node {node}: {error}") from None
    key_id = attested.key_id
    if key_id != said.key_id:
        raise BadInventory(f"the attestation of key {said.key_id} is another key's, {key_id}")
    if attested.node != node or attested.store is not store:
        raise BadInventory(f"the attestation of key {key_id} is another node's or another store's")
    _require_root(key_id)
    if store is Store.HSM:
        _require_whole_key(said, attested, group)
    else:
        _require_share(said, attested)
    return Held(
        node=node,
        attested=attested,
        signed=said.attestation,
        created_at=said.created_at,
        generation=said.generation,
        share_set_id=said.share_set_id,
        outcome=said.outcome,
    )


def require_not_in_use(node: str, store: Store, said: HeldKey) -> None:
    """Raise BadInventory unless a share that is not in use is stated as such: without proof."""
    _require_root(said.key_id)
    if store is Store.HSM:
        raise BadInventory(f"node {node} does not use the key {said.key_id} that it holds")
    if said.attestation is not None:
        raise BadInventory(f"node {node} attests key {said.key_id}, and does not use its share")


def _require_root(key_id: UUID) -> None:
    if key_id.version == CHILD_KEY_VERSION:
        raise BadInventory(f"key {key_id} has a derived key's id: nodes hold no derived keys")


def _require_whole_key(said: HeldKey, attested: Attestation, group: str) -> None:
    if attested.group != group or attested.threshold != 1:
        raise BadInventory(
            f"the attestation of key {said.key_id} is of another group, {attested.group}"
        )
    if said.generation is not None or said.share_set_id is not None:
        raise BadInventory(f"the key {said.key_id} of a driver has a set of shares")


def _require_share(said: HeldKey, attested: Attestation) -> None:
    try:
        CreateSignerGroup(
            name=attested.group, threshold=attested.threshold, signers=attested.signers
        )
    except ValidationError:
        raise BadInventory(
            f"key {said.key_id} has an impossible signer group: {attested.threshold} of "
            f"{len(attested.signers)}"
        ) from None
    if attested.node not in attested.signers:
        raise BadInventory(
            f"node {attested.node} is not one of the signers that it names for {said.key_id}"
        )
    if said.generation is None or said.share_set_id is None:
        raise BadInventory(f"the share of key {said.key_id} has no set")


def agreed_by_drivers(by_node: Mapping[str, Held]) -> Agreed:
    """Return what the drivers that answered attest of a key: one is enough. Raise Disagreement.

    ``by_node``: the statements of those nodes whose inventory is complete; not empty. A driver
    that does not know which request made the key gives way to one that does.
    """
    held = tuple(sorted(by_node.values(), key=lambda each: each.attested.made_for is None))
    if any(each.attested.store is not Store.HSM for each in held):
        raise Disagreement("drivers and signers attest it")
    _require_same_facts(held)
    return Agreed(held[:1], None, _made_for(held[:1], 1))


def agreed_by_signers(by_node: Mapping[str, Held], group: SignerGroup) -> Agreed:
    """Return what all n signers of a group attest of a key. Raise Disagreement.

    ``by_node``: the statements of those nodes whose inventory is complete. ``group``: never taken
    from one statement, since its signer chooses what it states.

    All n, and not t: below t signers lie, so an honest signer is among t too. But a set of shares
    is in use only once all n hold it, so the honest signers that lack it would lose the key.
    """
    missing = [name for name in group.signers if name not in by_node]
    if missing:
        raise Disagreement(f"no such statement came from {', '.join(missing)}")
    held = tuple(by_node[name] for name in group.signers)
    for each in held:
        if each.attested.store is not Store.MPC or each.group != group:
            raise Disagreement(f"{each.node} attests another signer group than {group}")
    _require_same_facts(held)
    _require_one_set(held)
    return Agreed(held, group, _made_for(held, group.threshold))


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
