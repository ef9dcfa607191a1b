"""The figures of a run, as ratios and as a table."""

from typing import Any

from benchmarks.http_load import LoadResult
from benchmarks.mpc_figures import MpcFigures
from benchmarks.scenes import Alone
from custody.wire.encoding import Model

TARGETS = {
    "driver_to_bare": ("at least", 0.60),
    "end_to_end_to_bare_32": ("at least", 0.25),
    "latency_to_bare_1": ("at most", 5.0),
}


class Figures(Model):
    """Rates in operations a second, latencies in seconds.

    ``bare``: rate by number of processes. ``signatures`` and ``wallets``: by number of clients.
    """

    settings: dict[str, str]
    bare: dict[int, float]
    round_trip: float
    driver_alone: Alone
    driver_cached: Alone
    signatures: dict[int, LoadResult]
    wallets: dict[int, LoadResult]
    mpc: MpcFigures

    @property
    def best_bare(self) -> float:
        return max(self.bare.values())

    def ratios(self) -> dict[str, float]:
        """Return the ratios by name.

        ``latency_to_bare_1``: p50 at one client less two round trips, in bare operations.
        """
        hsm_signature = self.signatures[1].quantile(0.5)
        own_latency = hsm_signature - 2 * self.round_trip
        return {
            "driver_to_bare": self.driver_alone.rate / self.best_bare,
            "cached_keys_gain": self.driver_cached.rate / self.driver_alone.rate,
            "end_to_end_to_bare_32": self.signatures[32].rate / self.best_bare,
            "latency_to_bare_1": own_latency * self.bare[1],
            **self.mpc.ratios(self.round_trip, hsm_signature),
        }

    def targets(self) -> dict[str, tuple[str, float]]:
        """Return the target of each ratio by name: "at least" or "at most", and the value."""
        return {**TARGETS, **self.mpc.targets()}

    def as_json(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "bare_per_second": self.bare,
            "mtls_round_trip_ms": self.round_trip * 1e3,
            "driver_per_second": self.driver_alone.rate,
            "driver_cached_per_second": self.driver_cached.rate,
            "signatures": {clients: _seen(load) for clients, load in self.signatures.items()},
            "wallets": {clients: _seen(load) for clients, load in self.wallets.items()},
            "mpc": self.mpc.as_json(),
            "ratios": self.ratios(),
            "targets": {name: f"{how} {value:g}" for name, (how, value) in self.targets().items()},
        }

    def rows(self) -> list[list[object]]:
        """Return rows (scene, clients, a second, of the limit, p50 ms, p99 ms)."""
        rows: list[list[object]] = [
            [
                f"bare loop, {processes} processes",
                None,
                f"{rate:.0f}",
                self._share(rate),
                None,
                None,
            ]
            for processes, rate in self.bare.items()
        ]
        for name, alone in (
            ("driver alone", self.driver_alone),
            ("driver alone, keys cached", self.driver_cached),
        ):
            rate = alone.rate
            rows.append([name, None, f"{rate:.0f}", self._share(rate), None, None])
        for name, loads in (("POST to Signed", self.signatures), ("POST to Active", self.wallets)):
            for clients, load in loads.items():
                rows.append(
                    [
                        name,
                        clients,
                        f"{load.rate:.0f}",
                        self._share(load.rate),
                        f"{load.quantile(0.5) * 1e3:.1f}",
                        f"{load.quantile(0.99) * 1e3:.1f}",
                    ]
                )
        return [*rows, *self.mpc.rows()]

    def _share(self, rate: float) -> str:
        return f"{rate / self.best_bare:.0%}"


def reached(aim: tuple[str, float], ratio: float) -> bool:
    """Return whether a ratio meets its target."""
    how, target = aim
    return ratio >= target if how == "at least" else ratio <= target


def _seen(load: LoadResult) -> dict[str, float]:
    return {
        "per_second": load.rate,
        "p50_ms": load.quantile(0.5) * 1e3,
        "p99_ms": load.quantile(0.99) * 1e3,
    }
