"""A signer that spoils what it shares with one other: the key that they make is never used.

DKLs23 has a set-up for each pair, which no transcript covers. All confirm the key, and quorums
without the pair sign with it.
"""

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1
from custody.wire.outcomes import OutcomeStatus
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.lying import Liars, Lie, changed
from tests.integration.ceremonies.orders import Key
from tests.integration.ceremonies.parties import NAMES, abandonment, confirmations, ended
from tests.unit.mpc.native.lies import flip

HONEST, LIAR, THIRD = NAMES[:3]
NONCE = 4_815
"""The last byte of the multiplication's nonce in exchange 3's private message."""


@pytest.fixture
def liars(monkeypatch: pytest.MonkeyPatch) -> Liars:
    return Liars(monkeypatch)


async def test_who_spoils_the_set_up_with_one_other_makes_no_key_that_comes_into_use(start, liars):
    parties = await start(3)
    order = orders.generate(Key(ECDSA_SECP256K1, 2, NAMES[:3]))
    lie = Lie(3, words=changed("private", flip(NONCE), only_to=HONEST))
    liars.lies(parties[LIAR], lie)
    confirmed = confirmations(await parties.hold(order))
    assert lie.told == {HONEST}
    liars.tells_the_truth(parties[LIAR])
    wanted = Key(ECDSA_SECP256K1, 2, NAMES[:3], id=order.job.key.id)
    key = parties.confirmed_key(wanted, order, confirmed)
    for pair in ((HONEST, THIRD), (LIAR, THIRD)):
        outcomes = await parties.hold(orders.prove(key, pair))
        assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}
    outcomes = await parties.hold(orders.prove(key, (HONEST, LIAR)))
    assert ended(outcomes[HONEST]) == ("ceremony_aborted", (LIAR,))
    promised = await parties.hold(orders.promise(key, confirmed), [HONEST])
    assert ended(promised[HONEST]) == ("not_proved", ())
    assert LIAR in (promised[HONEST].reason or "")
    assert THIRD not in (promised[HONEST].reason or "")
    assert await parties[HONEST].states(key) == ["confirmed"]
    abandonment((await parties.hold(orders.abandon(key, order.ceremony), [HONEST]))[HONEST])
    assert await parties[HONEST].states(key) == ["abandoned"]
