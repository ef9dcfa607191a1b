"""Tries mutants: applies one, runs its tests, expects each of them to fail, and undoes it."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.mutants.catalogue import CHECKOUT, Mutant
from tests.mutants.copied_checkout import Broken, CopiedCheckout


class Result(StrEnum):
    CAUGHT = "caught"
    """Each of its tests failed."""
    SURVIVED = "SURVIVED"
    """A test passed without the guard."""
    BROKEN = "BROKEN"
    """It could not be tried: its text has moved, it does not compile, or a test is missing."""


@dataclass(frozen=True)
class Verdict:
    mutant: str
    result: Result
    details: str
    """What failed; what passed; or why the mutant could not be tried."""


def try_all(mutants: Sequence[Mutant], tell: Callable[[str], None]) -> list[Verdict]:
    """Try mutants in a copy of the checkout, the quick ones (Python's) first.

    Raises Broken when a test fails without any mutant, so that its failure would say nothing.
    """
    verdicts, sound = [], []
    for mutant in mutants:
        problems = "; ".join(mutant.problems(CHECKOUT))
        if problems:
            verdicts.append(Verdict(mutant.name, Result.BROKEN, problems))
        else:
            sound.append(mutant)
    if not sound:
        return verdicts
    copy = CopiedCheckout()
    copy.make()
    ordered = sorted(sound, key=lambda mutant: mutant.changes_rust)
    if any(mutant.changes_rust for mutant in ordered):
        tell("compiling the Rust module (the first time takes some minutes)")
        copy.build_module()
    tell("running the named tests without any mutant")
    tests = {test.id: test for mutant in ordered for test in mutant.named_tests}
    if failed := copy.failing(list(tests.values())):
        raise Broken(f"these fail without any mutant: {', '.join(sorted(failed))}")
    for number, mutant in enumerate(ordered, 1):
        verdict = _try(copy, mutant)
        tell(f"{number} of {len(ordered)}: {mutant.name}: {verdict.result.value}")
        verdicts.append(verdict)
    return verdicts


def _try(copy: CopiedCheckout, mutant: Mutant) -> Verdict:
    tests = mutant.named_tests
    try:
        with copy.changed(mutant):
            if mutant.changes_rust and not all(test.is_rust for test in tests):
                copy.build_module()
            failed = copy.failing(tests)
    except (Broken, subprocess.SubprocessError) as error:
        return Verdict(mutant.name, Result.BROKEN, str(error))
    passed = sorted({test.id for test in tests} - failed)
    if passed:
        return Verdict(mutant.name, Result.SURVIVED, f"passed: {', '.join(passed)}")
    return Verdict(mutant.name, Result.CAUGHT, ", ".join(sorted(failed)))
