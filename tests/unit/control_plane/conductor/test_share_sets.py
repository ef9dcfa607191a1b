"""What the statements of signers say about a set of shares."""

from dataclasses import replace
from uuid import uuid4

import pytest

from custody.control_plane.conductor.planning.facts import Ending
from custody.control_plane.conductor.planning.obstacles import WAITING, waiting
from custody.control_plane.conductor.planning.share_sets import (
    ShareSet,
    coming_set,
    dissenters,
    is_used,
    set_in_use,
    share_sets,
)
from custody.wire.algorithms import EDDSA_ED25519
from custody.wire.jobs import JobKind
from tests.made_up_keys import made_up_key
from tests.unit.control_plane.conductor.stories import (
    PUBLIC_KEY,
    THREE,
    activated,
    cannot,
    confirmed,
    failed,
    further,
    generate,
    in_the_way,
    made,
    promised,
    sign,
    step,
)


def the_set(*steps) -> ShareSet:
    (found,) = share_sets(generate(steps))
    return found


def test_a_key_without_shares_has_no_set_in_use():
    request = generate()
    assert set_in_use(request) == request.in_use
    assert request.in_use.share_set_id is None


def test_no_set_is_coming_before_all_have_promised_it():
    confirming = made({signer: confirmed(signer) for signer in THREE})
    promising = step(
        JobKind.PROMISE,
        {signer: promised(signer) for signer in THREE},
        share_set_id=confirming.share_set_id,
    )
    some = step(JobKind.ACTIVATE_KEY, {"a": activated("a")}, share_set_id=confirming.share_set_id)
    every = step(
        JobKind.ACTIVATE_KEY,
        {signer: activated(signer) for signer in THREE},
        share_set_id=confirming.share_set_id,
    )
    assert coming_set(generate((confirming,))) is None
    coming = coming_set(generate((confirming, promising)))
    assert coming is not None
    assert coming.id == confirming.share_set_id
    assert coming_set(generate((confirming, promising, some))) is not None
    assert coming_set(generate((confirming, promising, every))) is None


def test_what_the_users_of_a_set_attest_is_read_from_the_first_of_them():
    confirming = made({signer: confirmed(signer) for signer in THREE})
    using = step(JobKind.ACTIVATE_KEY, {"b": activated("b")}, share_set_id=confirming.share_set_id)
    attested = the_set(confirming, using).attested()
    assert (attested.node, attested.public_key) == ("b", PUBLIC_KEY)


def test_only_sets_that_signers_name_as_pending_in_the_last_attempt_are_in_the_way():
    earlier, later = uuid4(), uuid4()
    tries = [
        made({"a": in_the_way(earlier)}, ending=Ending.FAILED),
        made({"a": in_the_way(later), "b": further(uuid4(), 3)}, ending=Ending.FAILED),
    ]
    found = share_sets(generate(tuple(tries)))
    assert [each.id for each in found] == [later, *(each.id for each in tries)]
    assert [each.is_foreign for each in found] == [True, False, False]


def test_a_set_is_unsettled_from_the_end_of_its_step_until_it_is_settled():
    steps = (made({}), replace(made({}), is_unsettled=False), made({}, ending=None))
    assert [each.is_unsettled for each in share_sets(generate(steps))] == [True, False, False]


def test_t_users_are_enough_where_the_others_have_lost_their_shares():
    confirming = made({signer: confirmed(signer) for signer in THREE})
    told = {"a": activated("a"), "b": activated("b"), "c": cannot("no_share")}
    using = step(JobKind.ACTIVATE_KEY, told, share_set_id=confirming.id)
    assert is_used(generate((confirming, using)), the_set(confirming, using))


def test_a_signer_that_never_proved_a_set_may_say_so():
    confirming = made({signer: confirmed(signer) for signer in THREE})
    asked = step(JobKind.PROMISE, {"a": failed("not_proved")}, share_set_id=confirming.id)
    assert the_set(confirming, asked).proved_with == {}


@pytest.mark.parametrize(
    ("kind", "done"), [(JobKind.PROMISE, promised), (JobKind.ACTIVATE_KEY, activated)]
)
def test_a_signer_that_does_what_it_failed_at_has_not_failed(kind, done):
    confirming = made({signer: confirmed(signer) for signer in THREE})
    first = step(kind, {"a": failed(), "b": failed()}, share_set_id=confirming.id)
    again = step(kind, {"a": done("a")}, share_set_id=confirming.id)
    assert the_set(confirming, first, again).failed == {"b"}


def said(keys: dict[str, bytes]):
    return the_set(made({signer: confirmed(signer, key) for signer, key in keys.items()})).said()


def test_signers_that_agree_have_no_dissenters():
    assert dissenters(said(dict.fromkeys(THREE, PUBLIC_KEY))) is None


def test_a_minority_dissents():
    assert dissenters(
        said({"a": PUBLIC_KEY, "b": PUBLIC_KEY, "c": made_up_key(EDDSA_ED25519, 2)})
    ) == ("c",)


def test_nobody_is_named_where_no_version_has_a_majority():
    assert dissenters(said({"a": PUBLIC_KEY, "b": made_up_key(EDDSA_ED25519, 2)})) == ()


def test_signers_that_are_there_and_banned_from_each_other_are_not_called_away():
    pair = frozenset(("a", "b"))
    reason = waiting(sign(), 2, ["a", "b"], {pair}).reason
    assert (reason.code, reason.text) == (WAITING, "1 of the 2 signers needed are there")
