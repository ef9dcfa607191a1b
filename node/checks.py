"""One line of `doctor`."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is, and (unless ok) what to do about it."""

    name: str
    status: Status
    detail: str
    todo: str | None = None
