"""The reference of Prometheus metrics."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

import custody.control_plane.conductor.metrics
import custody.control_plane.metrics
import custody.delivery.metrics
import custody.node.metrics
import custody.pkcs11.metrics
import mpc.metrics
from custody.backup.metrics import BackupMetrics
from custody.control_plane.retention.pruning import PruningMetrics
from custody.runtime.certificate_metrics import CertificateMetrics
from devstack.reference.markdown import page, table

INTRODUCTION = """\
Each daemon serves `/metrics` without authentication, so keep its address local.
A histogram `NAME` is stored as `NAME_bucket`, `NAME_sum` and `NAME_count`."""
COLUMNS = ("metric", "type", "labels", "meaning")


def metrics_page() -> dict[str, str]:
    """Return the page's text by its path under docs/."""
    registry = CollectorRegistry()
    no_database: Any = None
    control_plane = [
        *vars(custody.control_plane.metrics.Metrics(no_database, registry)).values(),
        *vars(custody.control_plane.conductor.metrics.StepMetrics(registry)).values(),
        *vars(PruningMetrics(registry)).values(),
    ]
    backups = [*vars(BackupMetrics(registry)).values()]
    certificates = [*vars(CertificateMetrics(registry)).values()]
    text = page(
        "Metrics",
        INTRODUCTION,
        "## Control plane",
        "On the port of `[metrics]`.",
        table(COLUMNS, _rows([*control_plane, *backups, *certificates])),
        "## Drivers and signers",
        "On the port of `[health]`.",
        table(COLUMNS, _rows([*_of(custody.node.metrics), *backups, *certificates])),
        "## Drivers, and signers with an encryption key in an HSM",
        table(COLUMNS, _rows(_of(custody.pkcs11.metrics))),
        "## Signers only",
        table(COLUMNS, _rows(_of(mpc.metrics))),
        "## Delivery servers",
        "On the port of `[health]`.",
        table(COLUMNS, _rows([*_of(custody.delivery.metrics), *certificates])),
    )
    return {"reference/metrics.md": text}


def _of(module: ModuleType) -> list[object]:
    return list(vars(module).values())


def _rows(values: list[object]) -> Iterator[tuple[str, str, str, str]]:
    for metric in values:
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            yield f"`{name}`", family.type, labels, family.documentation
