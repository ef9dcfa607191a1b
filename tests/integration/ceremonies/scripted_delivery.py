"""A delivery server that somebody else runs: it gives each signer what the test says.

It speaks the protocol over TLS, asks no ticket for anything, and keeps all that it was handed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from aiohttp import web

from custody.runtime.peer_certificate import peer_of_connection
from custody.runtime.tls import server_context
from custody.wire.delivery import PREFIX, DeliveryTicket, decode_hand_in, encode_messages
from devstack.certificates import Leaf
from devstack.processes import LOCALHOST

Handed = dict[tuple[UUID, int], dict[str, dict[str, bytes]]]
"""(meeting, exchange) -> sender -> recipient -> message."""
Answer = dict[str, bytes] | web.Response
Deceit = Callable[["ScriptedDelivery", UUID, int, str, dict[str, bytes]], Answer]
"""(server, meeting, exchange, recipient, messages by sender) -> what it is answered with."""


def honestly(
    _: "ScriptedDelivery", __: UUID, ___: int, ____: str, messages: dict[str, bytes]
) -> Answer:
    return messages


class ScriptedDelivery:
    """``deceit`` is applied to each answer."""

    def __init__(self) -> None:
        self.deceit: Deceit = honestly
        self.delay = 0.0
        self.handed: Handed = {}
        self.url = ""
        self._participants: dict[UUID, set[str]] = {}
        self._changed = asyncio.Condition()

    async def _hand_in(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = peer_of_connection(request.transport)
        assert peer is not None
        assert peer.node is not None
        meeting, number = UUID(request.match_info["meeting"]), int(request.match_info["number"])
        ticket, messages = decode_hand_in(await request.read())
        if ticket is not None:
            named = DeliveryTicket.model_validate_json(ticket.payload).participants
            self._participants.setdefault(meeting, set(named))
        exchange = self.handed.setdefault((meeting, number), {})
        async with self._changed:
            exchange[peer.node] = messages
            self._changed.notify_all()
            await self._changed.wait_for(lambda: exchange.keys() >= self._participants[meeting])
        await asyncio.sleep(self.delay)
        told = {sender: sent[peer.node] for sender, sent in exchange.items() if peer.node in sent}
        answer = self.deceit(self, meeting, number, peer.node, told)
        if isinstance(answer, web.Response):
            return answer
        return web.Response(body=encode_messages(answer))

    async def _abort(self, _: web.Request) -> web.Response:
        return web.Response(status=204)  # and tells nobody

    @contextlib.asynccontextmanager
    async def serving(self, leaf: Leaf) -> AsyncIterator["ScriptedDelivery"]:
        app = web.Application(client_max_size=2**26)
        app.router.add_post(f"{PREFIX}/meetings/{{meeting}}/exchanges/{{number}}", self._hand_in)
        app.router.add_post(f"{PREFIX}/meetings/{{meeting}}/abort", self._abort)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            tls = server_context(leaf.certificate, leaf.private_key, leaf.ca)
            await web.TCPSite(runner, LOCALHOST, 0, ssl_context=tls).start()
            self.url = f"https://{LOCALHOST}:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()
