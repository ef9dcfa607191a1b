"""Imports as a daemon asks for them. An import key is an object of one token, and stays there."""

from collections.abc import Sequence
from uuid import UUID

from custody.pkcs11.errors import HsmUnavailable, ImportKeyMissing
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.messages import (
    Generated,
    ImportKey,
    ImportKeyMade,
    ImportKeys,
    ListImportKeys,
    MakeImportKey,
    RemoveImportKeys,
)
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Algorithm


class HsmImports:
    """Makes, uses and removes import keys of one owner. Raises HsmFailure.

    ``owner``: the end of their labels. Other owners' import keys on the token are not touched.
    """

    def __init__(self, hsm: Hsm, owner: str) -> None:
        self._hsm = hsm
        self.owner = owner

    @property
    def token_names(self) -> list[str]:
        """Return the names of the tokens that have a worker."""
        return self._hsm.token_names

    @property
    def are_all_there(self) -> bool:
        """Return whether each configured token has a worker."""
        return self._hsm.token_names == self._hsm.all_token_names

    async def make(self, import_id: UUID, algorithm: Algorithm) -> tuple[str, ImportKeyMade]:
        """Make an import key on the first token that has a worker. Return the token's name too."""
        names = self._hsm.token_names
        if not names:
            raise HsmUnavailable(f"the HSM cannot be used at present: {self._hsm.problem}")
        operation = MakeImportKey(owner=self.owner, import_id=import_id, algorithm=algorithm)
        return names[0], await self._hsm.run_at(names[0], operation, ImportKeyMade)

    async def take_in(self, token: str, operation: ImportKey) -> WrappedKey:
        """Return an imported key, wrapped by the newest master key.

        Raises ImportKeyMissing if this driver has no such token, or the token no such key;
        BadImport if the application has wrapped another key than it announced; HsmCrashed if what
        it has wrapped ended a worker.
        """
        if token not in self._hsm.all_token_names:
            raise ImportKeyMissing(f"this driver does not use the token {token!r}")
        return (await self._hsm.run_at(token, operation, Generated, foreign=True)).key

    async def present(self, token: str) -> list[UUID]:
        """Return the imports that have a key on the token."""
        operation = ListImportKeys(owner=self.owner)
        return (await self._hsm.run_at(token, operation, ImportKeys)).import_ids

    async def present_of_others(self, token: str) -> list[UUID]:
        """Return the imports of other owners that have a key on the token."""
        operation = ListImportKeys(owner=self.owner, others=True)
        return (await self._hsm.run_at(token, operation, ImportKeys)).import_ids

    async def remove(self, token: str, import_ids: Sequence[UUID]) -> list[UUID]:
        """Destroy the keys of imports. Return the imports that still have a key on the token."""
        operation = RemoveImportKeys(owner=self.owner, import_ids=list(import_ids))
        return (await self._hsm.run_at(token, operation, ImportKeys)).import_ids
