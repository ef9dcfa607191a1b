"""How many keys a rewrap does at once, and how long it waits: no clock is needed."""

import pytest

from hsm_driver.rewrap import BATCH, batch_size, pause_seconds


@pytest.mark.parametrize(
    ("rate", "size"), [(None, BATCH), (0.01, 1), (1, 1), (2.9, 2), (20, 20), (100_000, BATCH)]
)
def test_a_batch_has_at_most_the_keys_of_one_second(rate: float | None, size: int):
    assert batch_size(rate) == size


@pytest.mark.parametrize("rate", [0.01, 0.5, 1, 3, 20, 99.5, 5000])
@pytest.mark.parametrize("took", [0.0, 0.2, 30.0])
def test_no_batch_is_faster_than_the_rate(rate: float, took: float):
    keys = batch_size(rate)
    pause = pause_seconds(keys, rate, took)
    assert pause >= 0
    assert took + pause == pytest.approx(max(took, keys / rate))


def test_a_slow_batch_is_not_made_up_for_by_the_next_one():
    assert pause_seconds(10, 10, 60) == 0
    assert pause_seconds(10, 10, 0.25) == 0.75


def test_without_a_rate_nothing_waits():
    assert pause_seconds(BATCH, None, 0) == 0
