"""A fault of the database at each statement of a signature by signers, in turn."""

import pytest

from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Algorithm
from custody.wire.outcomes import OutcomeStatus
from tests.integration.ceremonies import orders
from tests.integration.ceremonies.parties import check_signature, signature_of, wanted
from tests.integration.outages.broken_statements import BrokenStatements, Fault

MOST = 200


@pytest.mark.parametrize(
    ("algorithm", "fault"),
    [
        (EDDSA_ED25519, Fault.LOST_AFTER),
        (EDDSA_ED25519, Fault.SERIALIZATION),
        (EDDSA_ED25519, Fault.DISK_FULL),
        (ECDSA_SECP256K1, Fault.LOST_AFTER),
    ],
    ids=str,
)
async def test_a_signature_is_made_whole_or_not_at_all_and_the_key_signs_again(
    with_key, monkeypatch: pytest.MonkeyPatch, algorithm: Algorithm, fault: Fault
):
    parties, key = await with_key(algorithm)
    broken = BrokenStatements(monkeypatch)
    trials = 0
    for number in range(1, MOST):
        broken.arm(number, fault)
        request = wanted(key)
        order = orders.sign(key, key.quorum, request)
        outcomes = await parties.hold(order)
        done = [one for one in outcomes.values() if one.status is OutcomeStatus.DONE]
        for each in done:
            check_signature(key, request, signature_of(each))
        for each in outcomes.values():
            assert each.status is OutcomeStatus.DONE or each.transient, (broken.fired, each)
        trials += 1
        if broken.fired is None:
            break
    broken.disarm()
    assert trials > 10, "each of the statements was broken once"
    await parties.sign(key)
    for name in key.quorum:
        party = parties[name]
        assert await party.states(key) == ["active"]
        [found] = await party.rows(
            "SELECT (SELECT count(*) FROM bans) AS bans,"
            " (SELECT count(*) FROM audit) AS records, (SELECT max(sequence) FROM audit) AS last"
        )
        assert (found.bans, found.last) == (0, found.records), "the chain has no hole"
