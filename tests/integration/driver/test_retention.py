"""`hsm-driver retention`: one setting for the group's journal, with its audit record."""

import json
from collections.abc import Callable

from typer.testing import Result

Run = Callable[..., Result]


def shown(run: Run) -> dict[str, object]:
    found: dict[str, object] = json.loads(run("retention", "show", "--json").stdout)
    return found


def test_the_setting_is_changed_with_a_record(run: Run):
    assert (shown(run)["days"], shown(run)["operator"]) == (90, None)
    done = run("retention", "set", 30, "--reason", "ticket 31")
    assert done.exit_code == 0, done.output
    assert (shown(run)["days"], shown(run)["days_until_deletion"]) == (30, 90)
    assert shown(run)["reason"] == "ticket 31"


def test_a_retention_shorter_than_a_jobs_life_is_refused(run: Run):
    done = run("retention", "set", 1, "--reason", "ticket 31")
    assert done.exit_code == 1
    assert "a job may live for one day" in done.stderr
    assert shown(run)["days"] == 90
