"""What the peers' answers prove. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from custody.wire.ban_questions import BanAnswer, SetInUse
from custody.wire.signed_bytes import (
    BAN_ANSWER_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    signing_key_id,
)


@dataclass(frozen=True)
class WholeAnswer:
    """All parts of one peer's answer."""

    signer: str
    is_asking: bool
    """The peer was restored itself, so that its answer may lack bans too."""
    bans: tuple[SignedBytes, ...]
    sets: tuple[SetInUse, ...]


@dataclass(frozen=True)
class StatedSet:
    """A share set, and the peers that use it."""

    key_id: UUID
    ceremony: UUID
    generation: int
    threshold: int
    told_by: tuple[str, ...]

    @property
    def is_proved(self) -> bool:
        """Return whether t peers use the set.

        One of t is honest. An honest signer uses a set only after all n have promised it, and the
        restored signer is one of the n.
        """
        return len(self.told_by) >= self.threshold


def whole_answers(
    said: Sequence[SignedBytes], me: str, nonce: bytes, identities: Mapping[str, bytes]
) -> list[WholeAnswer]:
    """Return the newest complete answer of each peer, sorted by peer.

    ``identities``: the pinned peers. Everything else is left out: statements under other keys, for
    another signer or another question, and answers of which a part is missing.
    """
    parts = defaultdict[tuple[str, object, int], dict[int, BanAnswer]](dict)
    for signed in said:
        answer = _opened(signed, identities)
        if answer is not None and (answer.asker, answer.nonce) == (me, nonce):
            parts[answer.signer, answer.at, answer.parts][answer.part] = answer
    newest: dict[str, list[BanAnswer]] = {}
    for (signer, _, wanted), found in parts.items():
        if len(found) < wanted:
            continue
        whole = [found[number] for number in sorted(found)]
        if signer not in newest or newest[signer][0].at < whole[0].at:
            newest[signer] = whole
    return [
        WholeAnswer(
            signer,
            any(part.is_asking for part in whole),
            tuple(ban for part in whole for ban in part.bans),
            tuple(each for part in whole for each in part.sets),
        )
        for signer, whole in sorted(newest.items())
    ]


def stated_sets(answers: Sequence[WholeAnswer]) -> list[StatedSet]:
    """Return for each key the latest set that enough peers use, sorted by key.

    Enough are t, or all others if they are fewer. In the second case the set is shown as a needed
    repair, and no share is erased.
    """
    told = defaultdict[SetInUse, set[str]](set)
    for answer in answers:
        for each in answer.sets:
            told[each].add(answer.signer)
    latest: dict[UUID, StatedSet] = {}
    for each, by in told.items():
        if len(by) < min(each.threshold, each.signers - 1):
            continue
        known = latest.get(each.key_id)
        if known is None or known.generation < each.generation:
            latest[each.key_id] = StatedSet(
                each.key_id, each.ceremony, each.generation, each.threshold, tuple(sorted(by))
            )
    return [latest[key_id] for key_id in sorted(latest)]


def _opened(signed: SignedBytes, identities: Mapping[str, bytes]) -> BanAnswer | None:
    """Return an answer that the peer which it names has signed; else None."""
    for name, key in identities.items():
        if signing_key_id(key) == signed.signing_key_id:
            try:
                answer = BanAnswer.model_validate_json(
                    PinnedKeys([key]).open(BAN_ANSWER_TYPE, signed)
                )
            except (BadSignedBytes, ValidationError):
                return None
            return answer if answer.signer == name else None
    return None
