"""Metrics of the ceremonies and orders that this replica has seen."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class StepMetrics:
    """Counted where a step ends, so once among all replicas."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.ended = Counter(
            "custody_steps_total",
            "Ceremonies and orders that are over.",
            ["kind", "ending"],
            registry=registry,
        )
        self.culprits = Counter(
            "custody_step_culprits_total",
            "Ceremonies and orders whose end was blamed on a signer.",
            ["signer", "kind"],
            registry=registry,
        )
        self.seconds = Histogram(
            "custody_signing_ceremony_seconds",
            "From the plan of a signing ceremony to its signature.",
            registry=registry,
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15),
        )
