"""Prometheus metrics of a node."""

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from custody.backup.metrics import BackupMetrics
from custody.runtime.build_info import build_info_of_process

JOBS = Counter("custody_jobs_total", "Jobs ended, by kind and outcome", ["kind", "status"])
IN_FLIGHT = Gauge("custody_jobs_in_flight", "Jobs between claim and report")
UNREPORTED = Gauge(
    "custody_outcomes_unreported", "Outcomes that the control plane has not confirmed yet"
)
PURGED = Counter(
    "custody_journal_rows_purged_total", "Journal rows that this node deleted after the retention"
)
OLDEST = Gauge("custody_journal_oldest_row_seconds", "Age of the oldest row of the group's journal")
HSM_SECONDS = Histogram(
    "custody_hsm_operation_seconds",
    "Time from asking the HSM to its answer, queueing included",
    ["operation"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
GATE_DECISIONS = Counter(
    "custody_gate_decisions_total",
    "Questions to the gate, by answer; unavailable, bad_answer and busy mean no answer",
    ["decision"],
)
GATE_SECONDS = Histogram(
    "custody_gate_seconds",
    "Time from asking the gate to its answer",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
GATE_WAITING = Gauge("custody_gate_waiting", "Requests that the gate has been asked about")
CLOCK_OFFSET = Gauge(
    "custody_clock_offset_seconds", "The control plane's clock minus this host's clock"
)
UNCONFIRMED_BACKUPS = Gauge(
    "custody_keys_without_confirmed_backup",
    "Master keys or encryption keys whose backup no operator has confirmed",
)
ROTATION_DAYS_LEFT = Gauge(
    "custody_key_rotation_days_left",
    "Days until the oldest key that protects other keys is due for rotation, negative after that; "
    "no value with rotate_after_days = 0",
    ["key"],
)
BACKUPS = BackupMetrics(REGISTRY)
READY = Gauge("custody_ready", "1 when the node can do jobs")
PROBLEMS = Gauge(
    "custody_problems", "1 while a part of the node has a problem: /readyz names it", ["part"]
)
STAGE_SECONDS = Histogram(
    "custody_stage_seconds",
    "Time that a job spent before the end of a stage, since the end of the stage before",
    ["stage"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
BUILD_INFO = build_info_of_process().build_info
