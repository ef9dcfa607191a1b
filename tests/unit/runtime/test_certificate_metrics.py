"""Metrics of certificates and CRLs: only those of what a daemon has."""

from prometheus_client import CollectorRegistry

from custody.runtime.certificate_days import Role
from custody.runtime.certificate_metrics import CertificateMetrics


def shown(days: dict[Role, float]) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the labels and values of each exported metric."""
    registry = CollectorRegistry()
    CertificateMetrics(registry).show("server", days, is_refused=False)
    return {
        metric.name: [(sample.labels, sample.value) for sample in metric.samples]
        for metric in registry.collect()
    }


def test_a_use_without_a_crl_exports_no_days_of_a_crl():
    days = shown({Role.LEAF: 80.0, Role.ROOT: 3000.0})
    assert days["custody_crl_days_left"] == []
    assert days["custody_certificate_days_left"] == [
        ({"use": "server", "role": "leaf"}, 80.0),
        ({"use": "server", "role": "root"}, 3000.0),
    ]


def test_the_days_of_a_crl_are_exported_by_use():
    days = shown({Role.CRL: 1.5})
    assert days["custody_crl_days_left"] == [({"use": "server"}, 1.5)]
    assert days["custody_certificate_days_left"] == []
