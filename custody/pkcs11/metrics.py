"""Prometheus metrics of the HSM's workers."""

from prometheus_client import Counter, Gauge

HSM_WORKERS = Gauge("custody_hsm_workers", "HSM workers that are logged in")
HSM_TOKEN_WORKERS = Gauge(
    "custody_hsm_token_workers", "HSM workers that are logged in, for each token", ["token"]
)
HSM_WORKERS_CONFIGURED = Gauge("custody_hsm_workers_configured", "HSM workers that should run")
HSM_WORKERS_ENDED = Counter(
    "custody_hsm_workers_ended_total", "HSM workers that ended and had to be replaced"
)
HSM_ERRORS = Counter(
    "custody_hsm_errors_total",
    "Errors that the HSM answered, by what it was asked to do and by return code",
    ["step", "code"],
)
HSM_LEAKED_OBJECTS = Counter(
    "custody_hsm_leaked_objects_total",
    "Session objects that the HSM did not destroy; they go when their worker's session ends",
)
