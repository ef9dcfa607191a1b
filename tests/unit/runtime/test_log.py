"""Logs go to stderr, and nothing ends because stderr is gone."""

import io
import json
import sys

import pytest
import structlog
from structlog.testing import capture_logs

from custody.runtime import log


@pytest.fixture
def logger():
    log.configure("info", text=False)
    return structlog.get_logger()


def test_a_line_is_one_json_object(logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logger.warning("job refused", job="123")
    line = json.loads(stderr.getvalue())
    assert (line["event"], line["level"], line["job"]) == ("job refused", "warning", "123")


def test_what_is_below_the_level_is_left_out(logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    logger.debug("detail")
    assert stderr.getvalue() == ""


def test_what_a_logger_wrote_before_does_not_fix_where_it_writes(logger) -> None:
    logger.info("first")
    with capture_logs() as logs:
        logger.info("second")
    assert [entry["event"] for entry in logs] == ["second"]


def test_a_closed_stderr_ends_nothing(logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    logger.error("nobody hears this")


def test_a_broken_pipe_ends_nothing(logger, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    logger.error("nobody hears this")


def test_an_error_is_told_with_its_traceback(logger, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    try:
        raise LookupError("gone")
    except LookupError:
        logger.exception("failed")
    assert "LookupError: gone" in json.loads(stderr.getvalue())["exception"]
