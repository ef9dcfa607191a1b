"""The parts of the peers' answers, fetched from the control plane as they arrive."""

from custody.node.control_plane_client import ControlPlaneClient
from custody.wire.node_api import (
    MAX_WANTED_PARTS,
    ArrivedPart,
    BanQuestionRequest,
    BanQuestionResponse,
    WantedPart,
)
from custody.wire.signed_bytes import SignedBytes


class ArrivedParts:
    """Keeps the parts of the answers to one question. Each is fetched once.

    In memory: an answer about a hundred thousand keys has about 50 MB.
    """

    def __init__(self, client: ControlPlaneClient) -> None:
        self._client = client
        self._nonce = b""
        self._parts: dict[tuple[str, int], ArrivedPart] = {}

    async def ask(
        self, nonce: bytes, question: SignedBytes
    ) -> tuple[BanQuestionResponse, list[SignedBytes]]:
        """Return the response and every part that has arrived. ``nonce``: of the question.

        Raise ControlPlaneUnavailable or ControlPlaneRefused. What was fetched before that is kept.
        """
        if nonce != self._nonce:
            self._nonce, self._parts = nonce, {}
        response = await self._client.ban_question(BanQuestionRequest(question=question))
        for _ in range(len(response.answers)):
            missing = self._missing(response)
            if not missing:
                break
            wanted = tuple(WantedPart(signer=each.signer, part=each.part) for each in missing)
            response = await self._client.ban_question(
                BanQuestionRequest(question=question, wanted=wanted)
            )
            fetched = {
                (each.signer, each.part): each
                for each in response.answers
                if each.answer is not None
            }
            self._parts |= fetched
        arrived = {(each.signer, each.part) for each in response.answers}
        self._parts = {place: part for place, part in self._parts.items() if place in arrived}
        return response, [part.answer for part in self._parts.values() if part.answer is not None]

    def _missing(self, response: BanQuestionResponse) -> list[ArrivedPart]:
        """Return the next parts that were not fetched, or that another has replaced since."""
        missing = []
        for each in response.answers:
            kept = self._parts.get((each.signer, each.part))
            if kept is None or kept.received_at != each.received_at:
                missing.append(each)
        return missing[:MAX_WANTED_PARTS]
