"""Who tried to learn something of an ECDSA key never gets to try again, with whomever it met."""

import asyncio
import itertools
from typing import Any

import pytest

import mpc.handlers.signing
from custody.wire.algorithms import ECDSA_SECP256K1
from mpc._native import Signing
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.lying import Liars, Lie, changed
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import Parties, ended, wanted
from tests.integration.ceremonies.test_whole_paths import approve_repair, child_order
from tests.unit.mpc.native.lies import flip

HONEST, LIAR, THIRD = "signer-1", "signer-2", "signer-3"
EXTRACTION = changed("private", flip(-1))
"""A wrong check of the OT extension: each tests one bit of a secret that all signatures share."""


@pytest.fixture
def liars(monkeypatch: pytest.MonkeyPatch) -> Liars:
    return Liars(monkeypatch)


class SecondPhases:
    """Counts those that a signer, by its index, has been in: in all, and at once."""

    def __init__(self, patch: pytest.MonkeyPatch, index: int) -> None:
        self.begun = 0
        self.most_at_once = 0
        self._now = 0
        counts = self

        class Counted:
            def __init__(self, share: Any, *arguments: Any) -> None:
                self._session = Signing(share, *arguments)
                self._is_ours = share.index == index
                self._steps = 0

            def advance(self, incoming: Any) -> Any:
                self._steps += 1
                if not self._is_ours or self._steps != 1:
                    return self._session.advance(incoming)
                counts.begun += 1
                counts._now += 1
                counts.most_at_once = max(counts.most_at_once, counts._now)
                try:
                    return self._session.advance(incoming)
                finally:
                    counts._now -= 1

            def __getattr__(self, name: str) -> Any:
                return getattr(self._session, name)

        patch.setattr(mpc.handlers.signing, "Signing", Counted)


async def extract(parties: Parties, key: Key, liars: Liars) -> None:
    """The liar tests one bit, and is banned."""
    liars.lies(parties[LIAR], Lie(1, words=EXTRACTION))
    outcomes = await parties.hold(orders.sign(key, [HONEST, LIAR], wanted(key)))
    assert ended(outcomes[HONEST]) == ("banned_counterparty", (LIAR,))
    liars.tells_the_truth(parties[LIAR])


async def refused(parties: Parties, order: orders.Order) -> set[str]:
    """Who refuses because of a ban; of the others none has a result."""
    outcomes = await parties.hold(order)
    endings = {name: ended(outcome)[0] for name, outcome in outcomes.items()}
    assert set(endings.values()) <= {"banned_counterparty", "peer_aborted"}
    return {name for name, code in endings.items() if code == "banned_counterparty"}


ON_A_SLOW_MACHINE = ("peer_silent", "delivery_unavailable")
"""How some of hundreds of sessions at once may end: without a result too."""


@pytest.mark.timeout(180)
async def test_three_hundred_lying_sessions_at_once_test_no_more_than_one_bit(
    with_key, liars, monkeypatch
):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases = SecondPhases(monkeypatch, index=1)
    liars.lies(parties[LIAR], Lie(1, words=EXTRACTION))
    quorum = [HONEST, LIAR]
    attempts = [orders.sign(key, quorum, wanted(key)).until(120) for _ in range(300)]
    outcomes = await asyncio.gather(*(parties.hold(attempt) for attempt in attempts))
    codes = [ended(each[HONEST])[0] for each in outcomes]
    assert "banned_counterparty" in codes
    assert set(codes) <= {"banned_counterparty", "peer_aborted", *ON_A_SLOW_MACHINE}
    assert (phases.begun, phases.most_at_once) == (1, 1)
    assert await parties[HONEST].rows("SELECT FROM in_flight") == []

    liars.tells_the_truth(parties[LIAR])
    await refused(parties, orders.sign(key, quorum, wanted(key)))
    assert phases.begun == 1
    for others in ((HONEST, THIRD), (LIAR, THIRD)):
        await parties.sign(key, others)


async def test_honest_sessions_with_one_counterparty_go_through_one_after_the_other(
    with_key, monkeypatch
):
    parties, key = await with_key(ECDSA_SECP256K1)
    phases = SecondPhases(monkeypatch, index=1)
    await asyncio.gather(*(parties.sign(key, [HONEST, LIAR]) for _ in range(8)))
    assert (phases.begun, phases.most_at_once) == (8, 1)


async def test_the_banned_pair_never_works_together_again_and_the_others_sign(with_key, liars):
    parties, key = await with_key(ECDSA_SECP256K1)
    await extract(parties, key, liars)
    assert HONEST in await refused(parties, orders.sign(key, [HONEST, LIAR], wanted(key)))
    assert HONEST in await refused(parties, child_order(key, (0, 1), wanted(key)))
    assert HONEST in await refused(parties, orders.refresh(key))
    for helper in (HONEST, LIAR):
        await approve_repair(parties[helper], key, THIRD)
    await parties[THIRD].rows("UPDATE shares SET state = 'retired', data_key = NULL,"
                              " ciphertext = NULL, encryption_key = NULL")  # fmt: skip
    assert HONEST in await refused(parties, orders.repair(key, THIRD, [HONEST, LIAR]))


async def test_every_pair_but_the_banned_one_signs(with_key, liars):
    parties, key = await with_key(ECDSA_SECP256K1)
    await extract(parties, key, liars)
    for quorum in itertools.combinations(key.signers, 2):
        if set(quorum) == {HONEST, LIAR}:
            await refused(parties, orders.sign(key, quorum, wanted(key)))
        else:
            await parties.sign(key, quorum)


async def test_a_ban_that_a_restored_database_lacks_is_learned_from_a_peer(with_key, liars):
    parties, key = await with_key(ECDSA_SECP256K1)
    await extract(parties, key, liars)
    await parties.sign(key, [HONEST, THIRD])  # hears of it
    await parties[HONEST].rows("DELETE FROM bans")
    await parties.sign(key, [HONEST, THIRD])  # tells it again
    (ban,) = await parties[HONEST].bans.all()
    assert (ban.signer, ban.banned) == (HONEST, LIAR)
    assert HONEST in await refused(parties, orders.sign(key, [HONEST, LIAR], wanted(key)))


async def test_bans_are_of_one_key_alone(with_key, liars):
    parties, key = await with_key(ECDSA_SECP256K1)
    await extract(parties, key, liars)
    other = await parties.make_key(Key(ECDSA_SECP256K1, 2, (HONEST, LIAR)))
    await parties.sign(other)
