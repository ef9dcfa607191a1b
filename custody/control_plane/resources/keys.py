"""Keys as applications read them, each its own alone, and what signing needs to know of one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import AnyRow, Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.copies import COPIES
from custody.control_plane.resources.metadata import KEY_METADATA
from custody.control_plane.resources.narrow_lists import narrow
from custody.control_plane.resources.pages import (
    Listing,
    PageRequest,
    in_states,
    is_archived,
    is_one_of,
)
from custody.control_plane.resources.presentation import KEY_STATUS, key_of
from custody.control_plane.tables import MAKES_KEYS, JobState
from custody.runtime.cache import Cache
from custody.wire.algorithms import Curve, Network, Scheme, Store
from custody.wire.answers import Unknown
from custody.wire.derivation import parse_path
from custody.wire.jobs import Endpoint, KeyReference
from custody.wire.metadata import UpdateMetadata
from custody.wire.resources import Key, KeyStatus, Page

_KEYS = (
    """
    SELECT keys.id, keys.application_id, keys.node_group, keys.store, keys.scheme, keys.curve,
        keys.network, keys.public_key, keys.protection, keys.attestations, keys.signer_group,
        keys.root_id, keys.path, keys.chain_code, keys.generation, keys.created_at,
        keys.imported, keys.archived_at, keys.copied_from, {metadata},
        {copies} AS copies,
        (SELECT threshold FROM signer_groups WHERE name = keys.signer_group) AS threshold,
        (SELECT array_agg(signer ORDER BY share_index) FROM signer_group_members
            WHERE group_name = keys.signer_group) AS signers,
        jobs.endpoint, jobs.external_id, jobs.state, jobs.outcome, jobs.last_failure
    FROM keys /* joined */ JOIN jobs ON jobs.id = keys.id AND jobs.kind IN {kinds}
    WHERE keys.application_id = :application
""".replace("{kinds}", MAKES_KEYS)
    .replace("{metadata}", KEY_METADATA.selected)
    .replace("{copies}", COPIES)
)

_KEY = _KEYS + "AND keys.id = :id"

_LISTING = Listing(
    _KEYS,
    "keys",
    {
        "scheme": is_one_of("keys.scheme", Scheme),
        "curve": is_one_of("keys.curve", Curve),
        "network": is_one_of("keys.network", Network),
        "store": is_one_of("keys.store", Store),
        "states": in_states,
        "name": "keys.name = :name",
        "copied_from": "keys.copied_from = :copied_from",
        "archived": is_archived,
        "external_id": "jobs.application_id = :application AND jobs.external_id = :external_id "
        f"AND jobs.endpoint IN ('{Endpoint.KEYS}', '{Endpoint.COPIES}')",
    },
    indexed=("name", "network", "store", "scheme", "curve", "archived"),
)

MAX_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """An Active key, as far as a request to sign needs it. It never changes."""

    application_id: UUID
    node_group: str
    store: Store
    reference: KeyReference


class Keys:
    """Reads keys."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # An Active key never changes, so one that is in use need not be read again.
        self._active = Cache[UUID, ActiveKey](MAX_REMEMBERED)

    async def get(self, caller: Caller, key_id: UUID) -> Key:
        """Raises ProblemError not_found."""
        return key_of(await self._row(caller.application_id, key_id), caller.sees_details)

    async def get_active(self, caller: Caller, key_id: UUID) -> Key:
        """Raises ProblemError not_found or key_not_active."""
        key = await self.get(caller, key_id)
        _require_active(key.id, key.status)
        return key

    async def update(self, caller: Caller, key_id: UUID, change: UpdateMetadata) -> Key:
        """Change a key's name or tags. Raise ProblemError not_found."""
        await KEY_METADATA.update(self._database, caller.application_id, key_id, change)
        return await self.get(caller, key_id)

    async def page(
        self,
        caller: Caller,
        filters: Mapping[str, object],
        request: PageRequest,
        tags: Collection[str] | None = None,
        owner: str | None = None,
    ) -> Page[Key]:
        """Return a page of the application's keys. ``filters``: None for each that is not given.

        ``tags``: only those that have all of these. ``owner``: only keys that a node of this owner
        holds.
        """
        shown = partial(key_of, sees_details=caller.sees_details)
        values = {"application": caller.application_id}
        narrowing = await narrow(
            self._database,
            KEY_METADATA,
            caller.application_id,
            request,
            tags,
            owner,
            _LISTING.indexed_conditions(filters),
        )
        return await _LISTING.page(self._database, request, values, shown, filters, narrowing)

    async def active(self, application_id: UUID, key_id: UUID) -> ActiveKey:
        """The key, ready to sign with. Raises ProblemError not_found or key_not_active."""
        found = self._active.get(key_id)
        if found is None:
            row = await self._row(application_id, key_id)
            _require_active(key_id, KEY_STATUS[JobState(row.state)])
            found = _signing_key(row)
            self._active.put(key_id, found)
        if found.application_id != application_id:
            raise _not_found(key_id)
        return found

    async def _row(self, application_id: UUID, key_id: UUID) -> AnyRow:
        row = await self._database.row(_KEY, {"application": application_id, "id": key_id})
        if row is None:
            raise _not_found(key_id)
        return row


def states_of(status: KeyStatus | None) -> list[str] | None:
    """Return the states of the job that made a key that show as this status; None for None."""
    if status is None:
        return None
    return [state.value for state, shown in KEY_STATUS.items() if shown is status]


def _require_active(key_id: UUID, status: KeyStatus | Unknown) -> None:
    if status is not KeyStatus.ACTIVE:
        raise ProblemError(Code.KEY_NOT_ACTIVE, f"Key {key_id} is {status}, not Active.")


def _not_found(key_id: UUID) -> ProblemError:
    return ProblemError(Code.NOT_FOUND, f"There is no key {key_id}.")


def reference_of(key: Key) -> KeyReference:
    """An Active key as jobs name it."""
    return KeyReference(
        id=key.id,
        root=key.root,
        path=() if key.path is None else parse_path(key.path),
        scheme=key.scheme,
        curve=key.curve,
        network=key.network,
        public_key=key.public_key,
    )


def _signing_key(row: AnyRow) -> ActiveKey:
    reference = KeyReference(
        id=row.id,
        root=row.root_id,
        path=tuple(row.path or ()),
        scheme=Scheme(row.scheme),
        curve=Curve(row.curve),
        network=None if row.network is None else Network(row.network),
        public_key=row.public_key,
    )
    return ActiveKey(row.application_id, row.node_group, Store(row.store), reference)
