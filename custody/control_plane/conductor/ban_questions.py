"""Carries the questions of restored signers to the other signers, and the answers back.

The control plane cannot sign an answer. It verifies both only to keep useless rows out: the asking
signer verifies everything again, under the identity keys that it has pinned itself.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from custody.control_plane.database import Database
from custody.control_plane.problems import Code, ProblemError, not_registered
from custody.wire.ban_questions import BanAnswer, BanQuestion
from custody.wire.node_api import (
    MAX_BAN_QUESTIONS,
    ArrivedPart,
    BanQuestionResponse,
    LeftPair,
    WantedPart,
)
from custody.wire.signed_bytes import (
    BAN_ANSWER_TYPE,
    BAN_QUESTION_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
)

# the answers to an earlier question go with it
_ASK = """
    WITH earlier AS (
        DELETE FROM ban_answers WHERE asker = :signer AND nonce <> :nonce
    )
    INSERT INTO ban_questions (signer, nonce, payload, signature, signing_key_id)
    SELECT id, :nonce, :payload, :signature, :signing_key_id
    FROM nodes WHERE id = :signer FOR NO KEY UPDATE
    ON CONFLICT (signer) DO UPDATE SET nonce = excluded.nonce, payload = excluded.payload,
        signature = excluded.signature, signing_key_id = excluded.signing_key_id,
        asked_at = now()
    WHERE ban_questions.nonce <> excluded.nonce
    """

_WITHDRAW = "DELETE FROM ban_questions WHERE signer = :signer"

_OPEN = """
    SELECT payload, signature, signing_key_id
    FROM ban_questions JOIN nodes ON nodes.id = ban_questions.signer
    WHERE ban_questions.signer <> :signer AND node_group = :group
    ORDER BY asked_at, ban_questions.signer LIMIT :limit
    """

_ANSWER = """
    INSERT INTO ban_answers (asker, signer, part, nonce, payload, signature, signing_key_id)
    SELECT signer, :signer, :part, nonce, :payload, :signature, :signing_key_id
    FROM ban_questions WHERE signer = :asker AND nonce = :nonce FOR KEY SHARE
    ON CONFLICT (asker, signer, part) DO UPDATE SET nonce = excluded.nonce,
        payload = excluded.payload, signature = excluded.signature,
        signing_key_id = excluded.signing_key_id, received_at = now()
    RETURNING asker
    """

_ARRIVED = """
    SELECT signer, part, received_at FROM ban_answers
    WHERE asker = :signer AND nonce = :nonce ORDER BY signer, part
    """

_WANTED = """
    SELECT signer, part, received_at, payload, signature, signing_key_id FROM ban_answers
    WHERE asker = :signer AND nonce = :nonce
        AND (signer, part) IN (SELECT * FROM unnest(:signers::varchar[], :parts::integer[]))
    """

_BANS = """
    SELECT payload, signature, signing_key_id FROM bans
    WHERE signer = :signer OR banned = :signer ORDER BY received_at, key_id
    """

_LEFT = "SELECT left_in_flight FROM nodes WHERE id = :signer"

Statement = TypeVar("Statement", BanQuestion, BanAnswer)


class BanQuestions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(
        self, signer: str, identity: bytes, asked: SignedBytes, wanted: Sequence[WantedPart] = ()
    ) -> BanQuestionResponse:
        """Keep a question, and return what has arrived for it. Raise ProblemError.

        ``identity``: the signer's Ed25519 public key. ``wanted``: the parts that are returned
        whole.
        """
        question = _opened(BAN_QUESTION_TYPE, asked, BanQuestion, identity)
        if question.signer != signer:
            raise ProblemError(
                Code.INVALID_REQUEST, f"question: it is a question of {question.signer}"
            )
        place = {"signer": signer, "nonce": question.nonce}
        await self._database.rows(_ASK, place | dict(asked))
        left = await self._database.row(_LEFT, {"signer": signer})
        if left is None:
            raise not_registered(signer)
        answers = {
            (row.signer, row.part): ArrivedPart(**dict(row))
            for row in await self._database.rows(_ARRIVED, place)
        }
        if wanted:
            answers |= await self._wanted(place, wanted)
        bans = await self._database.rows(_BANS, {"signer": signer})
        return BanQuestionResponse(
            answers=tuple(answers[each] for each in sorted(answers)),
            bans=tuple(SignedBytes(**dict(row)) for row in bans),
            left_in_flight=tuple(
                LeftPair.model_validate_json(json.dumps(each)) for each in left.left_in_flight
            ),
        )

    async def _wanted(
        self, place: dict[str, Any], wanted: Sequence[WantedPart]
    ) -> dict[tuple[str, int], ArrivedPart]:
        names = {
            "signers": [each.signer for each in wanted],
            "parts": [each.part for each in wanted],
        }
        rows = await self._database.rows(_WANTED, place | names)
        return {
            (row.signer, row.part): ArrivedPart(
                signer=row.signer,
                part=row.part,
                received_at=row.received_at,
                answer=SignedBytes(
                    payload=row.payload,
                    signature=row.signature,
                    signing_key_id=row.signing_key_id,
                ),
            )
            for row in rows
        }

    async def withdraw(self, signer: str) -> None:
        """Forget a signer's question and its answers."""
        await self._database.rows(_WITHDRAW, {"signer": signer})

    async def open(self, signer: str, group: str) -> tuple[SignedBytes, ...]:
        """Return the questions of the other signers of a node group, oldest first."""
        values = {"signer": signer, "group": group, "limit": MAX_BAN_QUESTIONS}
        rows = await self._database.rows(_OPEN, values)
        return tuple(SignedBytes(**dict(row)) for row in rows)

    async def answer(self, signer: str, identity: bytes, said: SignedBytes) -> bool:
        """Keep a part of an answer. Return False without its question. Raise ProblemError."""
        answer = _opened(BAN_ANSWER_TYPE, said, BanAnswer, identity)
        if answer.signer != signer:
            raise ProblemError(Code.INVALID_REQUEST, f"answer: it is an answer of {answer.signer}")
        values = {
            "asker": answer.asker,
            "signer": signer,
            "part": answer.part,
            "nonce": answer.nonce,
        }
        return bool(await self._database.rows(_ANSWER, values | dict(said)))


def _opened(
    payload_type: str, signed: SignedBytes, model: type[Statement], identity: bytes
) -> Statement:
    """Return a statement that this signer has signed. Raise ProblemError."""
    try:
        return model.model_validate_json(PinnedKeys([identity]).open(payload_type, signed))
    except BadSignedBytes as bad:
        raise ProblemError(Code.INVALID_REQUEST, f"statement: {bad}") from None
    except ValidationError as error:
        raise ProblemError(
            Code.INVALID_REQUEST, f"statement: {error.error_count()} malformed fields"
        ) from None
