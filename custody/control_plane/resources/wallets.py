"""Wallets as applications read them, each its own alone. A wallet's life is its key's."""

from functools import partial
from uuid import UUID

from sqlalchemy import ColumnElement, select

from custody.control_plane.access.tokens import Caller
from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError
from custody.control_plane.resources.keys import PROGRESS
from custody.control_plane.resources.pages import PageRequest
from custody.control_plane.resources.presentation import wallet_of
from custody.control_plane.tables import jobs, keys, wallets
from custody.wire.resources import Page, Wallet

_WALLETS = (
    select(wallets, keys.c.store, keys.c.signer_group, *PROGRESS)
    .join(keys, keys.c.id == wallets.c.key_id)
    .join(jobs, jobs.c.id == wallets.c.key_id)
)


class Wallets:
    """Reads wallets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, caller: Caller, wallet_id: UUID) -> Wallet:
        """Raises ProblemError not_found."""
        return await self._one(caller, wallets.c.id == wallet_id)

    async def of_key(self, caller: Caller, key_id: UUID) -> Wallet:
        """The wallet of a key. Raises ProblemError not_found."""
        return await self._one(caller, wallets.c.key_id == key_id)

    async def page(
        self, caller: Caller, filters: list[ColumnElement[bool]], request: PageRequest
    ) -> Page[Wallet]:
        statement = _WALLETS.where(wallets.c.application_id == caller.application_id, *filters)
        shown = partial(wallet_of, sees_details=caller.sees_details)
        return await request.fetch(self._database, statement, wallets, shown)

    async def _one(self, caller: Caller, which: ColumnElement[bool]) -> Wallet:
        row = await self._database.row(
            _WALLETS.where(which, wallets.c.application_id == caller.application_id)
        )
        if row is None:
            raise ProblemError(Code.NOT_FOUND, "There is no such wallet.")
        return wallet_of(row, caller.sees_details)
