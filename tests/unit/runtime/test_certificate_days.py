"""When a certificate or a CRL counts as ending soon."""

from datetime import UTC, datetime, timedelta

import pytest

from custody.runtime.certificate_days import Role, Validity, fewest_days
from custody.runtime.certificate_settings import CertificatesSection

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = CertificatesSection()


def validity(role: Role, life: timedelta, left: timedelta) -> Validity:
    return Validity(role, "CN=it", NOW + left - life, NOW + left)


@pytest.mark.parametrize(
    ("role", "life", "limit"),
    [
        (Role.LEAF, timedelta(days=90), timedelta(days=14)),
        (Role.CRL, timedelta(days=30), timedelta(days=10)),
        (Role.INTERMEDIATE, timedelta(days=1825), timedelta(days=60)),
        (Role.ROOT, timedelta(days=3650), timedelta(days=60)),
        (Role.LEAF, timedelta(hours=24), timedelta(hours=8)),
        (Role.ROOT, timedelta(days=30), timedelta(days=10)),
    ],
)
def test_the_limit_is_days_or_a_third_of_a_shorter_life(
    role: Role, life: timedelta, limit: timedelta
):
    moment = timedelta(seconds=1)
    assert not validity(role, life, limit).is_due(NOW, LIMITS)
    assert validity(role, life, limit - moment).is_due(NOW, LIMITS)


def test_a_limit_of_no_days_still_names_what_has_ended():
    limits = CertificatesSection(leaf_days=0)
    assert not validity(Role.LEAF, timedelta(days=90), timedelta()).is_due(NOW, limits)
    assert validity(Role.LEAF, timedelta(days=90), -timedelta(seconds=1)).is_due(NOW, limits)


def test_the_problem_says_which_end_has_come():
    assert (
        validity(Role.LEAF, timedelta(days=90), timedelta(days=2)).problem(NOW)
        == "the leaf CN=it ends at 2026-03-03 00:00 UTC"
    )
    assert (
        validity(Role.CRL, timedelta(days=30), -timedelta(days=1)).problem(NOW)
        == "the CRL of CN=it ended at 2026-02-28 00:00 UTC"
    )


def test_each_role_has_the_days_of_its_first_end():
    found = [validity(Role.ROOT, timedelta(days=90), timedelta(days=days)) for days in (20, 5, 30)]
    leaf = validity(Role.LEAF, timedelta(days=1), -timedelta(hours=12))
    assert fewest_days([*found, leaf], NOW) == {Role.ROOT: 5, Role.LEAF: -0.5}
