"""A restored signer asks its peers, and takes in what they answer."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, UUID, uuid5

import structlog
from pydantic import ValidationError

from custody.database.causes import is_transient
from custody.database.connection import Connection
from custody.database.pool import Pool
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.wire.ban_questions import BanQuestion
from custody.wire.node_api import BanQuestionRequest, LeftPair
from custody.wire.signed_bytes import BAN_QUESTION_TYPE, SignedBytes, SigningKey
from custody.wire.statements import Ban
from mpc.bans.bans import Bans
from mpc.peers import Peers
from mpc.restored.arrived_parts import ArrivedParts
from mpc.restored.judging import (
    Group,
    StatedSet,
    WholeAnswer,
    named_signers,
    stated_sets,
    whole_answers,
)
from mpc.restored.watch import PeersAnswer, RestoreWatch, peers_answers
from mpc.shares import share_queries

POLL_SECONDS = 2.0

# a ceremony of these pairs is not known: one id for each pair, so that a repetition adds nothing
_LEFT = """
    INSERT INTO in_flight (key_id, signer, ceremony, process, begun_at)
    SELECT key_id, signer, ceremony, NULL, begun_at
    FROM unnest(:key_ids::uuid[], :signers::varchar[], :ceremonies::uuid[],
        :since::timestamptz[]) AS left_over (key_id, signer, ceremony, begun_at)
    WHERE EXISTS (SELECT FROM peers WHERE peers.signer = left_over.signer)
        AND NOT EXISTS (SELECT FROM cleared WHERE (cleared.key_id, cleared.signer, cleared.ceremony)
            = (left_over.key_id, left_over.signer, left_over.ceremony))
    ON CONFLICT DO NOTHING
"""

log = structlog.get_logger()


class Asking:
    def __init__(
        self,
        pool: Pool,
        me: str,
        signer: SigningKey,
        client: ControlPlaneClient,
        restore_watch: RestoreWatch,
        bans: Bans,
    ) -> None:
        self._pool = pool
        self._me = me
        self._signer = signer
        self._client = client
        self._arrived = ArrivedParts(client)
        self._restore_watch = restore_watch
        self._bans = bans
        self._peers = Peers(pool)
        self._learned = set[SignedBytes]()
        """The bans that this process has taken in: each poll brings all of them again."""
        self._learned_under: dict[str, bytes] = {}

    async def ask_repeatedly(self) -> None:
        """Ask while answers are missing, until cancelled."""
        while True:
            try:
                if self._restore_watch.question is not None:
                    await self.ask()
            except (ControlPlaneUnavailable, ControlPlaneRefused) as error:
                log.warning("the peers cannot be asked yet", error=str(error))
            except Exception as error:
                if not is_transient(error):
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def ask(self) -> bool:
        """Ask once, and take in what has arrived. Return True if nothing is missing any more."""
        question = self._restore_watch.question
        if question is None or question.nonce is None:
            return True
        asked = BanQuestion(signer=self._me, nonce=question.nonce, at=datetime.now(UTC))
        signed = self._signer.sign(BAN_QUESTION_TYPE, asked.model_dump_json().encode())
        answer, said = await self._arrived.ask(question.nonce, signed)
        await self.take_in(question.nonce, said, answer.bans, answer.left_in_flight)
        if self._restore_watch.question is not None:
            return False
        await self._client.ban_question(BanQuestionRequest(question=None))
        return True

    async def take_in(
        self,
        nonce: bytes,
        said: Sequence[SignedBytes],
        kept_bans: Sequence[SignedBytes],
        left: Sequence[LeftPair],
    ) -> None:
        """Learn from answers and from what the control plane kept; complete the question.

        Each step may be repeated: the question stays open until the last one is committed.
        """
        peers = await self._peers.identities()
        answers = whole_answers(said, self._me, nonce, peers)
        await self._learn([*kept_bans, *(ban for each in answers for ban in each.bans)], peers)
        await self._bar(left)
        for answer in answers:
            if not answer.is_asking:
                named = named_signers(answer, self._me)
                await self._restore_watch.answered(answer.signer, nonce, len(answer.bans), named)
        self._restore_watch.heard_of_asking([each.signer for each in answers if each.is_asking])
        await self._restore_watch.waits_for()  # for the health
        asked = await peers_answers(self._pool, self._me)
        heard = {answer.signer for answer in answers if not answer.is_asking}
        if _are_missing(asked, heard) or not self._restore_watch.has_outlived_tickets():
            return
        own, ignored = await self._own_groups(), done_without(asked)
        sets = stated_sets(answers, self._me, own, ignored)
        trusted = [
            key_id for key_id, group in own.items() if {*group.signers} <= {*ignored, self._me}
        ]

        async def compare(connection: Connection) -> dict[str, str | None]:
            erased = await _compare_shares(connection, sets, trusted)
            return _details(answers, erased)

        details = await self._restore_watch.complete(nonce, compare)
        if details is not None:
            erased = details["erased_shares"]
            log.warning("all peers have answered: taking jobs again", erased_shares=erased)

    async def _own_groups(self) -> dict[UUID, Group]:
        """Return the group of each key of which this signer has stored a share."""
        rows = await self._pool.rows(share_queries.GROUPS)
        return {row.key_id: Group(row.threshold, tuple(row.signers)) for row in rows}

    async def _learn(self, bans: Sequence[SignedBytes], peers: dict[str, bytes]) -> None:
        identities = {**peers, self._me: self._signer.public_key}
        by_key: dict[UUID, list[SignedBytes]] = {}
        if identities != self._learned_under:  # a new pin: bans that meant nothing may hold now
            self._learned, self._learned_under = set(), identities
        new = set(bans) - self._learned
        for signed in new:
            try:
                by_key.setdefault(Ban.model_validate_json(signed.payload).key_id, []).append(signed)
            except ValidationError:
                continue
        for key_id, of_key in by_key.items():
            await self._bans.learn(key_id, of_key, identities)
        self._learned |= new

    async def _bar(self, left: Sequence[LeftPair]) -> None:
        """Bar the pairs that this signer has left in flight, by its own last heartbeat."""
        if left:
            await self._pool.rows(
                _LEFT,
                {
                    "key_ids": [each.key_id for each in left],
                    "signers": [each.signer for each in left],
                    "ceremonies": [
                        uuid5(NAMESPACE_OID, f"{each.key_id}/{each.signer}/{each.since}")
                        for each in left
                    ],
                    "since": [each.since for each in left],
                },
            )


def done_without(asked: Sequence[PeersAnswer]) -> set[str]:
    """Return the signers without whose answers the operator does."""
    return {each.signer for each in asked if each.operator is not None}


def _are_missing(asked: Sequence[PeersAnswer], heard: set[str]) -> bool:
    """Return whether a signer has not answered, and the operator does not do without it.

    An answer that came earlier does not count if the control plane does not return it now: what it
    says of share sets is needed as well. Nothing is complete while no peer is pinned: a database
    that lost its pins may have lost its shares too, and then it knows nobody to ask.
    """
    has_pins = any(each.is_pinned for each in asked)
    return not has_pins or not {each.signer for each in asked} <= heard | done_without(asked)


async def _compare_shares(
    connection: Connection, sets: Sequence[StatedSet], trusted: Sequence[UUID]
) -> list[UUID]:
    """Erase shares that later sets have replaced. Return the ids of their keys.

    Restored shares become certain whose sets enough signers have named. ``trusted``: keys of which
    the operator does without all other signers; then nobody can name a set.
    """
    proved = [each for each in sets if each.is_proved]
    named = [each for each in sets if each.is_known and each.is_same_group]
    erased = await connection.rows(share_queries.RETIRE_REPLACED, _columns(proved))
    await connection.rows(share_queries.USE_PROVED, _columns(proved))
    of_operator = {"trusted": list(trusted)}
    await connection.rows(share_queries.MAKE_CERTAIN, _columns(named) | of_operator)
    told_by = {"told_by": [",".join(each.told_by) for each in sets]}
    await connection.rows(share_queries.NEED_REPAIRS, _columns(sets) | told_by)
    return [row.key_id for row in erased]


def _columns(sets: Sequence[StatedSet]) -> dict[str, list[object]]:
    return {
        "key_ids": [each.key_id for each in sets],
        "ceremonies": [each.ceremony for each in sets],
        "generations": [each.generation for each in sets],
        "thresholds": [each.threshold for each in sets],
    }


def _details(answers: Sequence[WholeAnswer], erased: Sequence[UUID]) -> dict[str, str | None]:
    return {
        "peers": ", ".join(each.signer for each in answers),
        "bans": str(len({ban.payload for each in answers for ban in each.bans})),
        "erased_shares": ", ".join(str(key_id) for key_id in erased[:100]) or None,
    }
