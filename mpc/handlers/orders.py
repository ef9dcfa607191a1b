"""Jobs of kind Promise, ActivateKey, Abandon and Discard: what becomes of a set of shares.

A signer promises a set once all n have confirmed it and its own share has signed. It uses the set
once all n have promised. Until it has promised, it abandons the set when it is asked. A signer that
has promised discards the set only when t signers prove that they have abandoned it. At least one of
these t is honest and never promises the set, so nobody can use it. As long as fewer than t signers
lie, no honest signer erases a share of a set that another one uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from custody.node.errors import Denied, Failed, Refused
from custody.node.handlers import Handled, Work
from custody.node.stored_key import require_same_key
from custody.wire.algorithms import Protection, Store
from custody.wire.jobs import Job
from custody.wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    Approved,
    NothingMade,
    PromisedShare,
)
from custody.wire.signed_bytes import ABANDONMENT_TYPE, ATTESTATION_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Abandonment, Attestation, MadeFor
from mpc.ceremonies.admission import Admission
from mpc.handlers.certainty import require_certain, require_remembered
from mpc.handlers.evidence import (
    require_abandonments,
    require_confirmations,
    require_promises,
    told_by_others,
)
from mpc.handlers.preparation import Preparation
from mpc.imports.import_keys import ImportKeys
from mpc.restored.watch import RestoreWatch
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare

if TYPE_CHECKING:
    from mpc.layer4.copies import ShareCopies


@dataclass(frozen=True)
class Promise:
    """Keeps a share for good, once all n have confirmed their shares and this one has signed.

    With Layer 4 on (``copies``), the customer's bucket must have the share's copy first. A key
    needs the promises of all n, so it is not Active while a copy is missing.
    """

    carries_request: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    admission: Admission
    shares: Shares
    preparation: Preparation
    restore_watch: RestoreWatch
    copies: ShareCopies | None = None

    async def handle(self, work: Work) -> Handled:
        job = work.job
        stored = await self.shares.find(job.key.id, _set_of(job))
        if stored is not None:
            require_certain(stored)
        if stored is None or not (stored.is_waiting or stored.is_active):
            raise Failed("no_share", "this signer has confirmed no share of that set")
        require_same_key(stored.key, job)
        if not stored.is_proved:
            missing = ", ".join(stored.unproved_with)
            raise Failed("not_proved", f"this signer's share has not signed yet with {missing}")
        require_remembered(stored, self.restore_watch)
        quorum = await self.admission.quorum()
        ours = self.preparation.promise(stored)
        require_confirmations(job.evidence, ours, quorum.identities)
        if self.copies is not None:
            await self.copies.require_stored(stored)
        return Handled(
            result=PromisedShare(promise=self.preparation.sign(ours)),
            audit=_audit_details(stored),
            rows=[self.shares.promise_row(stored)] if stored.is_confirmed else [],
        )


@dataclass(frozen=True)
class ActivateKey:
    """Takes a set into use once all n have promised to keep it; erases the one before.

    A share that was promised while Layer 4 was off may be without a copy: it is required here too.
    The import key of an imported key is erased with it.
    """

    carries_request: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    admission: Admission
    shares: Shares
    preparation: Preparation
    signer: SigningKey
    import_keys: ImportKeys
    copies: ShareCopies | None = None

    async def handle(self, work: Work) -> Handled:
        job = work.job
        stored = await self.shares.find(job.key.id, _set_of(job))
        if stored is not None:
            require_certain(stored)
        if stored is None or not (stored.is_promised or stored.is_active):
            raise Failed("no_share", "this signer has promised no share of that set")
        require_same_key(stored.key, job)
        quorum = await self.admission.quorum()
        promises = require_promises(
            job.evidence, self.preparation.promise(stored), quorum.identities
        )
        if self.copies is not None and not stored.is_active:
            await self.copies.require_stored(stored)
        made_for = stored.made_for or told_by_others(promises, quorum.me)
        attestation = self._attest(job, stored, made_for, quorum.me)
        rows = [] if stored.is_active else [self.shares.activate_row(stored, made_for)]
        if rows and stored.was_dealt:
            rows.append(self.import_keys.erase_row(stored.key_id))
        return Handled(
            result=ActivatedShare(attestation=attestation),
            audit=_audit_details(stored),
            rows=rows,
        )

    def _attest(
        self, job: Job, stored: StoredShare, made_for: MadeFor | None, me: str
    ) -> SignedBytes:
        attestation = Attestation(
            key_id=stored.key_id,
            made_for=made_for,
            store=Store.MPC,
            scheme=job.key.scheme,
            curve=job.key.curve,
            network=stored.network,
            public_key=stored.public_key,
            chain_code=stored.chain_code,
            protection=Protection.MPC,
            group=stored.group,
            threshold=stored.threshold,
            signers=list(stored.signers),
            node=me,
            imported=made_for is not None and made_for.imported,
        )
        return self.signer.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())


@dataclass(frozen=True)
class Abandon:
    """Abandons a set, and states so. If the set was promised, states that it is kept.

    Of one that was promised and is erased since, there is nothing to state. A restored database
    may have forgotten a promise: of a set that it does not contain, there is nothing to state. Of a
    restored share, nothing is stated before t signers have named its set.
    """

    carries_request: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    me: str
    shares: Shares
    preparation: Preparation
    signer: SigningKey
    restore_watch: RestoreWatch

    async def handle(self, work: Work) -> Handled:
        job, ceremony = work.job, _set_of(work.job)
        stored = await self.shares.find(job.key.id, ceremony)
        if stored is not None:
            require_same_key(stored.key, job)
            require_certain(stored)
        if stored is not None and (stored.is_promised or stored.is_active):
            promise = self.preparation.sign(self.preparation.promise(stored))
            return Handled(result=PromisedShare(promise=promise), audit=_audit_details(stored))
        if stored is not None and stored.is_repaired:
            raise Denied("bad_evidence", "the set is in use")
        if stored is not None and stored.was_kept:
            return Handled(result=NothingMade(), audit=_audit_details(stored))
        if stored is not None:
            require_remembered(stored, self.restore_watch)
        noticed_at = self.restore_watch.noticed_at
        if noticed_at is not None and not await self.shares.remembers(
            job.key.id, ceremony, noticed_at
        ):
            return Handled(result=NothingMade(), audit={"ceremony": str(ceremony)})
        abandonment = Abandonment(key_id=job.key.id, ceremony=ceremony, signer=self.me)
        signed = self.signer.sign(ABANDONMENT_TYPE, abandonment.model_dump_json().encode())
        return Handled(
            result=AbandonedShare(abandonment=signed),
            audit={"ceremony": str(ceremony)},
            rows=[self.shares.abandon_row(job.key.id, ceremony)],
        )


@dataclass(frozen=True)
class Discard:
    """Erases a share that was promised, of a set that t others have abandoned."""

    carries_request: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    admission: Admission
    shares: Shares
    preparation: Preparation

    async def handle(self, work: Work) -> Handled:
        job, ceremony = work.job, _set_of(work.job)
        stored = await self.shares.find(job.key.id, ceremony)
        if stored is None or not stored.is_kept:
            return Handled(result=NothingMade(), audit={"ceremony": str(ceremony)})
        require_same_key(stored.key, job)
        if not stored.is_promised:
            raise Denied("bad_evidence", f"the share is {stored.state.value}, not promised")
        quorum = await self.admission.quorum()
        by = require_abandonments(job.evidence, self.preparation.promise(stored), quorum.identities)
        return Handled(
            result=NothingMade(),
            audit={"ceremony": str(ceremony), "abandoned_by": ", ".join(by)},
            rows=[self.shares.discard_row(stored)],
        )


@dataclass(frozen=True)
class Approve:
    """The decision alone, once this signer's locks are open.

    A signer that has lost its share has nothing to compare the key with, and may still approve.
    """

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    shares: Shares

    async def handle(self, work: Work) -> Handled:
        job = work.job
        await self.shares.require_key(job)
        return Handled(result=Approved(), audit={})


def _audit_details(stored: StoredShare) -> dict[str, str | None]:
    """Return the audit details of an order."""
    return {
        "public_key": stored.public_key.hex(),
        "generation": str(stored.generation),
        "ceremony": str(stored.ceremony),
    }


def _set_of(job: Job) -> UUID:
    if job.ceremony is None:
        raise Refused("malformed_job", f"a {job.kind} job names a set of shares")
    return job.ceremony
