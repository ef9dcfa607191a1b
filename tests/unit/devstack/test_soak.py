"""The judgement of a soak run: growth between thirds, and an account of every request."""

import pytest

from devstack.soak.judgement import (
    DESCRIPTORS,
    LATENCY,
    MEMORY,
    PROCESSOR,
    WORK,
    Account,
    Bound,
    Sample,
    Stored,
    Told,
    account,
    growth,
)
from devstack.soak.run import Report

MEBIBYTE = 2**20


def over_time(*values: float) -> list[Sample]:
    """Samples that are one second apart."""
    return [Sample(at + 0.5, value) for at, value in enumerate(values)]


def test_the_medians_of_the_first_and_last_third_are_compared():
    found = growth("x", over_time(1, 9, 1, 50, 50, 50, 2, 2, 90), 9, Bound(1.0, 1.0))
    assert (found.first, found.last, found.is_flat) == (1, 2, True)


@pytest.mark.parametrize(
    ("bound", "before", "last_allowed", "grown"),
    [
        (MEMORY, 200 * MEBIBYTE, 240 * MEBIBYTE, 241 * MEBIBYTE),
        (MEMORY, 20 * MEBIBYTE, 36 * MEBIBYTE, 37 * MEBIBYTE),
        (DESCRIPTORS, 30, 38, 39),
        (DESCRIPTORS, 200, 220, 221),
        (LATENCY, 0.2, 0.3, 0.31),
        (LATENCY, 0.01, 0.03, 0.04),
        (LATENCY.times(2.0), 0.2, 0.6, 0.61),
        (PROCESSOR, 1.0, 1.3, 1.31),
        (PROCESSOR, 0.1, 0.2, 0.21),
    ],
)
def test_a_factor_or_an_amount_of_growth_is_allowed(
    bound: Bound, before: float, last_allowed: float, grown: float
):
    assert growth("x", over_time(before, 0, last_allowed), 3, bound).is_flat
    assert not growth("x", over_time(before, 0, grown), 3, bound).is_flat


@pytest.mark.parametrize(("last", "slowdown"), [(0.01, 1.0), (0.02, 1.0), (0.05, 2.5)])
def test_the_machine_may_slow_down_and_its_slowdown_is_told(last: float, slowdown: float):
    machine = growth("x", over_time(0.02, 0, last), 3, WORK)
    assert machine.is_flat
    assert machine.slowdown == slowdown


def test_without_samples_of_the_machine_nothing_is_excused():
    machine = growth("x", [], 3, WORK)
    assert (machine.is_flat, machine.slowdown) == (False, 1.0)


def test_less_than_before_is_flat():
    assert growth("x", over_time(100, 50, 1), 3, DESCRIPTORS).is_flat


@pytest.mark.parametrize("samples", [[], over_time(1), [Sample(2.5, 1)]])
def test_a_third_without_samples_is_not_flat(samples: list[Sample]):
    assert not growth("x", samples, 3, DESCRIPTORS).is_flat


def test_signed_and_expired_requests_and_those_that_nobody_accepted_are_right():
    told = {"a": Told.SIGNED, "b": Told.ACCEPTED, "c": Told.ENDED, "d": Told.NOTHING}
    stored = [Stored("a", "Signed"), Stored("b", "Signed"), Stored("c", "Failed", "expired")]
    assert account(told, stored) == Account(
        sent=4, signed=2, failed={"expired": 1}, never_accepted=1, problems=[]
    )


@pytest.mark.parametrize(
    ("told", "stored", "problem"),
    [
        (Told.SIGNED, [], "a: lost, after the answer: signed, and verified"),
        (Told.ACCEPTED, [], "a: lost, after the answer: accepted, and not final yet"),
        (Told.ENDED, [], "a: lost, after the answer: ended without a signature"),
        (Told.SIGNED, [Stored("a", "Signed")] * 2, "a: stored 2 times"),
        (Told.NOTHING, [Stored("a", "Pending")], "a: still Pending"),
        (Told.ACCEPTED, [Stored("a", "Executing")], "a: still Executing"),
        (Told.ENDED, [Stored("a", "Failed", "key_damaged")], "a: Failed, key_damaged"),
        (Told.ENDED, [Stored("a", "Rejected")], "a: Rejected, no code"),
        (Told.SIGNED, [Stored("a", "Failed", "expired")], "a: was signed, and is not any more"),
        (
            Told.NOTHING,
            [Stored("a", "Signed", verified=False)],
            "a: its signature does not verify, or is another one now",
        ),
        (
            Told.NOT_VERIFIED,
            [Stored("a", "Signed")],
            "a: signed, but the signature does not verify",
        ),
    ],
)
def test_each_request_that_is_not_right_is_named(told: Told, stored: list[Stored], problem: str):
    assert account({"a": told}, stored).problems == [problem]


def test_a_request_that_nobody_sent_is_named():
    assert account({}, [Stored("z", "Signed")]).problems == ["z: nobody sent it"]


def test_a_run_passes_only_if_everything_is_right():
    right = Account(sent=1, signed=1, failed={}, never_accepted=0, problems=[])
    flat = growth("x", over_time(1, 1, 1), 3, DESCRIPTORS)
    grown = growth("x", over_time(1, 1, 100), 3, DESCRIPTORS)

    def report(**found: object) -> Report:
        return Report(seconds=3, rates={}, **{"accounts": {"hsm": right}, **found})  # type: ignore[arg-type]

    assert report(growths=[flat]).passed
    assert not report(growths=[flat, grown]).passed
    assert not report(problems=["a daemon has ended"]).passed
    nothing_signed = Account(sent=1, signed=0, failed={}, never_accepted=1, problems=[])
    assert not report(accounts={"hsm": nothing_signed}).passed
    lost = Account(sent=1, signed=1, failed={}, never_accepted=0, problems=["a: lost"])
    assert not report(accounts={"hsm": right, "mpc": lost}).passed
