"""Prometheus metrics of the HSM's workers."""

from prometheus_client import Counter, Gauge

HSM_WORKERS = Gauge("custody_hsm_workers", "HSM workers that are logged in")
HSM_WORKERS_CONFIGURED = Gauge("custody_hsm_workers_configured", "HSM workers that should run")
HSM_WORKERS_ENDED = Counter(
    "custody_hsm_workers_ended_total", "HSM workers that ended and had to be replaced"
)
