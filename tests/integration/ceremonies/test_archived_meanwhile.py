"""A key that is archived while its signers sign: none of them sends its last message."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, SCHNORR_SECP256K1, Algorithm
from custody.wire.signed_bytes import SignedBytes
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.parties import Party, ended, wanted
from tests.integration.ceremonies.test_archived_keys import assert_archived, done


class Exchanges:
    """Notes the exchanges of a signer, and holds its messages back in one of them."""

    def __init__(self, party: Party, patch: pytest.MonkeyPatch, held_back: int = -1) -> None:
        self.begun: list[int] = []
        self.is_held_back = asyncio.Event()
        self.let_go = asyncio.Event()
        hand_in = party.delivery.exchange

        async def exchange(
            server: str, ticket: SignedBytes, number: int, outgoing: Mapping[str, bytes], *more: Any
        ) -> dict[str, bytes]:
            self.begun.append(number)
            if number == held_back:
                self.is_held_back.set()
                await self.let_go.wait()
            return await hand_in(server, ticket, number, outgoing, *more)

        patch.setattr(party.delivery, "exchange", exchange)


@pytest.mark.parametrize(
    ("algorithm", "last"),
    [(EDDSA_ED25519, 1), (SCHNORR_SECP256K1, 1), (ECDSA_SECP256K1, 3)],
    ids=str,
)
async def test_a_signer_that_holds_back_its_message_gets_no_signature_once_the_key_is_archived(
    with_key, monkeypatch: pytest.MonkeyPatch, algorithm: Algorithm, last: int
):
    """Its commit asks only its own database. So the others must not send their last messages."""
    parties, key = await with_key(algorithm)
    honest, liar, third = key.signers
    of_liar = Exchanges(parties[liar], monkeypatch, held_back=last - 1)
    of_honest = Exchanges(parties[honest], monkeypatch)
    signing = asyncio.create_task(parties.hold(orders.sign(key, (honest, liar), wanted(key))))
    await asyncio.wait_for(of_liar.is_held_back.wait(), 20)
    await done(parties, orders.archive(key.reference()), (honest, third))
    of_liar.let_go.set()
    outcomes = await signing
    assert_archived({honest: outcomes[honest]})
    assert ended(outcomes[liar])[0] == "peer_aborted"
    assert of_honest.begun == list(range(last))
