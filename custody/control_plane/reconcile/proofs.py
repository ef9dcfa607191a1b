"""The proofs of share sets among the signatures that a signer states. Pure.

Signers sign with each new share set before they use it (custody/wire/possession.py). A signer's
journal has this signature under the id of the step, which is not the id of a request. The database
lacks the steps that are newer than the backup: then the share sets that the signer states tell.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from custody.wire.algorithms import Algorithm, known_algorithm
from custody.wire.inventory import HeldKey
from custody.wire.jobs import Job
from custody.wire.outcomes import MadeSignature
from custody.wire.possession import possession_request
from custody.wire.signatures import BadSignature, verify

LONGEST = timedelta(hours=1)
"""Time from a share to its first signature. A proof that comes later is not recognised."""
MOST_TRIED = 50
"""Share sets that are tried for one Ed25519 signature; each takes 0.1 ms."""


@dataclass(frozen=True)
class ShareSet:
    """A share set of a signer. ``created_at``: when the signer stored its share."""

    key_id: UUID
    id: UUID
    algorithm: Algorithm
    public_key: bytes
    created_at: datetime


class ShareSets:
    """The share sets that one signer states: only proofs of these are recognised.

    So a signer that lies can hide no signature that an honest signer states.
    """

    def __init__(self) -> None:
        self._by_digest: dict[bytes, ShareSet] = {}
        self._of_ed25519: list[ShareSet] = []
        self._is_sorted = True

    def note(
        self, said: Iterable[HeldKey], facts: Mapping[UUID, Any], outcomes_since: datetime
    ) -> None:
        """Add the share sets that may have signed first since ``outcomes_since``.

        ``facts``: of the keys, as the signer attests them or as the database has them. The proof
        of a set whose public key nobody states is not recognised.
        """
        for each in said:
            key = facts.get(each.key_id)
            is_new = each.created_at >= outcomes_since - LONGEST
            if is_new and each.share_set_id and key is not None and key.public_key is not None:
                algorithm = known_algorithm(key.scheme, key.curve)
                self._add(
                    ShareSet(
                        each.key_id, each.share_set_id, algorithm, key.public_key, each.created_at
                    )
                )

    def _add(self, share_set: ShareSet) -> None:
        _, digest = possession_request(share_set.algorithm, share_set.key_id, share_set.id)
        if digest is None:
            self._of_ed25519.append(share_set)
            self._is_sorted = False
        else:
            self._by_digest[digest] = share_set

    def is_proof(self, made: MadeSignature, committed_at: datetime) -> bool:
        """Return whether a signature is of the proof message of one of these share sets.

        The proof message is a tagged hash, and so never a transaction. ``committed_at``: when the
        signer recorded the signature, by the same clock as ``ShareSet.created_at``.
        """
        if made.digest is None:
            candidates = self._newest_before(committed_at)
        else:
            candidates = [each for each in [self._by_digest.get(made.digest)] if each is not None]
        return any(
            _is_proof_of(each.algorithm, each.public_key, each.key_id, each.id, made)
            for each in candidates
        )

    def _newest_before(self, moment: datetime) -> Iterable[ShareSet]:
        """Return the Ed25519 share sets of the time before, newest first.

        An Ed25519 signature does not name what it signs, so each candidate must be tried.
        """
        if not self._is_sorted:
            self._of_ed25519.sort(key=lambda each: each.created_at)
            self._is_sorted = True
        end = bisect_right(self._of_ed25519, moment, key=lambda each: each.created_at)
        newest = self._of_ed25519[max(0, end - MOST_TRIED) : end]
        return [each for each in reversed(newest) if moment - each.created_at <= LONGEST]


def is_proof_for(payload: bytes, made: MadeSignature) -> bool:
    """Return whether a signature is the proof that a ProveKey job wants.

    ``payload``: the job as the control plane has signed it.
    """
    job = Job.model_validate_json(payload)
    key = job.key
    if key.public_key is None:
        return False
    return _is_proof_of(key.algorithm, key.public_key, key.id, job.ceremony, made)


def _is_proof_of(
    algorithm: Algorithm,
    public_key: bytes,
    key_id: UUID,
    share_set: UUID | None,
    made: MadeSignature,
) -> bool:
    request, digest = possession_request(algorithm, key_id, share_set)
    try:
        verify(made.signature, public_key, algorithm, None, request, digest)
    except BadSignature:
        return False
    return made.digest == digest
