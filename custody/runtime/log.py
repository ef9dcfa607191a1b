"""Structured logs: one JSON object a line on stderr, or coloured text on a terminal."""

import contextlib
import logging
import sys
from typing import Any

import structlog

from custody.runtime.errors import ConfigurationError

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str = "info", text: bool | None = None) -> None:
    """Set up structlog's and the standard library's loggers. Raise ConfigurationError."""
    if level not in LEVELS:
        raise ConfigurationError(
            f"there is no log level {level!r}", f"Write one of {', '.join(LEVELS)}."
        )
    as_text = sys.stderr.isatty() if text is None else text
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer()
    )
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=_Stderr,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(numeric, logging.WARNING))


class _Stderr:
    """Writes lines to the current stderr; a closed stderr is ignored."""

    def __init__(self, *_: object) -> None:
        """Ignore the arguments: structlog passes the names that a logger was asked for with."""

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            print(message, file=sys.stderr, flush=True)  # noqa: T201

    debug = info = warning = error = critical = msg
