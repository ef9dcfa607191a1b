"""The Prometheus metrics of a delivery server."""

from prometheus_client import Counter, Gauge, Histogram

from custody.runtime.build_info import build_info_of_process

ANSWERS = Counter("custody_delivery_answers_total", "Requests answered, by how", ["code"])
ENDED = Counter("custody_delivery_ended_total", "Ceremonies ended or forgotten, by why", ["code"])
SESSIONS = Gauge("custody_delivery_sessions", "Ceremonies that are remembered")
HELD_BYTES = Gauge("custody_delivery_held_bytes", "Messages held or being received")
RECEIVED_BYTES = Counter("custody_delivery_received_bytes_total", "Messages handed in")
REFUSED_CONNECTIONS = Counter(
    "custody_delivery_refused_connections_total", "Connections closed for being too many"
)
SECONDS = Histogram(
    "custody_delivery_exchange_seconds",
    "From a participant's hand-in to its answer, waiting for the others included",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
CLOCK_OFFSET = Gauge(
    "custody_delivery_clock_offset_seconds", "This server's clock less that of most signers"
)
READY = Gauge("custody_delivery_ready", "1 when ceremonies can begin here")
BUILD_INFO = build_info_of_process().build_info
