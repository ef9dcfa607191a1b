"""Wallets as applications read them, each its own alone. A wallet's life is its key's."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.copies import COPIES
from custody.control_plane.resources.metadata import WALLET_METADATA
from custody.control_plane.resources.narrow_lists import narrow
from custody.control_plane.resources.pages import (
    Listing,
    PageRequest,
    in_states,
    is_one_of,
)
from custody.control_plane.resources.presentation import wallet_of
from custody.control_plane.tables import MAKES_KEYS
from custody.database.connection import Connection
from custody.wire.addresses import address_of
from custody.wire.algorithms import Algorithm, Network, Store, may_have_wallet
from custody.wire.answers import known
from custody.wire.jobs import Endpoint, wallet_id_of
from custody.wire.metadata import UpdateMetadata
from custody.wire.requests import AddWallet
from custody.wire.resources import Key, Page, Wallet

_WALLETS = (
    """
    SELECT wallets.id, wallets.network, wallets.key_id, wallets.address, wallets.created_at,
        keys.store, keys.signer_group, keys.imported, keys.archived_at, {metadata},
        {copies} AS copies,
        jobs.endpoint, jobs.state, jobs.outcome, jobs.last_failure,
        CASE WHEN wallets.network = keys.network AND keys.copied_from IS NULL
            THEN jobs.external_id END AS external_id
    FROM wallets /* joined */
    JOIN keys ON keys.id = wallets.key_id AND keys.application_id = wallets.application_id
    JOIN jobs ON jobs.id = wallets.key_id AND jobs.kind IN {kinds}
    WHERE wallets.application_id = :application
""".replace("{kinds}", MAKES_KEYS)
    .replace("{metadata}", WALLET_METADATA.selected)
    .replace("{copies}", COPIES)
)

_WALLET = _WALLETS + "AND wallets.id = :id"
_WALLET_OF_KEY = _WALLETS + "AND wallets.key_id = :id AND wallets.network = keys.network"

# created_at as of each row: of the clock of a control plane. The lock waits for an archival that
# has begun: without it, the select reads the old is_archived, which the foreign key then refuses
_ADD = """
    INSERT INTO wallets (id, application_id, network, key_id, address, created_at, node_group,
        signer_group, store, is_archived, name)
    SELECT :id, application_id, :network, id, :address, :now, node_group, signer_group, store,
        is_archived, :name
    FROM keys WHERE id = :key AND application_id = :application FOR KEY SHARE
    ON CONFLICT (key_id, network) DO NOTHING
    RETURNING id, application_id, created_at
"""
_ADDED = _WALLETS + "AND wallets.key_id = :id AND wallets.network = :network"

_LISTING = Listing(
    _WALLETS,
    "wallets",
    {
        "network": is_one_of("wallets.network", Network),
        "store": is_one_of("wallets.store", Store),
        "states": in_states,
        "name": "wallets.name = :name",
        "archived": lambda archived: f"{'' if archived else 'NOT '}wallets.is_archived",
        "address": "wallets.address = :address",
        "key_id": "wallets.key_id = :key_id",
        "external_id": "jobs.application_id = :application AND jobs.external_id = :external_id "
        f"AND jobs.endpoint = '{Endpoint.WALLETS}' AND wallets.network = keys.network",
    },
    indexed=("name", "network", "store", "archived"),
)


class Wallets:
    """Reads wallets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, wallet_id: UUID) -> Wallet:
        """Raises ProblemError not_found."""
        return await self._one(_WALLET, caller, wallet_id)

    async def of_key(self, caller: Caller, key_id: UUID) -> Wallet:
        """The wallet that a key was made for. Raises ProblemError not_found."""
        return await self._one(_WALLET_OF_KEY, caller, key_id)

    async def add(self, caller: Caller, key: Key, body: AddWallet) -> tuple[Wallet, bool]:
        """Add a wallet of an Active key, or return the one on this network; True if it is new.

        Raise ProblemError invalid_request for a network that the key cannot have.
        """
        public_key, algorithm = key.public_key, Algorithm(known(key.scheme), known(key.curve))
        own = None if key.network is None else known(key.network)
        if public_key is None or not may_have_wallet(own, algorithm, body.network):
            raise _no_such_wallet(key, body.network)
        values = {
            "id": wallet_id_of(key.id, None if own is body.network else body.network),
            "application": caller.application_id,
            "key": key.id,
            "network": body.network.value,
            "address": address_of(body.network, algorithm, public_key),
            "now": datetime.now(UTC),
            "name": body.name,
        }

        async def add(connection: Connection) -> bool:
            row = await connection.row(_ADD, values)
            if row is not None:
                await WALLET_METADATA.add_tags(connection, [(row, body.tags or ())])
            return row is not None

        is_new = await self._database.in_transaction(add)
        which = {
            "application": caller.application_id,
            "id": key.id,
            "network": body.network.value,
        }
        row = await self._database.row(_ADDED, which)
        if row is None:
            raise ProblemError(Code.NOT_FOUND, f"There is no key {key.id}.")
        return wallet_of(row, caller.sees_details), is_new

    async def update(self, caller: Caller, wallet_id: UUID, change: UpdateMetadata) -> Wallet:
        """Change a wallet's name or tags. Raise ProblemError not_found."""
        await WALLET_METADATA.update(self._database, caller.application_id, wallet_id, change)
        return await self.get(caller, wallet_id)

    async def page(
        self,
        caller: Caller,
        filters: Mapping[str, object],
        request: PageRequest,
        tags: Collection[str] | None = None,
        owner: str | None = None,
    ) -> Page[Wallet]:
        """Return a page of the application's wallets. ``filters``: None for each not given.

        ``tags``: only those that have all of these. ``owner``: only wallets whose
        key a node of this owner holds.
        """
        shown = partial(wallet_of, sees_details=caller.sees_details)
        values = {"application": caller.application_id}
        narrowing = await narrow(
            self._database,
            WALLET_METADATA,
            caller.application_id,
            request,
            tags,
            owner,
            _LISTING.indexed_conditions(filters),
        )
        return await _LISTING.page(self._database, request, values, shown, filters, narrowing)

    async def _one(self, sql: str, caller: Caller, id_: UUID) -> Wallet:
        row = await self._database.row(sql, {"application": caller.application_id, "id": id_})
        if row is None:
            raise ProblemError(Code.NOT_FOUND, "There is no such wallet.")
        return wallet_of(row, caller.sees_details)


def _no_such_wallet(key: Key, network: Network) -> ProblemError:
    made_for = "a bare key" if key.network is None else f"a key for {key.network.value}"
    return ProblemError(
        Code.INVALID_REQUEST,
        f"network: key {key.id} is {made_for} of {key.scheme.value}/{key.curve.value}, and cannot "
        f"have a wallet on {network.value}. Choose another network of the key's family, which is "
        "a test network if the key's is one, or create a wallet with a key of its own.",
    )
