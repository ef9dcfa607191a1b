"""Jobs of kind ImportKey: the first shares of a private key that already exists."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from custody.node.errors import Denied, Failed
from custody.node.handlers import Handled, Work
from custody.node.wanted import made_for, wanted_key
from custody.wire.dealing_facts import DealingFacts
from custody.wire.imports import ImportedKey
from mpc._native import ProtocolAbort, Refresh, Share
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Admitted, Ceremonies
from mpc.handlers.dealt_shares import dealt_key, hollow_share
from mpc.handlers.preparation import Preparation
from mpc.imports.import_keys import ImportKeys, StoredImportKey

APPLICATION = 0
"""The application as a dealer. Signers have the indices from 1."""


@dataclass(frozen=True)
class ImportKey:
    """Takes a sub-share of the application's private key, and refreshes it with all n at once.

    Each signer checks its sub-share before the ceremony begins. So no message leaves the signer,
    and the signer stores nothing, if the application or the control plane lies.
    """

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    admission: Admission
    ceremonies: Ceremonies
    preparation: Preparation
    import_keys: ImportKeys

    async def handle(self, work: Work) -> Handled:
        wanted = wanted_key(work.job)
        imported = wanted.imported
        assert imported is not None  # wanted_key compares it with the kind of the job
        admitted = await self.admission.admit(work)
        ticket = admitted.ticket
        if wanted.signer_group != ticket.group:
            raise Denied("request_mismatch", "the ticket is not for the group that was asked for")
        await self.preparation.require_room(ticket)
        dealt = await self._sub_share(imported, admitted, work)
        hollow = await asyncio.to_thread(_share, imported, admitted, dealt)
        session = await self.ceremonies.hold(
            admitted, lambda session_id: Refresh(hollow, session_id)
        )
        key = dealt_key(ticket, work.job.key, imported.public_key, imported.chain_code)
        handled = await self.preparation.prepare(
            work.job, ticket, session.result(), made_for(work), key
        )
        return Handled(
            result=handled.result,
            audit={**handled.audit, "import_id": str(imported.import_id)},
            rows=[*handled.rows, self.import_keys.use_row(imported.import_id, ticket.key_id)],
        )

    async def _sub_share(self, imported: ImportedKey, admitted: Admitted, work: Work) -> bytes:
        """Decrypt the value that the application has sealed to this signer. Raise a NotDone."""
        import_id = imported.import_id
        stored = await self.import_keys.find(import_id)
        if stored is None:
            raise Failed(
                "no_import_key",
                f"this signer has no import key of import {import_id}: it has expired, or was "
                "erased with the encryption key. Ask for another import",
            )
        _require_same_import(stored, admitted, work)
        private_key = await self.import_keys.open(stored)
        me = admitted.quorum.me
        sealed = (imported.sealed or {}).get(me)
        if sealed is None:
            raise _bad_dealing("there is no sub-share for this signer")
        info = _facts(imported, admitted, work).sealed_for(me)
        try:
            return private_key.open(sealed, info)
        except ValueError:
            raise _bad_dealing(
                "the sub-share for this signer does not open: it was sealed to another signer or "
                "import, or with other commitments, another chain code or another group"
            ) from None


def _require_same_import(stored: StoredImportKey, admitted: Admitted, work: Work) -> None:
    """Raise Denied unless this signer made the import key for this key, once."""
    statement, ticket = stored.statement, admitted.ticket
    if stored.key_id not in (None, ticket.key_id):
        raise Denied("import_used", f"import {statement.import_id} was used for another key")
    for name, stated, wanted in (
        ("algorithm", (statement.scheme, statement.curve), work.job.key.algorithm),
        ("group", statement.group, ticket.group),
        ("threshold", statement.threshold, ticket.threshold),
        ("signers", statement.signers, ticket.signers),
        ("application", statement.application, work.signed_by),
    ):
        if stated != wanted:
            raise Denied(
                "import_mismatch", f"import {statement.import_id} was prepared for another {name}"
            )


def _facts(imported: ImportedKey, admitted: Admitted, work: Work) -> DealingFacts:
    ticket = admitted.ticket
    return DealingFacts(
        import_id=imported.import_id,
        holders=ticket.holders,
        algorithm=work.job.key.algorithm,
        public_key=imported.public_key,
        commitments=imported.commitments or (),
        chain_code=imported.chain_code,
    )


def _share(imported: ImportedKey, admitted: Admitted, sub_share: bytes) -> Share:
    """Return a share that only Refresh accepts. Raise Failed for a wrong dealing."""
    dealing = (None, imported.commitments or (), sub_share)
    try:
        return hollow_share(
            admitted, imported.public_key, imported.chain_code, {APPLICATION: dealing}
        )
    except ProtocolAbort as error:
        raise _bad_dealing(error.reason.removeprefix(f"the dealing of {APPLICATION}: ")) from None


def _bad_dealing(what: str) -> Failed:
    """Return a failure that names the dealer: the application, or who changed its request."""
    return Failed("bad_dealing", f"the application's sub-shares are wrong: {what}")
