"""Prometheus metrics: requests as they pass, and the queue as it stands when asked."""

import time
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from custody.control_plane.database import Database
from custody.database.causes import DATABASE_ERRORS
from custody.runtime.build_info import BuildInfo

_UNFINISHED = """
    SELECT node_group, state, count(*) AS jobs FROM jobs WHERE finished_at IS NULL
    GROUP BY node_group, state
"""
_LAG = """
    SELECT node_group, extract(epoch FROM now() - min(created_at)) AS seconds FROM jobs
    WHERE finished_at IS NULL GROUP BY node_group
"""
_ALARMS = "SELECT id FROM nodes WHERE audit_alarm IS NOT NULL"
_NODE_AUDIT = """
    SELECT id, sends_audit_records, audit_record_bytes AS bytes, (
        SELECT extract(epoch FROM now() - received_at) FROM audit_heads
        WHERE node_id = nodes.id AND set_aside_by IS NULL AND sequence > (
            SELECT sequence FROM node_audit_records
            WHERE node_id = nodes.id AND set_aside_by IS NULL ORDER BY sequence DESC LIMIT 1
        )
        ORDER BY sequence LIMIT 1
    ) AS lag FROM nodes WHERE audit_record_bytes > 0
"""
_OPEN_STEPS = "SELECT kind, count(*) AS steps FROM steps WHERE ended_at IS NULL GROUP BY kind"
_SILENCE = """
    SELECT id, extract(epoch FROM now() - last_seen) AS seconds FROM nodes
    WHERE last_seen IS NOT NULL
"""
_OLDEST = """
    SELECT extract(epoch FROM now() - min(finished_at)) AS seconds FROM jobs
    WHERE kind = 'Sign' AND finished_at IS NOT NULL
"""


class Metrics:
    """The metrics of this replica, and the application that shows them."""

    def __init__(self, database: Database, registry: CollectorRegistry) -> None:
        self._database = database
        self._registry = registry
        self.requests = Counter(
            "custody_requests_total",
            "Requests answered.",
            ["api", "method", "route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "custody_request_seconds",
            "Time to answer; a long poll's waiting is in it.",
            ["api", "method", "route"],
            registry=self._registry,
        )
        self._database_up = Gauge(
            "custody_database_up", "1 when the database answered.", registry=self._registry
        )
        self._unfinished = Gauge(
            "custody_jobs_unfinished",
            "Jobs that are not final, of all replicas.",
            ["group", "state"],
            registry=self._registry,
        )
        self._open_steps = Gauge(
            "custody_steps_open",
            "Ceremonies and orders under way, of all replicas.",
            ["kind"],
            registry=self._registry,
        )
        self._lag = Gauge(
            "custody_oldest_job_seconds",
            "Age of a group's oldest job that is not final; no value without jobs.",
            ["group"],
            registry=self._registry,
        )
        self._alarms = Gauge(
            "custody_audit_alarm",
            "1 for each node whose audit chain is in doubt: control-plane node list",
            ["node"],
            registry=self._registry,
        )
        self._audit_bytes = Gauge(
            "custody_node_audit_bytes",
            "Bytes that the audit records of a node take up: [node_api] audit_megabytes",
            ["node"],
            registry=self._registry,
        )
        self._audit_lag = Gauge(
            "custody_node_audit_lag_seconds",
            "Time since a node has reported an audit head whose record it has not sent; 0 if it has"
            " sent all. No value for a node that has sent none, or whose last heartbeat said that"
            " it sends none.",
            ["node"],
            registry=self._registry,
        )
        self.build_info = BuildInfo(self._registry).build_info
        self._silence = Gauge(
            "custody_node_silence_seconds",
            "Time since a node's last heartbeat.",
            ["node"],
            registry=self._registry,
        )
        self._oldest = Gauge(
            "custody_oldest_finished_signature_seconds",
            "Time since the oldest signature that is kept was finished; 0 without one.",
            registry=self._registry,
        )

    def application(self) -> Starlette:
        """GET /metrics."""
        return Starlette(routes=[Route("/metrics", self._show)])

    async def _show(self, _request: Request) -> Response:
        try:
            await self._read_queue()
            self._database_up.set(await self._database.health.check() is None)
        except DATABASE_ERRORS:
            self._database_up.set(0)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def _read_queue(self) -> None:
        unfinished = await self._database.rows(_UNFINISHED)
        open_steps = await self._database.rows(_OPEN_STEPS)
        lag = await self._database.rows(_LAG)
        alarms = await self._database.rows(_ALARMS)
        silence = await self._database.rows(_SILENCE)
        node_audit = await self._database.rows(_NODE_AUDIT)
        [oldest] = await self._database.rows(_OLDEST)
        self._oldest.set(float(oldest.seconds or 0))
        self._unfinished.clear()
        self._open_steps.clear()
        self._silence.clear()
        self._lag.clear()
        self._alarms.clear()
        self._audit_bytes.clear()
        self._audit_lag.clear()
        for row in unfinished:
            self._unfinished.labels(row.node_group, row.state).set(row.jobs)
        for row in open_steps:
            self._open_steps.labels(row.kind).set(row.steps)
        for row in lag:
            self._lag.labels(row.node_group).set(float(row.seconds))
        for row in alarms:
            self._alarms.labels(row.id).set(1)
        for row in node_audit:
            self._audit_bytes.labels(row.id).set(row.bytes)
            if row.sends_audit_records:
                self._audit_lag.labels(row.id).set(float(row.lag or 0))
        for row in silence:
            self._silence.labels(row.id).set(float(row.seconds))


class Measured:
    """An ASGI application whose requests are counted by route, never by path."""

    def __init__(self, app: Any, metrics: Metrics, api: str) -> None:
        self._app = app
        self._metrics = metrics
        self._api = api

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        started = time.perf_counter()

        async def send_and_see(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if route != "none" else "other"
            labels = (self._api, method, route)
            self._metrics.requests.labels(*labels, str(status)).inc()
            self._metrics.seconds.labels(*labels).observe(time.perf_counter() - started)
