"""The scenarios: what a file of ``scenarios/`` defines, and how they are found."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from custody.runtime.errors import OperatorError
from devstack.drills import scenarios
from devstack.drills.drill import Drill


@dataclass(frozen=True)
class Scenario:
    """``number``: of the table in docs/how-to/recover/index.md, for example "8a".

    ``run`` carries the scenario out. It raises an error if a check fails. ``waits``: for half a
    minute the scenario waits for others, so several of these can share a core.
    """

    number: str
    title: str
    run: Callable[[Drill], None]
    waits: bool = False


def find_scenarios() -> dict[str, Scenario]:
    """Return all scenarios by name, in the order of their numbers."""
    found: dict[str, Scenario] = {}
    for module in pkgutil.iter_modules(scenarios.__path__):
        scenario = importlib.import_module(f"{scenarios.__name__}.{module.name}").SCENARIO
        if not isinstance(scenario, Scenario):
            raise TypeError(f"SCENARIO of {module.name} is not a Scenario")
        found[module.name.replace("_", "-")] = scenario
    return dict(sorted(found.items(), key=lambda item: (_order(item[1].number), item[0])))


def select(found: dict[str, Scenario], names: Sequence[str]) -> dict[str, Scenario]:
    """Return the named scenarios; all without a name. Raise OperatorError for an unknown name."""
    unknown = [name for name in names if name not in found]
    if unknown:
        raise OperatorError(
            f"there is no scenario {', '.join(unknown)}", f"The scenarios are: {', '.join(found)}"
        )
    return {name: found[name] for name in names} if names else found


def longest_first(chosen: Mapping[str, Scenario]) -> list[str]:
    """Return the names of the scenarios that wait, then the others, each in their order.

    A long scenario that began last would run alone.
    """
    return sorted(chosen, key=lambda name: not chosen[name].waits)


def _order(number: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d+)([a-z]?)", number)
    if match is None:
        raise ValueError(f"{number!r} is not the number of a scenario: write 8 or 8a")
    return int(match[1]), match[2]
