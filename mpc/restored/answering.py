"""Answers the questions of restored peers: all bans, and the share sets in use."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import structlog
from pydantic import ValidationError

from custody.database.causes import is_transient
from custody.database.pool import Pool
from custody.node.control_plane_client import (
    ControlPlaneClient,
    ControlPlaneRefused,
    ControlPlaneUnavailable,
)
from custody.wire.ban_questions import (
    MAX_BANS_IN_PART,
    MAX_SETS_IN_PART,
    BanAnswer,
    BanQuestion,
    SetInUse,
)
from custody.wire.node_api import BanAnswerRequest
from custody.wire.signed_bytes import (
    BAN_ANSWER_TYPE,
    BAN_QUESTION_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
    SigningKey,
)
from mpc.peers import Peers
from mpc.restored.watch import RestoreWatch

RETRY_SECONDS = 2.0

Item = TypeVar("Item")

_BANS = """
    SELECT payload, signature, signing_key_id FROM bans ORDER BY key_id, signer, banned
"""

_SETS = """
    SELECT key_id, ceremony, generation, threshold, signers FROM shares
    WHERE state IN ('active', 'repaired') AND NOT uncertain AND :asker = ANY(signers)
    ORDER BY key_id
"""
"""A repaired share came from t signers that use its set, and at least one of them is honest."""

log = structlog.get_logger()


class Answering:
    """Answers each question once, and again when this signer itself has all answers."""

    def __init__(
        self,
        pool: Pool,
        me: str,
        signer: SigningKey,
        client: ControlPlaneClient,
        restore_watch: RestoreWatch,
        problem: Callable[[], str | None],
    ) -> None:
        """``problem``: why this database may itself be an earlier state, as far as is known."""
        self._pool = pool
        self._me = me
        self._signer = signer
        self._client = client
        self._restore_watch = restore_watch
        self._problem = problem
        self._peers = Peers(pool)
        self._open: tuple[SignedBytes, ...] = ()
        self._is_new = asyncio.Event()
        self._answered: dict[str, tuple[bytes, bool]] = {}

    def asked(self, questions: Sequence[SignedBytes]) -> None:
        """Take in the open questions, from an answer to a heartbeat."""
        self._open = tuple(questions)
        if self._open:
            self._is_new.set()

    async def answer_repeatedly(self) -> None:
        """Answer until cancelled."""
        while True:
            await self._is_new.wait()
            self._is_new.clear()
            try:
                await self.answer(self._open)
            except Exception as error:
                is_known = isinstance(error, ControlPlaneUnavailable | ControlPlaneRefused)
                if not is_known and not is_transient(error):
                    raise
                log.warning("a peer's question is not answered yet", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._is_new.set()

    async def answer(self, questions: Sequence[SignedBytes]) -> None:
        """Answer the questions of pinned peers that were not answered yet."""
        identities = await self._peers.identities()
        for signed in questions:
            question = opened_question(signed, identities)
            if question is None:
                continue
            if self._answered.get(question.signer) == (question.nonce, self._is_asking()):
                continue
            await self._restore_watch.renew()
            is_asking = self._is_asking()
            for part in await self.statements(question, is_asking):
                await self._client.ban_answer(BanAnswerRequest(answer=part))
            self._answered[question.signer] = (question.nonce, is_asking)
            log.warning("answered a restored peer", signer=question.signer, is_asking=is_asking)

    def _is_asking(self) -> bool:
        return self._problem() is not None

    async def statements(self, question: BanQuestion, is_asking: bool) -> list[SignedBytes]:
        """Return the parts of the answer, signed."""
        bans = [SignedBytes(**dict(row)) for row in await self._pool.rows(_BANS)]
        rows = await self._pool.rows(_SETS, {"asker": question.signer})
        sets = [SetInUse(**dict(row)) for row in rows]
        now = datetime.now(UTC)
        count = max(1, -(-len(bans) // MAX_BANS_IN_PART), -(-len(sets) // MAX_SETS_IN_PART))
        return [
            self._sign(
                BanAnswer(
                    signer=self._me,
                    asker=question.signer,
                    nonce=question.nonce,
                    at=now,
                    part=number + 1,
                    parts=count,
                    is_asking=is_asking,
                    bans=tuple(_page(bans, number, MAX_BANS_IN_PART)),
                    sets=tuple(_page(sets, number, MAX_SETS_IN_PART)),
                )
            )
            for number in range(count)
        ]

    def _sign(self, answer: BanAnswer) -> SignedBytes:
        return self._signer.sign(BAN_ANSWER_TYPE, answer.model_dump_json().encode())


def _page(items: Sequence[Item], number: int, size: int) -> Sequence[Item]:
    return items[number * size : (number + 1) * size]


def opened_question(signed: SignedBytes, identities: dict[str, bytes]) -> BanQuestion | None:
    """Return the question if the pinned peer that it names has signed it; else None."""
    try:
        payload = PinnedKeys(list(identities.values())).open(BAN_QUESTION_TYPE, signed)
        question = BanQuestion.model_validate_json(payload)
        PinnedKeys([identities[question.signer]]).open(BAN_QUESTION_TYPE, signed)
    except (BadSignedBytes, ValidationError, KeyError):
        return None
    return question
