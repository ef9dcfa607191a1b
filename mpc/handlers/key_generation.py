"""Jobs of kind GenerateKey: a key that is made in shares, and never exists whole."""

from dataclasses import dataclass
from typing import ClassVar

from custody.node.errors import Denied
from custody.node.handlers import Handled, Work
from custody.node.wanted import made_for, wanted_key
from mpc._native import Dkg
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Ceremonies
from mpc.ceremonies.tickets import index_of
from mpc.handlers.preparation import Preparation


@dataclass(frozen=True)
class GenerateKey:
    """Distributed key generation with all n, up to a share that is on disk and confirmed."""

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = False
    admission: Admission
    ceremonies: Ceremonies
    preparation: Preparation

    async def handle(self, work: Work) -> Handled:
        wanted = wanted_key(work.job)
        admitted = await self.admission.admit(work)
        ticket = admitted.ticket
        if wanted.signer_group != ticket.group:
            raise Denied("request_mismatch", "the ticket is not for the group that was asked for")
        await self.preparation.require_room(ticket)
        index = index_of(ticket, admitted.quorum.me)
        session = await self.ceremonies.hold(
            admitted,
            lambda session_id: Dkg(
                ticket.protocol, index, ticket.threshold, len(ticket.signers), session_id
            ),
        )
        return await self.preparation.prepare(work.job, ticket, session.result(), made_for(work))
