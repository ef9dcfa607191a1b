"""The figures of a run in MPC mode, as ratios and as rows of the table."""

import statistics
from typing import Any

from benchmarks.mpc_scenes import Measured
from custody.wire.encoding import Model

CLIENTS_AT_ONCE = 8
TARGETS = {
    "latency_ecdsa": 4.0,  # p50 less one round trip an exchange, in multiples of the library's time
    "latency_eddsa": 2.0,  # p50 in signatures of HSM mode
    "generate_ecdsa": 1.3,  # POST to Active, in multiples of the library's time
}


class MpcFigures(Model):
    """The figures. ``cases``: by name, for example ecdsa_2_of_3. ``memory``: bytes by signer.

    ``round_trip``: seconds from a signer's client to a delivery server and back.
    """

    cases: dict[str, Measured]
    round_trip: float
    memory: dict[str, int]

    def ratios(self, round_trip: float, hsm_signature: float) -> dict[str, float]:
        """Return the ratios by name, all of one run.

        ``round_trip``: seconds of an mTLS round trip to an idle server. ``hsm_signature``: seconds
        from POST to Signed in HSM mode with one client, the median.
        """
        found: dict[str, float] = {}
        for name, case in self.cases.items():
            p50 = case.signatures[1].quantile(0.5)
            if name.startswith("ecdsa"):
                own = p50 - case.exchanges * round_trip
                found[f"mpc_latency_{name}"] = own / case.alone.sign
                found[f"mpc_generate_{name}"] = (
                    statistics.median(case.generate) / case.alone.generate
                )
            else:
                found[f"mpc_latency_{name}"] = p50 / hsm_signature
            rate = case.signatures[CLIENTS_AT_ONCE].rate
            found[f"mpc_throughput_{name}"] = rate / case.alone.rate
        return found

    def targets(self) -> dict[str, tuple[str, float]]:
        """Return the target of each ratio by name; throughput has no target."""
        return {
            f"mpc_{what}_{name}": ("at most", TARGETS[f"{what}_{name.split('_')[0]}"])
            for name in self.cases
            for what in ("latency", "generate")
            if f"{what}_{name.split('_')[0]}" in TARGETS
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "cases": {name: _seen(case) for name, case in self.cases.items()},
            "signer_round_trip_ms": self.round_trip * 1e3,
            "signer_memory_bytes": self.memory,
        }

    def rows(self) -> list[list[object]]:
        """Return rows (scene, clients, a second, of the limit, p50 ms, p99 ms)."""
        rows: list[list[object]] = []
        for name, case in self.cases.items():
            alone = case.alone
            rows.append(
                [f"{name}: library", None, f"{alone.rate:.0f}", "100%", _ms(alone.sign), None]
            )
            for clients, load in case.signatures.items():
                rows.append(
                    [
                        f"{name}: POST to Signed",
                        clients,
                        f"{load.rate:.0f}",
                        f"{load.rate / alone.rate:.0%}",
                        _ms(load.quantile(0.5)),
                        _ms(load.quantile(0.99)),
                    ]
                )
            rows.append([f"{name}: library, new key", None, None, None, _ms(alone.generate), None])
            rows.append(
                [
                    f"{name}: POST to Active",
                    1,
                    None,
                    None,
                    _ms(statistics.median(case.generate)),
                    _ms(max(case.generate)),
                ]
            )
        return rows

    def sizes(self) -> list[str]:
        """Return lines about bytes: messages of one signature, and memory."""
        lines = [
            f"{name}: {case.alone.message_bytes:,} bytes of messages a signature, "
            f"{case.alone.share_bytes:,} bytes a share"
            for name, case in self.cases.items()
        ]
        largest = max(self.memory.values(), default=0)
        return [*lines, f"memory per signer: {largest / 2**20:.0f} MiB at most"]


def _seen(case: Measured) -> dict[str, Any]:
    return {
        "library": case.alone.model_dump(),
        "generate_seconds": case.generate,
        "signatures": {
            clients: {
                "per_second": load.rate,
                "p50_ms": load.quantile(0.5) * 1e3,
                "p99_ms": load.quantile(0.99) * 1e3,
            }
            for clients, load in case.signatures.items()
        },
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
