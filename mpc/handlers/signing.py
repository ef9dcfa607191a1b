"""Jobs of kind Sign and ProveKey: t signers sign together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from custody.node.errors import Failed, Refused
from custody.node.handlers import Handled, Work
from custody.node.stored_key import require_same_key
from custody.node.wanted import signed_bytes, wanted_signature
from custody.wire.jobs import KeyReference
from custody.wire.outcomes import MadeSignature
from custody.wire.possession import possession_request
from custody.wire.requests import SignRequest
from custody.wire.signatures import RAW_SIZE, BadSignature, SignatureResult, finish
from custody.wire.tickets import Protocol
from mpc._native import Signing
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.ceremony import Admitted, Ceremonies
from mpc.handlers.certainty import require_certain
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare


class QuorumSigning:
    """Runs the signing ceremony of t signers. The caller verifies the signature."""

    def __init__(self, ceremonies: Ceremonies, shares: Shares) -> None:
        self._ceremonies = ceremonies
        self._shares = shares

    async def sign(
        self, admitted: Admitted, stored: StoredShare, message: bytes, path: Sequence[int]
    ) -> bytes:
        """Return the raw signature, 64 bytes. The caller must verify it.

        ``message``: a digest, or the whole message for Ed25519.
        """
        ticket = admitted.ticket
        require_share_of(stored, admitted, ticket.generation)
        share = await self._shares.open(stored)
        participants = [each.index for each in ticket.participants]
        session = await self._ceremonies.hold(
            admitted,
            lambda session_id: Signing(share, participants, message, session_id, list(path)),
            opens_early=ticket.protocol is not Protocol.DKLS23_SECP256K1,
        )
        return session.result()[:RAW_SIZE]


@dataclass(frozen=True)
class Sign:
    """Signs an application's request with the shares that are in use."""

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    admission: Admission
    shares: Shares
    signing: QuorumSigning

    async def handle(self, work: Work) -> Handled:
        job = work.job
        request, digest = wanted_signature(job)
        admitted, stored = await asyncio.gather(
            self.admission.admit(work), self.shares.active(job.key.root or job.key.id)
        )
        if admitted.ticket.digest != digest:
            raise Refused("bad_ticket", "the ticket's digest is not that of the request")
        if stored is None:
            raise Failed("no_share", "this signer has no share of the key in use", transient=True)
        require_certain(stored)
        require_same_key(stored.key, job, admitted.ticket)
        raw = await self.signing.sign(admitted, stored, signed_bytes(request, digest), job.key.path)
        signature = _finished(raw, job.key, request, digest)
        return Handled(
            result=MadeSignature(digest=digest, signature=signature),
            audit={
                "public_key": _hex(job.key.public_key),
                "request_kind": request.kind,
                "digest": _hex(digest),
                **audit_details(admitted),
            },
        )


@dataclass(frozen=True)
class ProveKey:
    """Signs the proof message with a new share set before the signers activate the set."""

    carries_request: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    admission: Admission
    shares: Shares
    signing: QuorumSigning

    async def handle(self, work: Work) -> Handled:
        job = work.job
        if job.ceremony is None:
            raise Refused("malformed_job", "the ProveKey job names no set of shares")
        admitted = await self.admission.admit(work)
        stored = await self.shares.find(admitted.ticket.key_id, job.ceremony)
        if stored is None or not stored.is_waiting:
            raise Failed("no_share", f"this signer has no pending share of set {job.ceremony}")
        require_same_key(stored.key, job, admitted.ticket)
        request, digest = possession_request(job.key.algorithm, job.key.id, job.ceremony)
        if admitted.ticket.digest != digest:
            raise Refused("bad_ticket", "the ticket's digest is not that of the proof message")
        raw = await self.signing.sign(admitted, stored, signed_bytes(request, digest), ())
        bare = job.key.model_copy(update={"network": None})
        signature = _finished(raw, bare, request, digest)
        participants = [each.signer for each in admitted.ticket.participants]
        others = [name for name in participants if name != admitted.quorum.me]
        return Handled(
            result=MadeSignature(digest=digest, signature=signature),
            audit={"public_key": stored.public_key.hex(), **audit_details(admitted)},
            rows=[self.shares.proved_row(stored, others)],
        )


def wrong_generation(stored: StoredShare, wanted: int) -> Failed:
    """Return the failure for a ticket of generation ``wanted``: this signer uses another set."""
    return Failed(
        "wrong_generation",
        f"the ticket wants a share of generation {wanted}, this signer's is of {stored.generation}",
        transient=True,
        shares=stored.set,
    )


def require_share_of(stored: StoredShare, admitted: Admitted, generation: int) -> None:
    """Raise Failed for a share of another set, and Refused for another signer's share.

    The caller has called ``require_same_key``, which compares the ticket's key.
    """
    if (stored.ceremony, stored.generation) != (admitted.ticket.share_set_id, generation):
        raise wrong_generation(stored, generation)
    if stored.signers[stored.index - 1] != admitted.quorum.me:
        raise Refused("bad_ticket", "the share is of another signer")


def _finished(
    raw: bytes, key: KeyReference, request: SignRequest, digest: bytes | None
) -> SignatureResult:
    """Verify and encode a signature. Raise Failed if it does not verify."""
    assert key.public_key is not None  # require_same_key has compared it
    try:
        return finish(raw, key.public_key, key.algorithm, key.network, request, digest)
    except BadSignature as error:
        raise Failed("bad_signature", f"made, but not released: {error}", transient=True) from None


def audit_details(admitted: Admitted) -> dict[str, str | None]:
    """Return the audit details of a ceremony."""
    ticket = admitted.ticket
    return {
        "ceremony": str(ticket.ceremony),
        "generation": str(ticket.generation),
        "participants": ", ".join(each.signer for each in ticket.participants),
    }


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
