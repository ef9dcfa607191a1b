"""A validation gate as its owner might have it, good or bad: real HTTPS, answers by the test."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from custody.node.gate_messages import SIGNATURE_HEADER, GateQuestion
from custody.runtime.tls import TlsFiles
from devstack.certificates import Leaf
from devstack.processes import LOCALHOST
from tests.server_in_a_thread import ServerInAThread

Play = Callable[[GateQuestion], Awaitable[Response]]


@dataclass(frozen=True)
class Asked:
    """A question as it came."""

    question: GateQuestion
    body: bytes
    signature: str


def answer(question: GateQuestion, decision: str, reason: str = "said the test") -> Response:
    digest = "0x" + question.digest.hex()
    return JSONResponse({"decision": decision, "digest": digest, "reason": reason})


async def approve(question: GateQuestion) -> Response:
    return answer(question, "approve")


async def reject(question: GateQuestion) -> Response:
    return answer(question, "reject", "not this payee")


async def pending(question: GateQuestion) -> Response:
    return answer(question, "pending", "asked the treasurer")


async def hang(_: GateQuestion) -> Response:
    await asyncio.Event().wait()
    raise AssertionError


async def approve_another_digest(question: GateQuestion) -> Response:
    return answer(question.model_copy(update={"digest": bytes(32)}), "approve")


async def approve_with_status_500(question: GateQuestion) -> Response:
    approval = answer(question, "approve")
    approval.status_code = 500
    return approval


async def approve_with_status_201(question: GateQuestion) -> Response:
    approval = answer(question, "approve")
    approval.status_code = 201
    return approval


async def as_a_gateway(status: int, _: GateQuestion) -> Response:
    return Response(b"<html>approve</html>", status, headers={"Retry-After": "1"})


async def redirect(_: GateQuestion) -> Response:
    return Response(status_code=307, headers={"location": "/approves"})


async def say_nothing(_: GateQuestion) -> Response:
    return Response(b"")


async def say_html(_: GateQuestion) -> Response:
    return Response(b"<html>approve</html>")


async def say_too_much(question: GateQuestion) -> Response:
    approval = answer(question, "approve")
    return Response(bytes(approval.body) + b" " * 20_000)


async def approve_bit_by_bit(question: GateQuestion) -> Response:
    """In time with its first byte, and too late with its last."""
    body = bytes(answer(question, "approve").body)

    async def drip() -> Any:
        for byte in body[:-1]:
            yield bytes([byte])
        await asyncio.Event().wait()

    return StreamingResponse(drip())


class PlayedGate(ServerInAThread):
    """``with PlayedGate(leaf) as gate: gate.play = reject``"""

    name = "gate"

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(TlsFiles("gate", leaf.certificate, leaf.private_key, is_server=True))
        self.play: Play = approve
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self.port}/decide"

    def wait_until_asked(self, times: int) -> None:
        deadline = time.monotonic() + 30
        while len(self.asked) < times:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gate was asked {len(self.asked)} times")
            time.sleep(0.01)

    async def _decide(self, request: Request) -> Response:
        body = await request.body()
        question = GateQuestion.model_validate_json(body)
        self.asked.append(Asked(question, body, request.headers[SIGNATURE_HEADER]))
        return await self.play(question)

    async def _approves(self, request: Request) -> Response:
        return await approve(GateQuestion.model_validate_json(await request.body()))

    def let_go(self) -> None:
        """What hangs is to hang on."""

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/decide", self._decide, methods=["POST"]),
                Route("/approves", self._approves, methods=["POST"]),
            ]
        )
