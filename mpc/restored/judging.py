"""What the peers' answers prove. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
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
class Group:
    """The signers of a key, in order of their index, and how many of them must sign."""

    threshold: int
    signers: tuple[str, ...]


@dataclass(frozen=True)
class StatedSet:
    """A share set, and the signers of its key that use it.

    ``threshold``: the one that this signer has stored. ``is_known``: False if this signer has
    stored nothing of the key. Then ``threshold`` is only claimed, and proves nothing.
    ``is_same_group``: enough of ``told_by`` state the threshold and the signers that this signer
    has stored. Otherwise its share may be a forged copy.
    """

    key_id: UUID
    ceremony: UUID
    generation: int
    threshold: int
    told_by: tuple[str, ...]
    is_known: bool
    is_same_group: bool

    @property
    def is_proved(self) -> bool:
        """Return whether t signers of the key use the set.

        One of t is honest. An honest signer uses a set only after all n have promised it, and the
        restored signer is one of the n.
        """
        return self.is_known and len(self.told_by) >= self.threshold


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


def named_signers(answer: WholeAnswer, me: str) -> tuple[str, ...]:
    """Return the other signers of all keys that the answer says it shares with this signer."""
    named = {name for each in answer.sets if _is_of_both(each, answer, me) for name in each.signers}
    return tuple(sorted(named - {me}))


def stated_sets(
    answers: Sequence[WholeAnswer],
    me: str,
    own: Mapping[UUID, Group],
    done_without: Collection[str] = (),
) -> list[StatedSet]:
    """Return for each key the latest set that enough of its signers use, sorted by key.

    ``own``: the group of each key of which this signer has stored a share. What the answers claim
    of its threshold and its signers does not count.

    Enough are t, or all others whose answers this signer needs (not ``done_without``) if they are
    fewer. In the second case the set is shown as a needed repair, and no share is erased.
    """
    told = defaultdict[tuple[UUID, UUID, int], dict[str, SetInUse]](dict)
    for answer in answers:
        for each in answer.sets:
            if answer.signer not in done_without and _is_of_both(each, answer, me):
                told[each.key_id, each.ceremony, each.generation][answer.signer] = each
    latest: dict[UUID, StatedSet] = {}
    for (key_id, ceremony, generation), by in told.items():
        group = own.get(key_id) or _strictest(list(by.values()))
        tellers = [name for name in sorted(by) if name in group.signers]
        others = {*group.signers} - {me, *done_without}
        enough = max(1, min(group.threshold, len(others)))
        if len(tellers) < enough:
            continue
        agreeing = [name for name in tellers if _group_of(by[name]) == group]
        known = latest.get(key_id)
        if known is None or known.generation < generation:
            latest[key_id] = StatedSet(
                key_id,
                ceremony,
                generation,
                group.threshold,
                tuple(tellers),
                is_known=key_id in own,
                is_same_group=len(agreeing) >= enough,
            )
    return [latest[key_id] for key_id in sorted(latest)]


def _is_of_both(each: SetInUse, answer: WholeAnswer, me: str) -> bool:
    return {me, answer.signer} <= {*each.signers}


def _group_of(each: SetInUse) -> Group:
    return Group(each.threshold, each.signers)


def _strictest(claims: Sequence[SetInUse]) -> Group:
    """Return the group of an unknown key: the highest threshold, and the signers of all claims."""
    signers = [name for name in claims[0].signers if all(name in each.signers for each in claims)]
    return Group(max(each.threshold for each in claims), tuple(signers))


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
