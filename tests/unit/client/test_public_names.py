"""Applications import from custody.client alone."""

import inspect
import re
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

import custody.client
from custody.client import calls, errors, methods
from custody.client.client import Operations
from custody.wire.resources import Page

ROOT = Path(__file__).parents[3]
PUBLIC = set(custody.client.__all__)


def test_all_names_what_the_package_has_and_nothing_else():
    there = {
        name
        for name, value in vars(custody.client).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert there == PUBLIC
    assert sorted(PUBLIC) == custody.client.__all__


def test_every_error_that_is_raised_can_be_imported():
    raised = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.CustodyError)
    }
    assert raised <= PUBLIC


def test_every_type_that_an_operation_takes_or_returns_can_be_imported():
    used = {
        found
        for function in vars(Operations).values()
        if isinstance(function, methods.Operation | methods.Listing)
        for hint in typing.get_type_hints(function._describe, localns=vars(calls)).values()
        for found in our_types(hint)
    }
    # A listing hands out the items of its pages, never a page.
    names = {found.__name__ for found in used if not issubclass(found, Page)}
    assert "Wallet" in names
    assert names <= PUBLIC


def our_types(hint: Any) -> Iterator[type]:
    """The enums and models of a type hint, and of its parts."""
    if inspect.isclass(hint) and issubclass(hint, Enum | BaseModel):
        yield typing.cast("type", hint)
    for part in typing.get_args(hint):
        yield from our_types(part)


def examples() -> Iterator[Any]:
    """The lines of README and docs that import something of ours for an application."""
    pages = [
        ROOT / "README.md",
        ROOT / "deploy/custody-client/README.md",
        *ROOT.glob("docs/**/*.md"),
    ]
    for page in pages:
        for block in re.findall(
            r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            for line in re.findall(r"^(?:from|import) custody.*$", block, re.MULTILINE):
                yield pytest.param(line, id=f"{page.relative_to(ROOT)}: {line}")


@pytest.mark.parametrize("line", list(examples()))
def test_an_example_imports_from_the_client_alone(line: str):
    found = re.fullmatch(r"from custody\.client import (.*)", line)
    assert found, line
    assert set(re.split(r",\s*", found[1])) <= PUBLIC
