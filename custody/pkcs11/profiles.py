"""What is known of HSMs of several vendors: profiles.toml, beside this file."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = Path(__file__).with_name("profiles.toml")
TESTED = "tested"
"""In place of a source: our own tests, or a trial, showed it."""


class Profile(BaseModel):
    """An HSM. ``module``: the usual path. ``settings``: recommended lines of [hsm].

    ``facts``: subject, statement, and its source: a number in ``sources``, from 1, or TESTED.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    status: Literal["tested here", "from the vendor's documents"]
    module: str | None = None
    settings: tuple[str, ...]
    sources: tuple[str, ...]
    facts: Annotated[tuple[tuple[str, str, str], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_sources(self) -> "Profile":
        for _, statement, source in self.facts:
            if source != TESTED and not 1 <= int(source) <= len(self.sources):
                raise ValueError(f"{statement!r} has no source")
        return self

    @property
    def lines(self) -> list[str]:
        """Return the lines of [hsm]: the usual module, and the settings."""
        return [*([] if self.module is None else [f'module = "{self.module}"']), *self.settings]

    def source_of(self, number: str) -> str:
        """Return what says a fact, for people."""
        return "tested here" if number == TESTED else self.sources[int(number) - 1]


@cache
def profiles() -> dict[str, Profile]:
    """Return all profiles by name."""
    found = tomllib.loads(FILE.read_text("utf-8"))
    return {name: Profile.model_validate(each) for name, each in found.items()}
