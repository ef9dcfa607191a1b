"""One soak run: the stack, the load at half rate, the faults, and what was found."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from custody.runtime.errors import OperatorError
from custody.wire.algorithms import MAIN_NETWORKS
from devstack.drills.application import Application
from devstack.launcher import Tied
from devstack.progress import say, step
from devstack.service import Service
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.soak.faults import Fault, faults
from devstack.soak.judgement import (
    DESCRIPTORS,
    LATENCY,
    MEMORY,
    PROCESSOR,
    WORK,
    Account,
    Growth,
    account,
    growth,
)
from devstack.soak.load import Mode, SoakLoad
from devstack.soak.resources import Resources
from devstack.stack import Stack, StackOptions

OPTIONS = StackOptions(signers=3, delivery_servers=2)
CALIBRATION_SECONDS = 10.0


@dataclass
class Report:
    """What a run has found. ``rates``: signatures a second without pauses, by mode."""

    seconds: float
    rates: dict[str, float]
    faults: list[str] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)
    accounts: dict[str, Account] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return whether everything is flat, each fault was over, and each request is right."""
        return (
            not self.problems
            and all(each.is_flat for each in self.growths)
            and all(each.signed and not each.problems for each in self.accounts.values())
        )

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def soak(folder: Path, seconds: float, every: float) -> Report:
    """Run the load for ``seconds``, with a fault every ``every`` seconds."""
    with Stack(folder, OPTIONS, launcher=Tied(forked=False), step=step) as stack:
        with step("make keys in both modes"):
            loads = [SoakLoad(mode, stack.client) for mode in _modes(stack)]
        with step("measure the full load"):
            rates = {load.mode.name: load.rate(CALIBRATION_SECONDS) for load in loads}
        report = Report(seconds, rates)
        services: list[Service] = [
            *stack.control_planes,
            *stack.drivers,
            *stack.signers.services,
        ]
        resources = Resources(services)
        with ExitStack() as running:
            running.enter_context(resources.sampled())
            for load in loads:
                # both modes share the machine: a quarter of each rate is half of the full load
                running.enter_context(load.running(4 / rates[load.mode.name]))
            _cause(faults(stack), seconds, every, report)
        with step("wait for the last requests, and verify every signature"):
            for load in loads:
                report.accounts[load.mode.name] = account(load.told, load.stored())
        report.problems += [f"{each.name} has ended" for each in services if not each.is_running]
    report.growths = _growths(resources, loads, seconds)
    return report


def _growths(resources: Resources, loads: Sequence[SoakLoad], seconds: float) -> list[Growth]:
    machine = growth("machine: time of fixed work", resources.work, seconds, WORK)
    latency = LATENCY.times(machine.slowdown)
    return [
        *(
            growth(f"{name}: memory", found, seconds, MEMORY)
            for name, found in resources.memory.items()
        ),
        *(
            growth(f"{name}: descriptors", found, seconds, DESCRIPTORS)
            for name, found in resources.descriptors.items()
        ),
        *(
            growth(f"{name}: processor", found, seconds, PROCESSOR)
            for name, found in resources.processor.items()
        ),
        machine,
        *(growth(f"{load.mode.name}: latency", load.latencies, seconds, latency) for load in loads),
    ]


def _modes(stack: Stack) -> Sequence[Mode]:
    application = Application(stack.client)
    application.make_hsm_keys()
    hsm = Mode("hsm", application.keys)
    with stack.client() as custody:
        create_signer_groups(custody, [TWO_OF_THREE])
    mpc = [application.make_wallet(network, TWO_OF_THREE) for network in MAIN_NETWORKS]
    return [hsm, Mode("mpc", mpc)]


def _cause(planned: Sequence[Fault], seconds: float, every: float, report: Report) -> None:
    began = time.monotonic()
    number = 0
    while (due := (number + 1) * every) < seconds:
        time.sleep(max(0.0, began + due - time.monotonic()))
        fault = planned[number % len(planned)]
        at = time.monotonic() - began
        try:
            fault.cause()
        except (OperatorError, RuntimeError) as error:
            report.problems.append(f"{fault.name}, at {at:.0f} s: {error}")
        report.faults.append(f"{at:.0f} s: {fault.name}")
        say(f"      {report.faults[-1]}")
        number += 1
    time.sleep(max(0.0, began + seconds - time.monotonic()))
