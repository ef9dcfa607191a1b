"""What Prometheus sees of a node."""

from prometheus_client import Counter, Gauge, Histogram

JOBS = Counter("custody_jobs_total", "Jobs ended, by kind and outcome", ["kind", "status"])
IN_FLIGHT = Gauge("custody_jobs_in_flight", "Jobs between claim and report")
UNREPORTED = Gauge("custody_outcomes_unreported", "Outcomes that the control plane has not yet")
HSM_SECONDS = Histogram(
    "custody_hsm_operation_seconds",
    "Time from asking the HSM to its answer, queueing included",
    ["operation"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CLOCK_OFFSET = Gauge("custody_clock_offset_seconds", "The control plane's clock less ours")
READY = Gauge("custody_ready", "1 when the node can do jobs")
