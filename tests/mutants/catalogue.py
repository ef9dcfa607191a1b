"""The guards of this project, and the mutants that take each of them out of the code.

A mutant is a small change of the source that removes one check. The tests that it names must fail
with it: otherwise nobody would notice if the check were lost. The lists are the TOML files beside
this module.
"""

import ast
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

CHECKOUT = Path(__file__).resolve().parents[2]
LISTS = ("library_guards.toml", "other_guards.toml", "recovery_guards.toml")
OF_STACKS = ("tests/acceptance/", "tests/faults/")
"""Their daemons have a clean environment, so they run this checkout and not the changed copy."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Edit(_Part):
    """``old`` must be in ``file`` (relative to the checkout) exactly once; ``new`` replaces it."""

    file: str
    old: str
    new: str

    def problem(self, checkout: Path) -> str | None:
        """Why the edit does not apply to this checkout; None where it does."""
        path = checkout / self.file
        if not path.is_file():
            return f"{self.file} does not exist"
        found = path.read_text().count(self.old)
        if found != 1:
            return f"{self.file} has the old text {found} times, not once: {self.old.strip()!r}"
        return None


class Test(_Part):
    """A test by file and function, as ``path::function`` or ``path::function[parameters]``.

    A path that ends in .rs is a test of the Rust crate. Of a function with parameters, one case
    that fails is enough.
    """

    __test__ = False
    path: str
    function: str
    parameters: str = ""

    @classmethod
    def parse(cls, text: str) -> "Test":
        """Raises ValueError for text without ``::``."""
        path, separator, name = text.partition("::")
        if not separator:
            raise ValueError(f"{text!r} is not path::function")
        function, _, parameters = name.partition("[")
        return cls(path=path, function=function, parameters=parameters.removesuffix("]"))

    @property
    def is_rust(self) -> bool:
        return self.path.endswith(".rs")

    @property
    def id(self) -> str:
        """As pytest has it."""
        case = f"[{self.parameters}]" if self.parameters else ""
        return f"{self.path}::{self.function}{case}"

    def problem(self, checkout: Path) -> str | None:
        """Why there is no such test in this checkout; None where there is."""
        if self.path.startswith(OF_STACKS):
            return f"{self.path} starts daemons, which do not run the mutant"
        path = checkout / self.path
        if not path.is_file():
            return f"{self.path} does not exist"
        definition = f"fn {self.function}(" if self.is_rust else f"def {self.function}("
        if definition not in path.read_text():
            return f"{self.path} has no test {self.function}"
        return None


class Mutant(_Part):
    """``removes``: what is taken out, as a noun phrase. ``edits``: together one change."""

    name: str
    removes: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def named_tests(self) -> list[Test]:
        return [Test.parse(text) for text in self.tests]

    @property
    def changes_rust(self) -> bool:
        return any(edit.file.endswith(".rs") for edit in self.edits)

    def problems(self, checkout: Path) -> Iterator[str]:
        """Why the mutant cannot be tried in this checkout."""
        if not self.edits or not self.tests:
            yield "it has no edits, or names no tests"
        moved = [problem for edit in self.edits if (problem := edit.problem(checkout)) is not None]
        yield from moved or self._unreadable(checkout)
        for test in self.named_tests:
            if (problem := test.problem(checkout)) is not None:
                yield problem

    def _unreadable(self, checkout: Path) -> Iterator[str]:
        """Why Python cannot read what the edits make of its files."""
        changed: dict[str, str] = {}
        for edit in self.edits:
            text = changed.get(edit.file) or (checkout / edit.file).read_text()
            changed[edit.file] = text.replace(edit.old, edit.new)
        for name, text in changed.items():
            try:
                if name.endswith(".py"):
                    ast.parse(text)
            except SyntaxError as error:
                yield f"{name} is not Python with the edits: {error}"


class Guard(_Part):
    """``number``: in the list of what DKLs23 and FROST leave to their caller; None for others.

    ``without_mutant``: why no mutant is possible; None where there are mutants.
    """

    number: int | None = None
    rule: str
    where: tuple[str, ...]
    without_mutant: str | None = None
    mutants: tuple[Mutant, ...] = ()


class _List(_Part):
    guards: tuple[Guard, ...]


@cache
def guards() -> tuple[Guard, ...]:
    """Those with a number first, in order."""
    read = [
        _List.model_validate(tomllib.loads((Path(__file__).parent / name).read_text()))
        for name in LISTS
    ]
    return tuple(guard for each in read for guard in each.guards)


def select(wanted: Sequence[str]) -> list[Mutant]:
    """Those of the guards with these numbers, or with these names; all for an empty list.

    Raises ValueError for a word that is neither.
    """
    every = [(guard, mutant) for guard in guards() for mutant in guard.mutants]
    chosen = {
        word: [mutant for guard, mutant in every if word in (str(guard.number), mutant.name)]
        for word in wanted
    }
    if unknown := [word for word, found in chosen.items() if not found]:
        raise ValueError(f"there is no guard or mutant {', '.join(unknown)}")
    names = {mutant.name for found in chosen.values() for mutant in found}
    return [mutant for _, mutant in every if not wanted or mutant.name in names]
