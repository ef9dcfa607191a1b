"""Which test runs on which token: parametrises, skips with a reason, and shows a table at the end.

A test with the mark ``each_provider`` runs on each token. With ``needs("...")``, on the test or
on a parameter, it runs only on tokens that have the capability.
"""

from collections import Counter, defaultdict

import pytest

from tests.providers.tokens import CAPABILITIES, SOFTHSM

PROPERTY = "provider"
RAN = ("passed", "failed", "error")


def parametrise(metafunc: pytest.Metafunc) -> None:
    """Run a marked test on each token. Every other test has SoftHSM."""
    if metafunc.definition.get_closest_marker("each_provider"):
        metafunc.parametrize("provider", list(CAPABILITIES), indirect=True)


def select(items: list[pytest.Item]) -> None:
    """Skip the tests whose token lacks what they need, and note each test's token."""
    for item in items:
        provider = _provider_of(item)
        if provider is None:
            continue
        item.user_properties.append((PROPERTY, provider))
        needed = {str(name) for mark in item.iter_markers("needs") for name in mark.args}
        missing = sorted(needed - CAPABILITIES[provider])
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"{provider} has no {', '.join(missing)}"))


def _provider_of(item: pytest.Item) -> str | None:
    if not isinstance(item, pytest.Function) or "provider" not in item.fixturenames:
        return None
    spec = getattr(item, "callspec", None)
    return str(spec.params.get("provider", SOFTHSM)) if spec else SOFTHSM


def summary(stats: dict[str, list[object]]) -> list[str]:
    """Return the lines of the table: tests by token and outcome, and why tests did not run."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in (*RAN, "skipped"):
        for report in stats.get(outcome, ()):
            if not isinstance(report, pytest.TestReport):
                continue
            provider = dict(report.user_properties).get(PROPERTY)
            if provider is None:
                continue
            counts[str(provider)][_words(report, outcome)] += 1
    return [
        f"{provider:<10} {number:>4} {what}"
        for provider, outcomes in sorted(counts.items())
        for what, number in sorted(outcomes.items())
    ]


def _words(report: pytest.TestReport, outcome: str) -> str:
    if outcome == "skipped" and isinstance(report.longrepr, tuple):
        return f"not run: {report.longrepr[2].removeprefix('Skipped: ')}"
    return outcome
