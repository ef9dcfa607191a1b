"""Jobs of kind DealShares: this signer's part of a key, dealt to the signers of another group.

The mathematics: docs/adr/0036-import-and-copy-of-shares.md.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from custody.node.applications import Applications
from custody.node.errors import Denied, Failed
from custody.node.handlers import Handled, Work
from custody.node.stored_key import require_same_key
from custody.node.wanted import wanted_copy
from custody.wire.dealing_facts import DealingFacts
from custody.wire.dealings import Dealing
from custody.wire.hybrid_keys import HybridPublicKey
from custody.wire.imports import ImportKeyStatement
from custody.wire.jobs import Job, KeyHolders
from custody.wire.outcomes import DealtShares
from custody.wire.signed_bytes import DEALING_TYPE, SigningKey, signing_key_id
from mpc._native import LocalMisuse, deal
from mpc.ceremonies.admission import Admission
from mpc.ceremonies.tickets import Quorum, require_signers
from mpc.handlers.certainty import require_certain
from mpc.handlers.copy_evidence import require_import_keys
from mpc.shares.shares import Shares
from mpc.shares.stored_share import StoredShare


@dataclass(frozen=True)
class DealShares:
    """Seals one sub-share to the import key of each new signer, and signs what it has dealt.

    The owner's locks decide as about a signature. The new signers are pinned on this host. If a
    pinned application has signed the request, they are exactly the group that it names, and the key
    was not made for another application that is pinned here. Otherwise the control plane has chosen
    them. Then their threshold is not below the key's, so that as many signers as before are needed
    to learn the key.

    ``min_unsigned_threshold``: the owner's lowest threshold for such requests, in place of the
    key's.
    """

    carries_request: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True
    admission: Admission
    shares: Shares
    signer: SigningKey
    applications: Applications
    min_unsigned_threshold: int | None = None

    async def handle(self, work: Work) -> Handled:
        job = work.job
        wanted = wanted_copy(job)
        holders = wanted.holders
        if job.copied_from is not None:
            raise Denied("malformed_job", "a DealShares job is about the key that is copied")
        quorum = await self.admission.quorum()
        require_signers(quorum, holders.threshold, holders.signers)
        stored = await self._share_in_use(job)
        require_old_group(stored, wanted.held_by)
        if work.signed_by is None:
            require_threshold(holders, self.min_unsigned_threshold or stored.threshold)
        else:
            await self._require_application(stored, work.signed_by)
        import_keys = require_import_keys(
            job, holders, work.signed_by, quorum.identities, datetime.now(UTC)
        )
        dealing = await self._deal(job, stored, quorum, import_keys)
        signed = self.signer.sign(DEALING_TYPE, dealing.model_dump_json().encode())
        return Handled(
            result=DealtShares(dealing=signed),
            audit={
                "public_key": stored.public_key.hex(),
                "ceremony": str(stored.ceremony),
                "copy": str(dealing.copy_id),
                **group_details(holders),
            },
        )

    async def _require_application(self, stored: StoredShare, signed_by: bytes) -> None:
        """Raise Denied if the key was made for another application that is pinned here.

        A key that is not pinned any more may have been replaced by the one that signs now.
        """
        owner = None if stored.made_for is None else stored.made_for.application
        if owner is None or owner == signed_by:
            return
        found = await self.applications.find(signing_key_id(owner))
        if found is not None:
            raise Denied(
                "wrong_application",
                f"the key was made for the application {found.name!r}, which is pinned here, and "
                "another one has signed the request for a copy. If it has replaced the signing key "
                f"of {found.name!r}: mpc-signer apps remove {found.name}",
            )

    async def _share_in_use(self, job: Job) -> StoredShare:
        """Return the share of the set that the job names. Raise Failed for any other."""
        stored = await self.shares.active(job.key.id)
        if stored is None:
            raise Failed("no_share", "this signer has no share of the key in use", transient=True)
        require_certain(stored)
        require_same_key(stored.key, job)
        if stored.ceremony != job.ceremony:
            raise Failed(
                "wrong_generation",
                f"this signer uses the share set {stored.ceremony}, not {job.ceremony}",
                transient=True,
                shares=stored.set,
            )
        return stored

    async def _deal(
        self,
        job: Job,
        stored: StoredShare,
        quorum: Quorum,
        import_keys: Mapping[str, ImportKeyStatement],
    ) -> Dealing:
        holders, dealers = job.holders, list(job.dealers or ())
        assert holders is not None  # wanted_copy sees to it
        if dealers != sorted(set(dealers)):
            raise Denied("malformed_job", "the dealers are not in order of their indices")
        share = await self.shares.open(stored)
        try:
            dealt = await asyncio.to_thread(
                deal, share, dealers, holders.threshold, len(holders.signers)
            )
        except LocalMisuse as error:
            raise Denied("malformed_job", f"these signers cannot deal together: {error}") from None
        facts = DealingFacts(
            import_id=job.request_id,
            holders=holders,
            algorithm=job.key.algorithm,
            public_key=stored.public_key,
            commitments=dealt.commitments,
            chain_code=stored.chain_code,
        )
        sub_shares = dealt.sub_shares
        sealed = {
            name: seal_to(import_keys[name], sub_shares[index], facts.sealed_for(name))
            for index, name in enumerate(holders.signers, 1)
        }
        return Dealing(
            key_id=stored.key_id,
            copy_id=job.request_id,
            share_set_id=stored.ceremony,
            generation=stored.generation,
            protocol=stored.protocol,
            network=stored.network,
            public_key=stored.public_key,
            chain_code=stored.chain_code,
            imported=stored.is_imported,
            dealt_by=stored.holders,
            verifying_shares=tuple(share.verifying_shares[i] for i in _indices(stored)),
            quorum=tuple(dealers),
            holders=holders,
            signer=quorum.me,
            index=stored.index,
            commitments=dealt.commitments,
            sealed=sealed,
        )


def group_details(holders: KeyHolders) -> dict[str, str | None]:
    """Return what an audit record says of a group: a name alone means what others say it means."""
    return {
        "group": holders.group,
        "threshold": str(holders.threshold),
        "signers": ", ".join(holders.signers),
    }


def require_old_group(stored: StoredShare, held_by: KeyHolders | None) -> None:
    """Raise Denied if the request says that another group holds the key."""
    if held_by is not None and held_by != stored.holders:
        raise Denied(
            "request_mismatch",
            f"the request says that {held_by.group} holds the key: this signer's share is of "
            f"{stored.threshold} of {', '.join(stored.signers)} in {stored.group}",
        )


def require_threshold(holders: KeyHolders, lowest: int) -> None:
    """Raise Denied for a new group of which fewer signers than ``lowest`` can sign."""
    if holders.threshold < lowest:
        raise Denied(
            "threshold_too_low",
            f"a copy with a threshold of {holders.threshold}: no application that is pinned here "
            f"has signed the request, so this signer wants at least {lowest} (quorum."
            "min_unsigned_copy_threshold)",
        )


def seal_to(statement: ImportKeyStatement, sub_share: bytes, info: bytes) -> bytes:
    """Seal a sub-share to a new signer's import key. Raise Failed, naming that signer."""
    try:
        return HybridPublicKey(statement.import_key).seal(sub_share, info)
    except ValueError:
        raise Failed(
            "bad_import_key",
            f"{statement.node} has stated an import key that nothing can be sealed to",
            transient=True,
            culprits=(statement.node,),
        ) from None


def _indices(stored: StoredShare) -> range:
    return range(1, len(stored.signers) + 1)
