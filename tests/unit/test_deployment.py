"""What deploy/ has fits the commands and the source that are there."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALL_UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
UNITS = [unit for unit in ALL_UNITS if not unit.stem.endswith("-backup")]
BACKUP_UNITS = [unit for unit in ALL_UNITS if unit.stem.endswith("-backup")]
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
PROMTOOL = ROOT / "build/promtool/usr/bin/promtool"
"""`make test` unpacks it."""


def command_of(unit: Path) -> list[str]:
    (line,) = re.findall(r"^ExecStart=/opt/custody/bin/(.*)$", unit.read_text(), re.MULTILINE)
    return str(line).split()


def test_there_is_a_unit_for_each_daemon():
    assert [unit.stem for unit in UNITS] == [
        "control-plane",
        "hsm-driver",
        "mpc-delivery",
        "mpc-signer",
    ]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_a_command_that_is_there(unit: Path):
    name, *words = command_of(unit)
    assert name == unit.stem
    program = Path(sys.executable).parent / name
    done = subprocess.run([program, *words, "--help"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_has_a_user_of_its_own(unit: Path):
    users = (ROOT / "deploy/systemd/custody.sysusers").read_text()
    (user,) = re.findall(r"^User=(.*)$", unit.read_text(), re.MULTILINE)
    assert user == unit.stem
    assert re.search(rf"^u {user}\s", users, re.MULTILINE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_hears_from_a_daemon_and_has_it_read_its_certificates_again(unit: Path):
    text = unit.read_text()
    assert "\nType=notify\nNotifyAccess=main\n" in text
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in text
    assert "\nWatchdogSec=60\n" in text


def test_each_daemon_with_a_database_has_a_nightly_backup():
    names = ["control-plane", "hsm-driver", "mpc-signer"]
    assert [unit.stem for unit in BACKUP_UNITS] == [f"{name}-backup" for name in names]
    for unit, name in zip(BACKUP_UNITS, names, strict=True):
        commands = re.findall(r"^ExecStart=/opt/custody/bin/(.*)$", unit.read_text(), re.MULTILINE)
        assert commands == [f"{name} backup create", f"{name} backup prune"]
        assert f"User={name}\n" in unit.read_text()
        assert "OnCalendar=" in unit.with_suffix(".timer").read_text()


RULES = sorted((ROOT / "deploy/prometheus").glob("*.yml"))

RULES_TEST = """
rule_files: [{rules}]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - series: 'pg_up{{job="custody-postgresql", instance="one"}}'
        values: '1x40'
      - series: 'pg_stat_replication_pg_wal_lsn_diff{{job="custody-postgresql", state="streaming"}}'
        values: '0x10 _x30'
    alert_rule_test:
      - {{eval_time: 4m, alertname: CustodyStandbyMissing, exp_alerts: []}}
      - eval_time: 19m
        alertname: CustodyStandbyMissing
        exp_alerts:
          - exp_labels: {{severity: page, job: custody-postgresql, state: streaming}}
            exp_annotations:
              summary: "no standby of custody-postgresql streams: commits wait for it, and the
                daemons stop working"
              action: "SELECT * FROM pg_stat_replication on the primary; start the standby, or
                replace it"
      - {{eval_time: 19m, alertname: CustodyPostgresExporterMissing, exp_alerts: []}}
"""


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: rules.stem)
def test_prometheus_understands_the_rules(rules: Path):
    done = subprocess.run(
        [PROMTOOL, "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_missing_standby_is_an_alert(tmp_path: Path):
    test = tmp_path / "test.yml"
    test.write_text(RULES_TEST.format(rules=ROOT / "deploy/prometheus/standby.yml"))
    done = subprocess.run(
        [PROMTOOL, "test", "rules", test], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def board_expressions() -> list[str]:
    board = json.loads((ROOT / "deploy/grafana/custody.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def test_prometheus_understands_the_board(tmp_path: Path):
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(board_expressions())
    ]
    assert len(rules) > 20
    file = tmp_path / "board.yml"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))
    done = subprocess.run(
        [PROMTOOL, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def exported(page: str) -> set[str]:
    """Return the names of all time series. `make reference` writes the page from the registries."""
    names = set()
    for name, kind in re.findall(r"^\| `(custody_\w+)` \| (\w+) \|", page, re.MULTILINE):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + suffix for suffix in suffixes}
    return names


def test_rules_and_board_name_metrics_that_exist():
    names = exported((ROOT / "docs/reference/metrics.md").read_text("utf-8"))
    rules = "".join(file.read_text("utf-8") for file in RULES)
    expressions = re.findall(r"^ +expr: (.*)$", rules, re.MULTILINE)
    assert len(expressions) > 20
    named = set(re.findall(r"custody_[a-z0-9_]+", " ".join([*expressions, *board_expressions()])))
    assert named - names == set()


def alarms_of_the_page() -> list[str]:
    page = (ROOT / "docs/how-to/watch.md").read_text("utf-8")
    alarms = page[page.index("## Set alarms") : page.index("## What the status")]
    return [line.split("|")[1] for line in alarms.splitlines() if line.startswith("|")]


def test_the_page_has_each_alarm_of_a_rule_with_its_limit_of_days():
    rows = alarms_of_the_page()
    for name in ("daemons", "backups"):
        rules = (ROOT / f"deploy/prometheus/{name}.yml").read_text("utf-8")
        for expression in re.findall(r"^ +expr: (.*)$", rules, re.MULTILINE):
            for metric in set(re.findall(r"custody_[a-z_]+", expression)):
                row = " ".join(row for row in rows if re.search(rf"\b{metric}\b", row))
                assert row, f"no alarm of {metric} on the page"
                if metric.endswith("days_left"):
                    limits = re.findall(r"< (\d+)", expression)
                    assert re.findall(r"below (\d+)", row) == limits


def test_a_rule_names_only_routes_that_the_api_has():
    rules = "".join(file.read_text("utf-8") for file in RULES)
    api = (ROOT / "docs/reference/http-api.md").read_text("utf-8")
    routes = re.findall(r"GET /v1/[^\s\";,]+", rules)
    assert routes
    assert [route for route in routes if f"### `{route}`" not in api] == []


def test_each_alarm_of_the_page_has_a_rule():
    rows = alarms_of_the_page()
    named = set(re.findall(r"custody_[a-z_]+", " ".join(rows)))
    rules = "".join(file.read_text("utf-8") for file in RULES)
    assert {name for name in named if name not in rules} == set()
    assert len(named) > 15


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="there is no systemd here")
@pytest.mark.parametrize("unit", ALL_UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_a_unit(unit: Path, tmp_path: Path):
    assert SYSTEMD_ANALYZE is not None
    installed = tmp_path / unit.name
    installed.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    done = subprocess.run(
        [SYSTEMD_ANALYZE, "verify", "--man=no", installed],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="there is no systemd here")
@pytest.mark.parametrize("unit", BACKUP_UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_a_timer_and_the_documented_credentials(unit: Path, tmp_path: Path):
    assert SYSTEMD_ANALYZE is not None
    page = (ROOT / "docs/how-to/systemd.md").read_text("utf-8")
    drop_ins = re.findall(r"^```ini\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert len(drop_ins) == 2
    extra = tmp_path / f"{unit.name}.d"
    extra.mkdir()
    runnable = re.compile(r"(?m)^ExecStart=\S+")
    for number, text in enumerate(drop_ins):
        (extra / f"{number}.conf").write_text(runnable.sub("ExecStart=/bin/true", text))
    (tmp_path / unit.name).write_text(runnable.sub("ExecStart=/bin/true", unit.read_text()))
    timer = unit.with_suffix(".timer")
    shutil.copy(timer, tmp_path)
    done = subprocess.run(
        [SYSTEMD_ANALYZE, "verify", "--man=no", tmp_path / timer.name, tmp_path / unit.name],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_is_built_from_all_packages():
    """Both wheels are made of files that .containerignore lets in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert set(project["tool"]["maturin"]["python-packages"]) <= let_in
    assert {project["project"]["readme"], *project["project"]["license-files"]} <= let_in
    client = tomllib.loads((ROOT / "deploy/custody-client/pyproject.toml").read_text())
    for name in client["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        source = (ROOT / "deploy/custody-client" / name).resolve().relative_to(ROOT)
        assert source.parts[0] in let_in
    assert all((ROOT / name).exists() for name in let_in)


def test_the_image_copies_what_is_there():
    text = (ROOT / "deploy/Containerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources)
