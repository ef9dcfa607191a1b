"""Signer groups: which signers make keys together, and how many of them sign."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from custody.control_plane.conductor.planning.facts import SignerGroup
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.presentation import health_of
from custody.database.connection import Connection
from custody.wire.algorithms import Algorithm
from custody.wire.left_in_flight import LeftInFlight, how_to_resolve
from custody.wire.requests import CreateSignerGroup
from custody.wire.resources import RegisteredSigner, SignerBan, SignerLeftInFlight
from custody.wire.resources import SignerGroup as ShownGroup

_MEMBERS = """
    SELECT signer_groups.name, signer_groups.threshold, signer_groups.created_at, members.signer,
        nodes.owner
    FROM signer_groups JOIN signer_group_members members ON members.group_name = signer_groups.name
    LEFT JOIN nodes ON nodes.id = members.signer
    WHERE CAST(:names AS varchar[]) IS NULL OR signer_groups.name = ANY(:names)
    ORDER BY signer_groups.name, members.share_index
"""
"""All groups where :names is null."""

_REPORTED = """
    SELECT id, capabilities FROM nodes
    WHERE id = ANY(CAST(:ids AS varchar[])) AND last_seen IS NOT NULL
"""

_ADD_GROUP = """
    INSERT INTO signer_groups (name, threshold) VALUES (:name, :threshold)
    ON CONFLICT DO NOTHING RETURNING name
"""

_ADD_MEMBERS = """
    INSERT INTO signer_group_members (group_name, share_index, signer)
    SELECT CAST(:name AS varchar), share_index, signer
    FROM unnest(CAST(:signers AS varchar[])) WITH ORDINALITY AS member(signer, share_index)
"""

_SIGNERS = """
    SELECT id, node_group, version, capabilities, health, owner, has_gate, left_in_flight, last_seen
    FROM nodes WHERE node_group = :group ORDER BY id
"""

_BANS = "SELECT signer, banned, key_id, reason, at FROM bans ORDER BY at"


class SignerGroups:
    """Reads and makes signer groups. One never changes, so it is remembered once read."""

    def __init__(self, database: Database, node_group: str, has_delivery: bool) -> None:
        self._database = database
        self._node_group = node_group
        self._has_delivery = has_delivery
        self._known: dict[str, SignerGroup] = {}

    async def of(
        self, names: Collection[str], within: Connection | None = None
    ) -> Mapping[str, SignerGroup]:
        """Groups by name; those that are there.

        ``within``: the transaction of a caller that holds a connection, and so must not wait for
        another.
        """
        missing = [name for name in names if name not in self._known]
        if missing:
            rows = await (within or self._database).rows(_MEMBERS, {"names": missing})
            for name, members in _by_group(rows).items():
                self._known[name] = SignerGroup(
                    name, members[0].threshold, tuple(row.signer for row in members)
                )
        return {name: self._known[name] for name in names if name in self._known}

    async def get(self, name: str) -> ShownGroup:
        """Return a group. Raise ProblemError not_found."""
        rows = await self._database.rows(_MEMBERS, {"names": [name]})
        if not rows:
            raise ProblemError(Code.NOT_FOUND, f"There is no signer group {name}.")
        return _shown(rows)

    async def list(self) -> list[ShownGroup]:
        """Return every group, by name."""
        rows = await self._database.rows(_MEMBERS, {"names": None})
        return [_shown(members) for members in _by_group(rows).values()]

    async def create(self, wanted: CreateSignerGroup) -> tuple[ShownGroup, bool]:
        """Make a group; whether it is new. Raises ProblemError unknown_signer or group_exists."""
        await self._require_signers(wanted.signers)
        new = {"name": wanted.name, "threshold": wanted.threshold, "signers": wanted.signers}
        async with self._database.transaction() as connection:
            is_new = await connection.row(_ADD_GROUP, new) is not None
            if is_new:
                await connection.rows(_ADD_MEMBERS, new)
        group = await self.get(wanted.name)
        if (group.signers, group.threshold) != (wanted.signers, wanted.threshold):
            raise ProblemError(
                Code.GROUP_EXISTS,
                f"Signer group {wanted.name} is there already, {group.threshold} of "
                f"{', '.join(group.signers)}. Groups never change: choose another name.",
            )
        return group, is_new

    async def signers(self, sees_details: bool) -> Sequence[RegisteredSigner]:
        """Return every signer, by id; with details, also the bans that it has stated."""
        of_group = await self._database.rows(_SIGNERS, {"group": self._node_group})
        if not sees_details:
            return [_signer(row) for row in of_group]
        stated: dict[str, list[SignerBan]] = defaultdict(list)
        for row in await self._database.rows(_BANS):
            stated[row.signer].append(
                SignerBan(key_id=row.key_id, banned=row.banned, reason=row.reason, at=row.at)
            )
        return [_signer_in_detail(row, stated[row.id]) for row in of_group]

    async def check(self, name: str, algorithm: Algorithm) -> None:
        """Raise ProblemError if the group cannot make keys of the algorithm."""
        if name not in await self.of([name]):
            raise ProblemError(
                Code.UNKNOWN_SIGNER_GROUP,
                f"There is no signer group {name}. Make it with POST /v1/signer-groups.",
            )
        if not self._has_delivery:
            raise ProblemError(
                Code.NO_DELIVERY_SERVER,
                "The control plane's configuration names no delivery server: add it to [delivery].",
            )
        group = self._known[name]
        rows = await self._database.rows(_REPORTED, {"ids": list(group.signers)})
        check_signers(group, algorithm, {row.id: row.capabilities for row in rows})

    async def _require_signers(self, wanted: Sequence[str]) -> None:
        registered = {signer.id for signer in await self.signers(sees_details=False)}
        unknown = [signer for signer in wanted if signer not in registered]
        if unknown:
            raise ProblemError(
                Code.UNKNOWN_SIGNER,
                f"No signer {', '.join(unknown)} is registered. Run: control-plane node add "
                f"{unknown[0]} --group {self._node_group} --owner OWNER",
            )


def check_signers(
    group: SignerGroup, algorithm: Algorithm, reported: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise ProblemError unless every signer has reported the algorithm."""
    silent = [signer for signer in group.signers if signer not in reported]
    if silent:
        raise ProblemError(
            Code.NO_CAPABLE_NODE,
            f"{', '.join(silent)} of signer group {group.name} has not reported yet. Start it, and "
            "ask again.",
        )
    unable = [signer for signer in group.signers if str(algorithm) not in reported[signer]]
    if unable:
        known = set.intersection(*(set(reported[signer]) for signer in group.signers))
        raise ProblemError(
            Code.UNSUPPORTED_ALGORITHM,
            f"{', '.join(unable)} of signer group {group.name} cannot do {algorithm}; what all of "
            f"it can do: {', '.join(sorted(known)) or 'nothing'}.",
        )


def _by_group(rows: Sequence[AnyRow]) -> dict[str, list[AnyRow]]:
    found: dict[str, list[AnyRow]] = defaultdict(list)
    for row in rows:
        found[row.name].append(row)
    return found


def _shown(members: Sequence[AnyRow]) -> ShownGroup:
    owners = [row.owner for row in members]
    threshold = members[0].threshold
    return ShownGroup(
        name=members[0].name,
        signers=[row.signer for row in members],
        threshold=threshold,
        owners=owners,
        single_owner_quorum=single_owner_quorum(owners, threshold),
        created_at=members[0].created_at,
    )


def single_owner_quorum(owners: Sequence[str | None], threshold: int) -> str | None:
    """Return the owner with the most signers if these reach the threshold; else None."""
    counted = Counter(owner for owner in owners if owner is not None)
    for owner, count in counted.most_common(1):
        return owner if count >= threshold else None
    return None


def _signer(row: Any) -> RegisteredSigner:
    """Return a signer as every application sees it."""
    return RegisteredSigner(
        id=row.id,
        group=row.node_group,
        capabilities=row.capabilities,
        health=health_of(row, sees_details=False),
        owner=None,
        version=None,
        last_seen=None,
        has_gate=None,
        bans=None,
        left_in_flight=None,
    )


def _signer_in_detail(row: Any, stated: list[SignerBan]) -> RegisteredSigner:
    return RegisteredSigner(
        id=row.id,
        group=row.node_group,
        capabilities=row.capabilities,
        health=health_of(row, sees_details=True),
        owner=row.owner,
        version=row.version,
        last_seen=row.last_seen,
        has_gate=row.has_gate,
        bans=stated,
        left_in_flight=[_left(row.id, LeftInFlight.model_validate(x)) for x in row.left_in_flight],
    )


def _left(signer: str, left: LeftInFlight) -> SignerLeftInFlight:
    todo = how_to_resolve(signer, left.signer, left.key_id)
    return SignerLeftInFlight(key_id=left.key_id, signer=left.signer, since=left.since, todo=todo)
