"""The frame of the drills: which scenarios there are, and what the report says."""

import json
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest

from custody.runtime.errors import OperatorError
from devstack.drills import __main__ as command
from devstack.drills.drill import Drill, DrillFailed
from devstack.drills.report import Result, write_report
from devstack.drills.scenario import Scenario, find_scenarios, select
from devstack.drills.stated_times import Measured, marked, state_times, with_times

PAGES = Path(__file__).parents[3] / "docs" / "how-to" / "recover"
BEGAN = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_scenarios_are_in_the_order_of_their_numbers_and_no_two_have_the_same():
    found = find_scenarios()
    numbers = [scenario.number for scenario in found.values()]
    assert list(found)[:2] == ["driver-host-lost", "driver-host-and-files-lost"]
    assert numbers == sorted(numbers, key=lambda text: (int(text.rstrip("abc")), text))
    assert len(set(numbers)) == len(numbers)


def test_the_runbook_names_every_scenario():
    index = (PAGES / "index.md").read_text()
    assert [name for name in find_scenarios() if f"`{name}`" not in index] == []


def test_an_unknown_scenario_is_refused_with_the_names_of_all():
    found = find_scenarios()
    assert list(select(found, [])) == list(found)
    assert list(select(found, ["driver-host-lost"])) == ["driver-host-lost"]
    with pytest.raises(OperatorError, match="driver-host-lost"):
        select(found, ["driver-hots-lost"])


def result(**other) -> Result:
    values: dict[str, Any] = {
        "number": "4",
        "name": "keys-lost",
        "title": "Keys are lost",
        "passed": True,
        "seconds": 21.4,
        "seconds_to_recover": 2.345,
        "checked": "4 keys, 5 signatures",
        "lost": [],
        "steps": [("LOSS: keys", 0.1)],
    }
    return Result(**(values | other))


def test_the_report_says_what_was_lost_and_what_failed(tmp_path: Path):
    lost = result(lost=["Solana wallet 9abc: Failed: key_not_found"])
    failed = result(number="5", passed=False, lost=None, error="DrillFailed: no signature came")
    write_report(tmp_path, BEGAN, [result(), lost, failed])
    text = (tmp_path / "report.md").read_text()
    assert "1 of 3 failed" in text
    assert "| 2.3 s | nothing |" in text
    assert "1, named below" in text
    assert "- Solana wallet 9abc: Failed: key_not_found" in text
    assert "DrillFailed: no signature came" in text
    written = json.loads((tmp_path / "report.json").read_text())
    assert not written["passed"]
    assert written["scenarios"][1]["lost"] == lost.lost
    assert written["scenarios"][0]["seconds_to_recover"] == 2.345


def passes(drill: Drill) -> None:
    drill.record_losses(["a key"])


def fails(drill: Drill) -> None:
    with drill.step("look"):
        drill.require(False, "the key is another one")


def forgets(drill: Drill) -> None:
    with drill.step("look"):
        pass


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_failed_check_makes_the_command_fail_and_the_others_are_carried_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    at_once: int,
):
    functions = {"fails": fails, "forgets": forgets, "passes": passes}
    scenarios = {name: Scenario("1", name, run) for name, run in functions.items()}
    monkeypatch.setattr(command, "DRILL", tmp_path / "drill")
    monkeypatch.setattr(command, "find_scenarios", lambda: scenarios)
    with pytest.raises(OperatorError, match="these drills failed: fails, forgets"):
        command.drill(names=None, show=False, at_once=at_once)
    report = json.loads((tmp_path / "drill" / "report.json").read_text())
    assert [each["passed"] for each in report["scenarios"]] == [False, False, True]
    assert "the key is another one" in report["scenarios"][0]["error"]
    assert "did not say what was lost" in report["scenarios"][1]["error"]
    shown = capsys.readouterr().out
    assert [shown.count(f"1. {name}") for name in functions] == [2, 2, 2]  # its steps, the table


def notes_its_turn(drill: Drill) -> None:
    with (drill.folder.parent / "turns").open("a") as turns:
        turns.write(f"{drill.folder.name}\n")
    drill.record_losses(["a key"])


@pytest.mark.parametrize(("at_once", "turns"), [(1, ["short", "long"]), (2, ["long", "short"])])
def test_beside_others_a_scenario_that_waits_begins_first_and_keeps_its_place_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, turns: list[str]
):
    scenarios = {
        "short": Scenario("1", "short", notes_its_turn),
        "long": Scenario("2", "long", notes_its_turn, waits=True),
    }
    monkeypatch.setattr(command, "DRILL", tmp_path / "drill")
    monkeypatch.setattr(command, "find_scenarios", lambda: scenarios)
    monkeypatch.setattr(command, "ProcessPoolExecutor", one_worker)
    command.drill(names=None, show=False, at_once=at_once)
    report = json.loads((tmp_path / "drill" / "report.json").read_text())
    assert [each["name"] for each in report["scenarios"]] == ["short", "long"]
    assert (tmp_path / "drill" / "turns").read_text().split() == turns


def one_worker(_: int, context: BaseContext) -> ProcessPoolExecutor:
    """Let no scenario overtake another."""
    return ProcessPoolExecutor(1, context)


def test_a_command_that_must_be_refused_and_is_not_fails_the_drill(tmp_path: Path):
    drill = Drill(tmp_path)

    def refuse() -> None:
        raise OperatorError("the master key is another one", "Find the right one.")

    drill.refused(refuse, "is another one")
    with pytest.raises(DrillFailed, match="does not say"):
        drill.refused(refuse, "expired")
    with pytest.raises(DrillFailed, match="should have failed"):
        drill.refused(lambda: None, "is another one")


MEASURED = Measured(BEGAN, {"hsm-lost": 7.6, "fast": 0.2, "none": None})


def test_a_page_gets_the_times_of_the_report():
    page = (
        "| HSM | 11 s<!-- drill: hsm-lost --> | 5 s | 3.5 s<!-- drill: fast -->, "
        "1 May 2025<!-- drill -->"
    )
    stated = with_times(page, MEASURED)
    assert stated == (
        "| HSM | 8 s<!-- drill: hsm-lost --> | 5 s | 1 s<!-- drill: fast -->, "
        "3 February 2026<!-- drill -->"
    )
    assert with_times(stated, MEASURED) == stated


@pytest.mark.parametrize("name", ["none", "unknown"])
def test_a_time_that_the_report_lacks_is_an_error(name: str):
    with pytest.raises(OperatorError, match=f"no time for {name}"):
        with_times(f"3 s<!-- drill: {name} -->", MEASURED)


def test_no_page_changes_without_a_report_in_which_all_drills_passed(tmp_path: Path):
    page, report = tmp_path / "page.md", tmp_path / "report.json"
    page.write_text("3 s<!-- drill: keys-lost -->")
    with pytest.raises(OperatorError, match="there is no report"):
        state_times(tmp_path, report)
    write_report(tmp_path, BEGAN, [result(), result(name="other", passed=False)])
    with pytest.raises(OperatorError, match="failed: other"):
        state_times(tmp_path, report)
    write_report(tmp_path, BEGAN, [result()])
    (tmp_path / "report.md").unlink()
    assert state_times(tmp_path, report) == [page]
    assert page.read_text() == "2 s<!-- drill: keys-lost -->"


def test_the_pages_state_times_of_scenarios_that_exist():
    docs = PAGES.parents[1]
    named = {name for path in docs.rglob("*.md") for name in marked(path.read_text("utf-8"))}
    assert named <= set(find_scenarios())
    assert len(named) > 10
