"""`hsm-driver retention`: one setting for the group's journal, with its audit record."""

import json
from collections.abc import Callable
from pathlib import Path

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


def test_a_configuration_with_the_earlier_setting_names_the_command(run: Run, tmp_path: Path):
    path = tmp_path / "hsm-driver.toml"
    text = path.read_text()
    assert "[loop]" in text
    path.write_text(text.replace("[loop]", "[loop]\njournal_retention_days = 400"))
    done = run("retention", "show")
    assert done.exit_code == 1
    assert "retention set 400" in done.stderr.replace("\n", " ")
