"""Logs for machines: one JSON object a line on stderr, whoever writes it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from daemon import log
from daemon.errors import ConfigurationError

PROGRAM = """
import logging, structlog
from daemon import log
log.configure({level!r}, text=False)
structlog.get_logger().debug("a detail")
structlog.get_logger().info("driver started", node="node-1")
logging.getLogger("a.library").info("chatter")
logging.getLogger("a.library").warning("running low on %s", "ink")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("handler failed")
"""


def lines(level: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_each_line_is_an_object_with_event_level_and_time():
    logged = lines("info")
    assert [line["event"] for line in logged] == [
        "driver started",
        "running low on ink",
        "handler failed",
    ]
    assert [line["level"] for line in logged] == ["info", "warning", "error"]
    assert all(line["timestamp"].endswith("Z") for line in logged)
    assert logged[0]["node"] == "node-1"
    assert "ZeroDivisionError" in logged[2]["exception"]


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("warning", 2), ("error", 1)])
def test_the_level_is_a_threshold(level, count):
    assert len(lines(level)) == count


@pytest.mark.parametrize("level", ["loud", "", "INFO"])
def test_another_level_is_an_operators_error(level):
    with pytest.raises(ConfigurationError) as caught:
        log.configure(level)
    assert caught.value.todo == "Write one of debug, info, warning, error."
