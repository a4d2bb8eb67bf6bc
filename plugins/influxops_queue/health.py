"""How a worker is: for a health check, and for Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from influxops.errors import ExitCode
from influxops_queue.tables import Depth

#: Seconds after which what was last read of the queue says nothing any more.
_STALE = 60.0
#: Seconds from wanted to ready.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400)


class Health(Collector):
    """What a worker tells of itself."""

    def __init__(self) -> None:
        self.troubles: dict[str, str] = {}  # why it cannot work, by what that is about
        self._depth: Depth | None = None
        self._seen = time.monotonic()
        self.registry = CollectorRegistry()
        self._ready = Histogram(
            "influxops_queue_ready_seconds",
            "Seconds from when a tenant was wanted until its database was there.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._runs = Counter(
            "influxops_queue_full_runs",
            "Full runs of this worker, by how they ended.",
            ["result"],
            registry=self.registry,
        )
        self._ended = Gauge(
            "influxops_queue_full_run_end_timestamp_seconds",
            "When the last full run of this worker ended.",
            registry=self.registry,
        )
        self.registry.register(self)

    def saw(self, depth: Depth) -> None:
        """Note what stands in the queue, as it was just read."""
        self._depth, self._seen = depth, time.monotonic()

    def ready(self, seconds: Iterable[float]) -> None:
        """Note how long tenants waited whose databases are there now."""
        for each in seconds:
            self._ready.observe(each)

    def ran(self, code: ExitCode | None) -> None:
        """Note how a full run ended; None where there was none to be made."""
        result = "broken" if code is None else "ok" if code is ExitCode.OK else "failed"
        self._runs.labels(result).inc()
        self._ended.set_to_current_time()

    @property
    def wrong(self) -> str:
        """Why the worker does not work; empty where it does."""
        if (age := time.monotonic() - self._seen) <= _STALE:
            return ""
        why = "; ".join(f"{about}: {why}" for about, why in self.troubles.items() if why)
        return f"the ledger was last read {age:.0f} s ago{': ' if why else ''}{why}"

    def collect(self) -> Iterator[Metric]:
        """Yield what stands in the queue, as it was last read."""
        depth = self._depth
        if depth is None:
            return
        hints = GaugeMetricFamily("influxops_queue_hints", "Hints that no worker has taken.")
        hints.add_metric([], depth.hints)
        yield hints
        jobs = GaugeMetricFamily("influxops_queue_jobs", "Jobs.", labels=["task", "status"])
        for task in ("make", "again", "full"):
            for status in ("todo", "doing"):
                found = [job for job in depth.jobs if (job.task, job.status) == (task, status)]
                jobs.add_metric([task, status], len(found))
        yield jobs
        tenants = GaugeMetricFamily(
            "influxops_queue_waiting_tenants",
            "Tenants that wait for their databases: without a place, and with one.",
            labels=["state"],
        )
        for state in ("wanted", "reserved"):
            waiting = [each.tenants for each in depth.waiting if each.state == state]
            tenants.add_metric([state], sum(waiting))
        yield tenants
        oldest = GaugeMetricFamily(
            "influxops_queue_oldest_waiting_seconds", "For how long the oldest of them has waited."
        )
        oldest.add_metric([], max((each.oldest for each in depth.waiting), default=0.0))
        yield oldest
        workers = GaugeMetricFamily("influxops_queue_workers", "Workers that are alive.")
        workers.add_metric([], len(depth.workers))
        yield workers


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    health: Health


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer `/healthz` and `/metrics`."""
        path = self.path.partition("?")[0]
        health = self.server.health
        if path == "/healthz":
            wrong = health.wrong
            self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode(), "text/plain")
        elif path == "/metrics":
            self._answer(200, generate_latest(health.registry), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, b"there are /healthz and /metrics\n", "text/plain")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: who watches asks all the time."""


def serve(health: Health, host: str, port: int) -> ThreadingHTTPServer:
    """Answer health checks and Prometheus in threads of their own.

    Args:
        health: What to tell.
        host: The address to listen on.
        port: The port, 0 for a free one.

    Returns:
        The server; `server_address` says where it answers.

    Raises:
        OSError: When nobody can listen there.
    """
    server = _Server((host, port), _Handler)
    server.health = health
    threading.Thread(target=server.serve_forever, name="influxops-health", daemon=True).start()
    return server
