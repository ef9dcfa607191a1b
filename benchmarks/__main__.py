"""`make bench`: measures the HSM's and the library's limits, and whole requests, in one run."""

import json
import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.bare_loop import bare_rate
from benchmarks.figures import Figures, reached
from benchmarks.growth import FEW, TARGET, measure_growth
from benchmarks.mpc_figures import MpcFigures
from benchmarks.mpc_scenes import CASES, SignerGroups
from benchmarks.replicas import measure_replicas
from benchmarks.scenes import Api, StubbedNodeApi
from custody.database.engine import synchronous_engine
from custody.runtime.console import err, operator_errors, out, print_table
from devstack.launcher import Tied
from devstack.stack import Stack, StackOptions

KEYS = 8
CLIENTS = (1, 8, 32)
SIGNERS = 5
EXPLANATION = 'docs/explanation/performance.md, section "Why scenes miss"'


class Part(StrEnum):
    LIMITS = "limits"
    REPLICAS = "replicas"
    GROWTH = "growth"


def measure(stack: Stack, folder: Path, seconds: float) -> Figures:
    """Run all scenes in turn, and print the name of each."""
    settings = database_settings(stack)
    _say("PostgreSQL: " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
    bare = {}
    for processes in range(1, (os.cpu_count() or 1) + 1):
        _say(f"bare loop of unwrap, sign, destroy: {processes} processes")
        bare[processes] = bare_rate(stack.token, processes, seconds)
    api = Api(stack, KEYS)
    api.signatures(8, 2)  # warm up: connections, pools, caches
    signatures, wallets = {}, {}
    for clients in CLIENTS:
        _say(f"POST to Signed: {clients} clients")
        signatures[clients] = api.signatures(clients, seconds)
    for clients in (1, 8):
        _say(f"wallets, POST to Active: {clients} clients")
        wallets[clients] = api.wallets(clients, seconds)
    groups, cases = SignerGroups(stack), {}
    for case in CASES:
        _say(f"{case.name}: the library alone, a key, POST to Signed")
        cases[case.name] = groups.measure(case, seconds)
    mpc = MpcFigures(cases=cases, round_trip=groups.round_trip(), memory=groups.memory())
    for service in (*stack.drivers, *stack.signers.services, *stack.control_planes):
        service.stop()
    stub = StubbedNodeApi(stack, folder / "alone")
    try:
        _say("mTLS round trips")
        round_trip = stub.round_trips().quantile(0.5)
        _say("driver alone, fed by a stub of the node API")
        jobs = int(max(bare.values()) * seconds)
        alone = stub.driver_alone(KEYS, jobs)
        _say("driver alone, with all keys cached")
        cached = stub.driver_alone(KEYS, jobs, cached_keys=KEYS)
    finally:
        stub.stop()
    return Figures(
        settings=settings,
        bare=bare,
        round_trip=round_trip,
        driver_alone=alone,
        driver_cached=cached,
        signatures=signatures,
        wallets=wallets,
        mpc=mpc,
    )


def database_settings(stack: Stack) -> dict[str, str]:
    """Return PostgreSQL's settings of durability. Raise RuntimeError unless all are on."""
    engine = synchronous_engine(stack.databases.control_plane)
    with engine.connect() as connection:
        found = {
            name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one())
            for name in ("fsync", "synchronous_commit")
        }
    engine.dispose()
    if set(found.values()) != {"on"}:
        raise RuntimeError(f"the benchmark needs a durable PostgreSQL, but finds {found}")
    return found


def _say(what: str) -> None:
    err.print(f"  {what}", markup=False)


def main(
    seconds: Annotated[float, typer.Option(help="Duration of each scene.")] = 10.0,
    folder: Annotated[Path, typer.Option(help="Folder of the stack and the result.")] = Path(
        "build/bench"
    ),
    part: Annotated[
        Part,
        typer.Option(
            help="limits: of the HSM and the library; growth: of stored rows; "
            "replicas: two drivers and two replicas beside one."
        ),
    ] = Part.LIMITS,
    keys: Annotated[int, typer.Option(min=FEW, help="Stored keys, for growth.")] = 100_000,
    jobs: Annotated[int, typer.Option(min=FEW, help="Finished signatures, for growth.")] = 200_000,
) -> None:
    """Measure signatures a second, as ratios to the HSM and the library alone.

    Or measure whether signing and lists stay as quick with many stored rows.

    The machine's own speed is in every figure of a run: compare ratios, not figures of two runs.
    """
    with operator_errors():
        shutil.rmtree(folder, ignore_errors=True)
        if part is Part.GROWTH:
            _show_growth(folder, measure_growth(folder, seconds, keys, jobs))
            return
        if part is Part.REPLICAS:
            _show_replicas(folder, measure_replicas(folder, seconds))
            return
        with Stack(
            folder / "stack",
            StackOptions(signers=SIGNERS, send_audit_records=False),
            launcher=Tied(forked=False),
        ) as stack:
            figures = measure(stack, folder.resolve(), seconds)
    result = folder / "result.json"
    result.write_text(json.dumps(figures.as_json(), indent=2) + "\n")
    print_table(
        ["scene", "clients", "a second", "of the limit", "p50 ms", "p99 ms"], figures.rows()
    )
    out.print(f"one mTLS round trip to an idle server: {figures.round_trip * 1e3:.2f} ms")
    out.print(
        f"one signer's round trip to a delivery server: {figures.mpc.round_trip * 1e3:.2f} ms"
    )
    for line in figures.mpc.sizes():
        out.print(line)
    targets = figures.targets()
    ratios = figures.ratios()
    for name, ratio in ratios.items():
        if name not in targets:
            out.print(f"{name:<28} {ratio:6.2f}")
            continue
        how, target = targets[name]
        mark = "[green]reached[/]" if reached(targets[name], ratio) else "[yellow]missed[/]"
        out.print(f"{name:<28} {ratio:6.2f}   to reach: {how} {target:g}   {mark}")
    if not all(reached(target, ratios[name]) for name, target in targets.items()):
        out.print(f"Why a scene misses its aim: {EXPLANATION}")
    out.print(f"wrote {result}")


def _show_replicas(folder: Path, rates: dict[str, float]) -> None:
    (folder / "replicas.json").write_text(json.dumps(rates, indent=2) + "\n")
    one = next(iter(rates.values()))
    print_table(
        ["drivers and replicas", "a second", "to one of each"],
        [[name, f"{rate:.0f}", f"{rate / one:.2f}"] for name, rate in rates.items()],
    )


def _show_growth(folder: Path, ratios: dict[str, float]) -> None:
    (folder / "growth.json").write_text(json.dumps(ratios, indent=2) + "\n")
    print_table(
        ["with many rows, to few", "ratio", f"at most {TARGET:g}"],
        [
            [name, f"{ratio:.2f}", "reached" if ratio <= TARGET else "missed"]
            for name, ratio in ratios.items()
        ],
    )


if __name__ == "__main__":
    typer.run(main)
