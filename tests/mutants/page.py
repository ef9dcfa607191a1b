"""The page of docs/ that says which test fails without which guard, made of the lists."""

from collections.abc import Iterator, Sequence

from tests.mutants.catalogue import CHECKOUT, Guard, Mutant, Test, guards

PAGE = CHECKOUT / "docs" / "reference" / "guards.md"
_HEAD = """\
# Guards, and the tests that fail without them

*Made by `make mutants ARGS=--write-page` from the lists in `tests/mutants/`. Do not edit it.*

A guard is a check that keeps a key safe. A *mutant* is a change of the source that takes one guard
out. `make mutants` applies each mutant to a copy of the checkout, runs the tests that are named
here, and fails when one of them still passes. `make mutants ARGS="2 11"` tries the mutants of two
guards, `make mutants ARGS=forked-session` a single one. All of them take about 45 minutes on two
cores, so they are not part of `make test`. A unit test checks with every run of the suite that each
mutant still applies and that each named test exists.

## What the protocols' libraries leave to their caller

The numbers are those of our reading of `dkls23` 0.6.2 and FROST 3.0.0.
[MPC mode](../explanation/mpc.md) explains the protocols.
"""
_OTHERS = """
## Other guards

These checks decide what a node signs, believes or reports, in both modes.
"""


def page() -> str:
    """The whole page, in Markdown."""
    numbered = [guard for guard in guards() if guard.number is not None]
    others = [guard for guard in guards() if guard.number is None]
    lines = [_HEAD, *_table(numbered, "| | guard | where | taken out | test that fails |")]
    lines += [_OTHERS, *_table(others, "| guard | where | taken out | test that fails |")]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Guard], head: str) -> Iterator[str]:
    yield head
    yield "|" + "---|" * (head.count("|") - 1)
    for guard in rows:
        yield from _rows(guard)


def _rows(guard: Guard) -> Iterator[str]:
    where = ", ".join(f"`{place}`" for place in guard.where)
    number = [] if guard.number is None else [str(guard.number)]
    if guard.without_mutant is not None:
        yield _row([*number, guard.rule, where, f"no mutant: {guard.without_mutant}", ""])
    for at, mutant in enumerate(guard.mutants):
        first = [*number, guard.rule, where] if at == 0 else ["" for _ in number] + ["", ""]
        yield _row([*first, f"{mutant.removes} (`{mutant.name}`)", _tests(mutant)])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _tests(mutant: Mutant) -> str:
    return ", ".join(f"`{_short(test)}`" for test in mutant.named_tests)


def _short(test: Test) -> str:
    return f"{test.path.removeprefix('tests/')}::{test.function}"
