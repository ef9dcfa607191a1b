"""Prometheus metrics of certificates and CRLs, which each daemon has."""

from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from custody.runtime.certificate_days import Role


class CertificateMetrics:
    """``use`` is the section of the configuration that names the files."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.days_left = Gauge(
            "custody_certificate_days_left",
            "Days until the first certificate of a role (leaf, intermediate, root) ends, by use; "
            "negative after the end",
            ["use", "role"],
            registry=registry,
        )
        self.crl_days_left = Gauge(
            "custody_crl_days_left",
            "Days until the first CRL of this use ends; after that no peer is accepted",
            ["use"],
            registry=registry,
        )
        self.refused = Gauge(
            "custody_tls_files_refused",
            "1 while changed TLS files cannot be used and the old ones stay in use",
            ["use"],
            registry=registry,
        )

    def show(self, use: str, days: dict[Role, float], is_refused: bool) -> None:
        """Set the values of one use. ``days``: the fewest days left of each role."""
        for role, left in days.items():
            # labels() exports its series at once, as 0: a use without a CRL must have none
            if role is Role.CRL:
                self.crl_days_left.labels(use).set(left)
            else:
                self.days_left.labels(use, role.value).set(left)
        self.refused.labels(use).set(is_refused)


@cache
def metrics_of_process() -> CertificateMetrics:
    """Return the metrics of a daemon that exports prometheus_client's default registry."""
    return CertificateMetrics(REGISTRY)
