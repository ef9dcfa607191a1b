"""The age of a key that protects other keys, and when its rotation is due."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from custody.node.key_age import KeyAge
from custody.runtime.checks import Status

USED_SINCE = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
AGE = KeyAge("encryption key", "0123", USED_SINCE, rotate_after_days=365)
DUE = USED_SINCE + timedelta(days=365)
SECOND = timedelta(seconds=1)
LATER = DUE + timedelta(days=5000)


@pytest.mark.parametrize(
    ("now", "status"),
    [(USED_SINCE, Status.OK), (DUE, Status.OK), (DUE + SECOND, Status.WARN), (LATER, Status.WARN)],
)
def test_doctor_and_health_warn_as_soon_as_the_key_is_older(now: datetime, status: Status):
    check = AGE.check(now, "commands of the rotation")
    assert (check.name, check.status) == ("encryption key age", status)
    assert "0123 was first used on 2026-01-02" in check.detail
    assert "365" in check.detail
    is_due = status is Status.WARN
    assert check.todo == ("commands of the rotation" if is_due else None)
    assert len(AGE.warnings(now)) == is_due


def test_the_warning_of_the_health_stays_the_same_text():
    """Alarms on a text that changes each day would come again each day."""
    [first], [later] = AGE.warnings(DUE + SECOND), AGE.warnings(LATER)
    assert first == later
    assert "encryption key 0123" in first
    assert "2026-01-02" in first


def test_with_zero_days_the_key_is_never_due():
    never = replace(AGE, rotate_after_days=0)
    assert never.warnings(LATER) == []
    assert never.check(LATER, "commands").status is Status.OK
    assert never.days_left(LATER) is None


def test_a_first_use_in_the_future_is_an_age_of_no_days():
    """The clock of the database, or of this host, was set in between."""
    now = USED_SINCE - timedelta(days=3)
    assert AGE.days(now) == 0
    assert AGE.warnings(now) == []


def days_left(key: str) -> float | None:
    return REGISTRY.get_sample_value("custody_key_rotation_days_left", {"key": key})


def test_the_metric_counts_down_and_has_no_value_without_rotation():
    age = replace(AGE, name="due", used_since=datetime.now(UTC) - timedelta(days=400))
    age.show()
    assert days_left("due") == pytest.approx(-35, abs=0.01)
    replace(age, name="never", rotate_after_days=0).show()
    assert days_left("never") is None
