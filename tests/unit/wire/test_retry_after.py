"""When to come back."""

import pytest

from custody.wire.retry_after import retry_after

DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30.0),
        ("Sunday, 01-Mar-26 12:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("9" * 400, None),
        ("٧", None),
        ("Sun, 99 Mar 2026 12:00:30 GMT", None),
    ],
)
def test_seconds_and_dates_are_read_and_nothing_else(header, seconds):
    assert retry_after({"retry-after": header, "date": DATE}) == seconds


def test_a_date_without_the_servers_own_counts_from_now():
    waiting = retry_after({"retry-after": "Fri, 01 Mar 2999 12:00:00 GMT"})
    assert waiting is not None
    assert waiting > 10**9
    assert retry_after({}) is None
