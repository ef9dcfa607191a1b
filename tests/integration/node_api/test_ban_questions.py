"""Questions of restored signers and the answers of the others, as the node API carries them."""

from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

import pytest

from custody.node.control_plane_client import ControlPlaneClient
from custody.wire.ban_questions import BanAnswer, BanQuestion
from custody.wire.left_in_flight import LeftInFlight
from custody.wire.node_api import (
    MAX_WANTED_PARTS,
    BanAnswerRequest,
    BanAnswerResponse,
    BanQuestionRequest,
    BanQuestionResponse,
    HeartbeatResponse,
)
from custody.wire.signed_bytes import BAN_ANSWER_TYPE, BAN_QUESTION_TYPE, BAN_TYPE, SignedBytes
from custody.wire.statements import Ban
from mpc.restored.arrived_parts import ArrivedParts
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.test_admission import problem

NONCE, OTHER_NONCE = bytes(range(32)), bytes(32)


@pytest.fixture
async def signers(nodes) -> list[Node]:
    """Three signers that have beaten once: the control plane knows their identity keys."""
    signers = [await nodes.add(f"signer-{number}", "mpc") for number in (1, 2, 3)]
    for signer in signers:
        assert (await signer.heartbeat()).status_code == 200
    return signers


def question(signer: Node, nonce: bytes = NONCE, name: str | None = None) -> SignedBytes:
    asked = BanQuestion(signer=name or signer.id, nonce=nonce, at=datetime.now(UTC))
    return signer.signer.sign(BAN_QUESTION_TYPE, asked.model_dump_json().encode())


def answer(
    signer: Node, nonce: bytes = NONCE, asker: str = "signer-1", part: int = 1, parts: int = 1
) -> SignedBytes:
    said = BanAnswer(
        signer=signer.id,
        asker=asker,
        nonce=nonce,
        at=datetime.now(UTC),
        part=part,
        parts=parts,
        is_asking=False,
    )
    return signer.signer.sign(BAN_ANSWER_TYPE, said.model_dump_json().encode())


async def ask(signer: Node, asked: SignedBytes | None) -> BanQuestionResponse:
    response = await signer.post("ban-question", BanQuestionRequest(question=asked))
    assert response.status_code == 200, response.text
    return BanQuestionResponse.model_validate_json(response.content)


def parts_of(signer: Node) -> tuple[ArrivedParts, list[BanQuestionRequest]]:
    """Return what fetches the answers to this signer's question, and the requests that it sends."""
    requests: list[BanQuestionRequest] = []

    class Client:
        async def ban_question(self, asked: BanQuestionRequest) -> BanQuestionResponse:
            requests.append(asked)
            response = await signer.post("ban-question", asked)
            return BanQuestionResponse.model_validate_json(response.content)

    return ArrivedParts(cast(ControlPlaneClient, Client())), requests


async def say(signer: Node, said: SignedBytes) -> bool:
    response = await signer.post("ban-answer", BanAnswerRequest(answer=said))
    assert response.status_code == 200, response.text
    return BanAnswerResponse.model_validate_json(response.content).is_wanted


async def open_questions(signer: Node) -> list[SignedBytes]:
    response = await signer.heartbeat()
    return list(HeartbeatResponse.model_validate_json(response.content).ban_questions)


async def test_a_question_reaches_the_other_signers_and_their_answers_come_back(signers, nodes):
    one, two, three = signers
    asked = question(one)
    assert await ask(one, asked) == BanQuestionResponse(answers=())
    assert await open_questions(one) == []
    assert await open_questions(two) == await open_questions(three) == [asked]
    driver = await nodes.add("driver-1")
    assert await open_questions(driver) == []

    said = [answer(two), answer(three)]
    for signer, each in zip((two, three), said, strict=True):
        assert await say(signer, each)
    arrived, _ = parts_of(one)
    assert (await arrived.ask(NONCE, asked))[1] == said
    later = answer(two)  # once signer-2 has all answers itself
    await say(two, later)
    assert (await arrived.ask(NONCE, asked))[1] == [later, said[1]]

    await ask(one, None)
    assert await open_questions(two) == []
    assert not await say(two, answer(two))


async def test_each_part_of_a_large_answer_is_fetched_once(signers):
    one, two, three = signers
    asked = question(one)
    await ask(one, asked)
    parts = MAX_WANTED_PARTS * 2 + 1
    said = [answer(two, part=part, parts=parts) for part in range(1, parts + 1)]
    for each in said[:-1]:
        await say(two, each)
    arrived, requests = parts_of(one)
    assert (await arrived.ask(NONCE, asked))[1] == said[:-1]
    assert [len(request.wanted) for request in requests] == [0, MAX_WANTED_PARTS, MAX_WANTED_PARTS]
    requests.clear()
    await say(two, said[-1])
    await say(three, answer(three))
    await say(two, said[0])  # again: it has arrived at another time
    told = (await arrived.ask(NONCE, asked))[1]
    assert set(said) < set(told)
    assert [[each.part for each in request.wanted] for request in requests] == [[], [1, parts, 1]]

    other = question(one, OTHER_NONCE)
    assert (await arrived.ask(OTHER_NONCE, other))[1] == []


async def test_answers_to_an_earlier_question_go_with_it(signers):
    one, two, _ = signers
    await ask(one, question(one, OTHER_NONCE))
    await say(two, answer(two, OTHER_NONCE))
    asked = question(one)
    assert (await ask(one, asked)).answers == ()
    assert await open_questions(two) == [asked]
    assert not await say(two, answer(two, OTHER_NONCE))


async def test_nobody_asks_or_answers_for_another(signers, nodes):
    one, two, _ = signers
    for wrong in (question(two), question(one, name="signer-2")):
        refused = await one.post("ban-question", BanQuestionRequest(question=wrong))
        problem(refused, 422, "invalid_request")
    await ask(one, question(one))
    refused = await two.post("ban-answer", BanAnswerRequest(answer=answer(one)))
    problem(refused, 422, "invalid_request")
    driver = await nodes.add("driver-1")
    await driver.heartbeat()
    refused = await driver.post("ban-question", BanQuestionRequest(question=question(driver)))
    assert "not a signer" in problem(refused, 422, "invalid_request")


async def test_the_asking_signer_gets_the_bans_and_the_left_pairs_that_are_kept(signers):
    one, two, three = signers
    key_id = uuid4()

    def ban(signer: Node, banned: Node) -> SignedBytes:
        said = Ban(
            key_id=key_id,
            signer=signer.id,
            banned=banned.id,
            reason="it lied",
            ceremony=None,
            at=datetime.now(UTC),
        )
        return signer.signer.sign(BAN_TYPE, said.model_dump_json().encode())

    ours, of_us, of_others = ban(one, two), ban(three, one), ban(three, two)
    left = LeftInFlight(key_id=key_id, signer="signer-3", since=datetime.now(UTC))
    await one.heartbeat(bans=(ours,), left_in_flight=(left,))
    await three.heartbeat(bans=(of_us, of_others))
    await one.heartbeat(left_in_flight=None)  # restored, it does not know
    told = await ask(one, question(one))
    assert set(told.bans) == {ours, of_us}
    assert [each.model_dump() for each in told.left_in_flight] == [left.model_dump()]
