"""The metric that says which version a daemon runs."""

from functools import cache
from importlib.metadata import version

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

DISTRIBUTION = "custody"


class BuildInfo:
    """Exports ``custody_build_info``, whose value is always 1."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.build_info = Gauge(
            "custody_build_info",
            "1, with the version of the daemon",
            ["version"],
            registry=registry,
        )
        self.build_info.labels(version(DISTRIBUTION)).set(1)


@cache
def build_info_of_process() -> BuildInfo:
    """Return the metric of a daemon that exports prometheus_client's default registry."""
    return BuildInfo(REGISTRY)
