"""Jobs of kind CopyKey: the first shares of a copy, from the dealings of the old signers."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from custody.node.errors import Denied, Failed
from custody.node.handlers import Handled, Work
from custody.node.signed_requests import read_binding
from custody.node.wanted import wanted_copy
from custody.wire.dealing_facts import DealingFacts
from custody.wire.dealings import Dealing
from custody.wire.hybrid_keys import HybridPrivateKey
from custody.wire.jobs import Endpoint
from custody.wire.statements import MadeFor
from custody.wire.tickets import ALGORITHM
from mpc._native import LocalMisuse, ProtocolAbort, Refresh, Share, dealt_constant
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Admitted, Ceremonies
from mpc.ceremonies.tickets import require_signers
from mpc.handlers.copy_evidence import bad_dealing, dealers_by_index, require_dealings
from mpc.handlers.dealt_shares import dealt_key, hollow_share
from mpc.handlers.preparation import Preparation
from mpc.imports.import_keys import ImportKeys


@dataclass(frozen=True)
class CopyKey:
    """Adds up the sub-shares of t old signers, and refreshes the share with all n at once.

    Each new signer checks all dealings before the ceremony begins. So no message leaves the signer,
    and the signer stores nothing, if a dealer or the control plane lies about what the application
    has signed. No gate is asked: those of the old signers have decided, and the new signers only
    get a key, as in GenerateKey.
    """

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = False
    admission: Admission
    ceremonies: Ceremonies
    preparation: Preparation
    import_keys: ImportKeys

    async def handle(self, work: Work) -> Handled:
        job = work.job
        holders = wanted_copy(job).holders
        if job.copied_from is None:
            raise Denied("malformed_job", "a CopyKey job names the key that is copied")
        admitted = await self.admission.admit(work)
        ticket = admitted.ticket
        if holders != ticket.holders:
            raise Denied("request_mismatch", "the ticket is not for the group of the copy")
        dealings = require_dealings(job, ticket, admitted.quorum.identities)
        dealt_by = dealings[0].dealt_by
        require_signers(admitted.quorum, dealt_by.threshold, dealt_by.signers)
        await self.preparation.require_room(ticket)
        private_key = await self._import_key(work, admitted)
        hollow = await asyncio.to_thread(_share, dealings, admitted, private_key)
        session = await self.ceremonies.hold(
            admitted, lambda session_id: Refresh(hollow, session_id)
        )
        handled = await self.preparation.prepare(
            job,
            ticket,
            session.result(),
            _made_for(work, dealings[0]),
            dealt_key(ticket, job.key, dealings[0].public_key, dealings[0].chain_code),
        )
        return Handled(
            result=handled.result,
            audit={
                **handled.audit,
                "copied_from": str(job.copied_from),
                "dealt_by": ", ".join(each.signer for each in dealings),
            },
            rows=[*handled.rows, self.import_keys.use_row(job.request_id, ticket.key_id)],
        )

    async def _import_key(self, work: Work, admitted: Admitted) -> HybridPrivateKey:
        """Return the private half of the import key for this copy. Raise Failed or Denied."""
        import_id, ticket = work.job.request_id, admitted.ticket
        stored = await self.import_keys.find(import_id)
        if stored is None:
            raise Failed(
                "no_import_key",
                f"this signer has no import key of copy {import_id}: it has expired, or was erased "
                "with the encryption key",
                transient=True,
            )
        statement = stored.statement
        stated = (statement.group, statement.threshold, statement.signers)
        if stated != (ticket.group, ticket.threshold, ticket.signers):
            raise Denied("import_mismatch", f"copy {import_id} was prepared for another group")
        if statement.application != work.signed_by:
            raise Denied("import_mismatch", f"copy {import_id} was asked for by somebody else")
        return await self.import_keys.open(stored)


def _share(dealings: list[Dealing], admitted: Admitted, private_key: HybridPrivateKey) -> Share:
    """Return a share that only Refresh accepts. Raise Failed, naming the dealers that lie."""
    first = dealings[0]
    try:
        return hollow_share(
            admitted,
            first.public_key,
            first.chain_code,
            {
                each.index: (
                    _constant(each),
                    each.commitments,
                    _sub_share(each, admitted, private_key),
                )
                for each in dealings
            },
        )
    except ProtocolAbort as error:
        dealers = dealers_by_index(dealings)
        culprits = [dealers[index] for index in error.culprits if index in dealers]
        raise bad_dealing(f"the dealings are wrong: {error.reason}", *culprits) from None


def _constant(dealing: Dealing) -> bytes:
    """Return the first commitment of an honest dealer. Raise Failed for a wrong verifying share."""
    verifying_share = dealing.verifying_shares[dealing.index - 1]
    try:
        return dealt_constant(
            dealing.protocol, list(dealing.quorum), dealing.index, verifying_share
        )
    except (LocalMisuse, ProtocolAbort) as error:
        raise bad_dealing(f"the verifying shares of the old set are wrong: {error}") from None


def _sub_share(dealing: Dealing, admitted: Admitted, private_key: HybridPrivateKey) -> bytes:
    """Decrypt what a dealer has sealed to this signer. Raise Failed, naming the dealer."""
    ticket, me = admitted.ticket, admitted.quorum.me
    facts = DealingFacts(
        import_id=dealing.copy_id,
        holders=ticket.holders,
        algorithm=ALGORITHM[dealing.protocol],
        public_key=dealing.public_key,
        commitments=dealing.commitments,
        chain_code=dealing.chain_code,
    )
    try:
        return private_key.open(dealing.sealed[me], facts.sealed_for(me))
    except ValueError:
        raise bad_dealing(
            f"the sub-share of {dealing.signer} for this signer does not open", dealing.signer
        ) from None


def _made_for(work: Work, dealing: Dealing) -> MadeFor:
    return MadeFor(
        endpoint=Endpoint.COPIES,
        external_id=read_binding(work.job).external_id,
        application=work.signed_by,
        imported=dealing.imported,
        copied_from=dealing.key_id,
    )
