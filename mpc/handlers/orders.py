"""Jobs of kind ActivateKey, Abandon and Discard: what becomes of a set of shares."""

from uuid import UUID

from mpc.ceremonies.admission import Admission
from mpc.handlers.evidence import require_abandonment, require_confirmations
from mpc.handlers.preparation import Preparation
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare
from node.decisions import Denied, Failed, Refused
from node.handlers import Handled, Work
from wire.algorithms import Protection, Store
from wire.envelope import ABANDONMENT_TYPE, ATTESTATION_TYPE, SignedBytes, Signer
from wire.jobs import Job, KeyReference
from wire.outcomes import (
    AbandonedShare,
    ActivatedShare,
    Approved,
    NothingMade,
    PreparedShare,
)
from wire.statements import Abandonment, Attestation
from wire.tickets import PROTOCOL


class ActivateKey:
    """Takes a set into use once all n have confirmed it and it has signed; erases the one before.

    With n confirmations no signer throws its share of the set away any more, so it is safe to
    let go of the one before.
    """

    carries_request = False
    asks_gate = False

    def __init__(
        self, admission: Admission, shares: Shares, preparation: Preparation, signer: Signer
    ) -> None:
        self._admission = admission
        self._shares = shares
        self._preparation = preparation
        self._signer = signer

    async def handle(self, work: Work) -> Handled:
        job = work.job
        stored = await self._shares.find(job.key.id, _set_of(job))
        if stored is None or not (stored.is_confirmed or stored.is_active):
            raise Failed("no_share", "this signer has confirmed no share of that set")
        _require_key(stored, job.key)
        if not stored.is_proved:
            missing = ", ".join(stored.unproved_with)
            raise Failed("not_proved", f"this signer's share has not signed yet with {missing}")
        quorum = await self._admission.quorum()
        ours = self._preparation.confirmation(stored)
        require_confirmations(job.evidence, ours, quorum.identities)
        attestation = self._attest(job, stored, quorum.me)
        return Handled(
            result=ActivatedShare(attestation=attestation),
            audit={
                "public_key": stored.public_key.hex(),
                "generation": str(stored.generation),
                "ceremony": str(stored.ceremony),
            },
            rows=[] if stored.is_active else [self._shares.activate_row(stored)],
        )

    def _attest(self, job: Job, stored: StoredShare, me: str) -> SignedBytes:
        attestation = Attestation(
            key_id=stored.key_id,
            store=Store.MPC,
            scheme=job.key.scheme,
            curve=job.key.curve,
            public_key=stored.public_key,
            chain_code=stored.chain_code,
            protection=Protection.MPC,
            group=stored.group,
            threshold=stored.threshold,
            signers=list(stored.signers),
            node=me,
        )
        return self._signer.sign(ATTESTATION_TYPE, attestation.model_dump_json().encode())


class Abandon:
    """States for good that a set will not be confirmed here; or that it was."""

    carries_request = False
    asks_gate = False

    def __init__(self, me: str, shares: Shares, preparation: Preparation, signer: Signer) -> None:
        self._me = me
        self._shares = shares
        self._preparation = preparation
        self._signer = signer

    async def handle(self, work: Work) -> Handled:
        job, ceremony = work.job, _set_of(work.job)
        stored = await self._shares.find(job.key.id, ceremony)
        if stored is not None and (stored.is_confirmed or stored.is_active):
            confirmation = self._preparation.sign(self._preparation.confirmation(stored))
            return Handled(result=PreparedShare(confirmation=confirmation), audit={})
        abandonment = Abandonment(key_id=job.key.id, ceremony=ceremony, signer=self._me)
        signed = self._signer.sign(ABANDONMENT_TYPE, abandonment.model_dump_json().encode())
        return Handled(
            result=AbandonedShare(abandonment=signed),
            audit={"ceremony": str(ceremony)},
            rows=[self._shares.abandon_row(job.key.id, ceremony)],
        )


class Discard:
    """Erases a confirmed share of a set that another signer will never confirm."""

    carries_request = False
    asks_gate = False

    def __init__(self, admission: Admission, shares: Shares) -> None:
        self._admission = admission
        self._shares = shares

    async def handle(self, work: Work) -> Handled:
        job, ceremony = work.job, _set_of(work.job)
        stored = await self._shares.find(job.key.id, ceremony)
        if stored is None or not stored.is_kept:
            return Handled(result=NothingMade(), audit={"ceremony": str(ceremony)})
        if stored.is_active:
            raise Denied("bad_evidence", "the set is in use")
        quorum = await self._admission.quorum()
        by = require_abandonment(
            job.evidence, job.key.id, ceremony, stored.signers, quorum.identities
        )
        return Handled(
            result=NothingMade(),
            audit={"ceremony": str(ceremony), "abandoned_by": by},
            rows=[self._shares.discard_row(stored)],
        )


class Approve:
    """The decision alone: whoever gets here has passed this signer's locks."""

    carries_request = True
    asks_gate = True

    async def handle(self, _: Work) -> Handled:
        return Handled(result=Approved(), audit={})


def _require_key(stored: StoredShare, key: KeyReference) -> None:
    """Raise Failed unless an order says of the key what its share does: it is attested so."""
    said = (PROTOCOL.get(key.algorithm), key.public_key, key.network)
    if said != (stored.protocol, stored.public_key, stored.network):
        raise Failed("key_mismatch", "the order is about another key than this signer's share")


def _set_of(job: Job) -> UUID:
    if job.ceremony is None or job.key.path:
        raise Refused("malformed_job", f"a {job.kind} job names a set of shares of a root key")
    return job.ceremony
