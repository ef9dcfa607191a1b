"""Wallets as applications read them, each its own alone. A wallet's life is its key's."""

from collections.abc import Collection, Mapping
from functools import partial
from uuid import UUID

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.holders import held_by
from custody.control_plane.resources.metadata import WALLET_METADATA
from custody.control_plane.resources.pages import (
    Listing,
    PageRequest,
    in_states,
    is_archived,
    is_one_of,
)
from custody.control_plane.resources.presentation import wallet_of
from custody.control_plane.tables import MAKES_KEYS
from custody.wire.algorithms import Network, Store
from custody.wire.jobs import Endpoint
from custody.wire.metadata import UpdateMetadata
from custody.wire.resources import Page, Wallet

_WALLETS = """
    SELECT wallets.id, wallets.network, wallets.key_id, wallets.address, wallets.created_at,
        keys.store, keys.signer_group, keys.imported, keys.archived_at, {metadata},
        jobs.endpoint, jobs.external_id, jobs.state, jobs.outcome, jobs.last_failure
    FROM wallets /* joined */
    JOIN keys ON keys.id = wallets.key_id AND keys.application_id = wallets.application_id
    JOIN jobs ON jobs.id = wallets.key_id AND jobs.kind IN {kinds}
    WHERE wallets.application_id = :application
""".replace("{kinds}", MAKES_KEYS).replace("{metadata}", WALLET_METADATA.selected)

_WALLET = _WALLETS + "AND wallets.id = :id"
_WALLET_OF_KEY = _WALLETS + "AND wallets.key_id = :id"

_LISTING = Listing(
    _WALLETS,
    "wallets",
    {
        "network": is_one_of("wallets.network", Network),
        "store": is_one_of("keys.store", Store),
        "states": in_states,
        "name": "wallets.name = :name",
        "archived": is_archived,
        "address": "wallets.address = :address",
        "external_id": "jobs.application_id = :application AND jobs.external_id = :external_id "
        f"AND jobs.endpoint = '{Endpoint.WALLETS}'",
    },
)


class Wallets:
    """Reads wallets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, wallet_id: UUID) -> Wallet:
        """Raises ProblemError not_found."""
        return await self._one(_WALLET, caller, wallet_id)

    async def of_key(self, caller: Caller, key_id: UUID) -> Wallet:
        """The wallet of a key. Raises ProblemError not_found."""
        return await self._one(_WALLET_OF_KEY, caller, key_id)

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
        tagged = await WALLET_METADATA.have_tags(self._database, caller.application_id, tags)
        holders = await held_by(self._database, "wallets", owner)
        return await _LISTING.page(self._database, request, values, shown, filters, tagged, holders)

    async def _one(self, sql: str, caller: Caller, id_: UUID) -> Wallet:
        row = await self._database.row(sql, {"application": caller.application_id, "id": id_})
        if row is None:
            raise ProblemError(Code.NOT_FOUND, "There is no such wallet.")
        return wallet_of(row, caller.sees_details)
