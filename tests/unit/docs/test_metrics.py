"""The reference of metrics has each metric of the source."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
METRIC = re.compile(r'\b(Counter|Gauge|Histogram)\(\s*"(custody_\w+)"')


def test_each_metric_of_the_source_is_on_the_page():
    page = (ROOT / "docs/reference/metrics.md").read_text("utf-8")
    made = {
        name
        for package in ("custody", "hsm_driver", "mpc")
        for file in (ROOT / package).rglob("*.py")
        for _, name in METRIC.findall(file.read_text("utf-8"))
    }
    assert len(made) > 40
    named = set(re.findall(r"^\| `(custody_\w+)`", page, re.MULTILINE))
    assert {name for name in made if not {name, f"{name}_total"} & named} == set()
