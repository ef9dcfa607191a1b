"""The customer's drill: recover every key, sign with it, and forget it again."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from custody.wire.algorithms import Scheme
from custody.wire.requests import SignHash, SignMessage, SignRequest
from custody.wire.signatures import BadSignature
from mpc.recover.contents import RootKey, SetState, ShareSet
from mpc.recover.customer_private_key import CustomerPrivateKey
from mpc.recover.private_key import PrivateKey, recovered
from mpc.recover.share_file import open_share_file
from mpc.recover.signing import sign

DOMAIN = "custody: recovery drill, no other meaning, "


@dataclass(frozen=True)
class QuorumResult:
    """One private key from one quorum: it signed, or why not."""

    signers: tuple[str, ...]
    fault: str | None


@dataclass(frozen=True)
class SetResult:
    """The results of a set's quorums. There are none if the set has too few copies."""

    share_set: ShareSet
    quorums: tuple[QuorumResult, ...]

    @property
    def passed(self) -> bool:
        return bool(self.quorums) and not any(quorum.fault for quorum in self.quorums)


@dataclass(frozen=True)
class KeyResult:
    key: RootKey
    sets: tuple[SetResult, ...]

    @property
    def passed(self) -> bool:
        """True if a set gives the key, and no set gives a wrong one."""
        quorums = [quorum for each in self.sets for quorum in each.quorums]
        return bool(quorums) and not any(quorum.fault for quorum in quorums)


def run_drill(
    keys: Iterable[RootKey], customer_key: CustomerPrivateKey, now: datetime
) -> Iterator[KeyResult]:
    """Yield the result of each key. No private key outlives its signature."""
    for key in keys:
        sets = [_drill_set(each, customer_key, now) for each in key.sets]
        yield KeyResult(key, tuple(sets))


def _drill_set(share_set: ShareSet, customer_key: CustomerPrivateKey, now: datetime) -> SetResult:
    if share_set.state is SetState.TOO_FEW:
        return SetResult(share_set, ())
    quorums = quorums_of(sorted(share_set.files), share_set.facts.threshold)
    return SetResult(
        share_set, tuple(_drill_quorum(share_set, each, customer_key, now) for each in quorums)
    )


def quorums_of(indices: list[int], threshold: int) -> list[list[int]]:
    """Return quorums that use each share at least once: the first t, then each other share."""
    first = indices[:threshold]
    return [first, *([*first[:-1], index] for index in indices[threshold:])]


def _drill_quorum(
    share_set: ShareSet, quorum: list[int], customer_key: CustomerPrivateKey, now: datetime
) -> QuorumResult:
    signers = tuple(share_set.facts.signers[index - 1] for index in quorum)
    try:
        copies = [open_share_file(share_set.files[index][0], customer_key) for index in quorum]
        private_key = recovered(share_set.facts, copies)
        sign(private_key, _request(private_key, now))
    except (ValueError, OSError, BadSignature) as error:
        return QuorumResult(signers, str(error))
    return QuorumResult(signers, None)


def _request(key: PrivateKey, now: datetime) -> SignRequest:
    """Return what the drill signs. The signature is verified, and goes nowhere."""
    text = DOMAIN + now.isoformat()
    if key.algorithm.scheme is Scheme.EDDSA:
        return SignMessage(kind="Message", message=text)
    return SignHash(kind="Hash", hash=hashlib.sha256(text.encode()).digest())
