"""The state of a worker: for a health check, and for Prometheus."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import resource
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from influxops.errors import ExitCode
from influxops_queue.db.queries import QueueStats

# Without a further series for each counter, of when it began.
disable_created_metrics()  # type: ignore[no-untyped-call]

log = logging.getLogger("influxops")

#: Seconds after which what was last read of the queue says nothing any more.
_STALE = 60.0
#: Seconds that one connection may take in all.
TIME = 10.0
#: The most connections, each of which has a thread; fewer where the process may open few files.
_MOST = 64
#: Seconds that a new connection waits for the thread of one that is ended for it.
_ROOM = 1.0
#: Seconds before another try, where no connection can be accepted, and between two lines about it.
_AGAIN, _QUIET = 0.5, 10.0
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: Seconds from wanted to ready.
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86_400)


class Health(Collector):
    """The problems and figures of a worker."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}  # why it cannot work, by what that is about
        self._stats: QueueStats | None = None
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
            "Full runs of this worker: ok, failed (its report says why), broken (there was none).",
            ["result"],
            registry=self.registry,
        )
        self._ended = Gauge(
            "influxops_queue_full_run_end_timestamp_seconds",
            "When the last full run of this worker ended.",
            registry=self.registry,
        )
        self.registry.register(self)

    def report_problem(self, about: str, why: str) -> None:
        """Log what is wrong, once while it lasts, and that it is over, where all is well again."""
        if bool(why) == bool(self.problems.get(about)):
            return
        self.problems[about] = why
        if why:
            log.warning("%s: %s; retrying automatically", about, why)
        else:
            log.warning("%s: all is well again", about)

    def record_queue_stats(self, stats: QueueStats) -> None:
        """Record what is in the queue, as it was just read."""
        self._stats, self._seen = stats, time.monotonic()

    def observe_latency(self, seconds: Iterable[float]) -> None:
        """Record how long tenants waited whose databases exist now."""
        for each in seconds:
            self._ready.observe(each)

    def observe_run(self, code: ExitCode | None) -> None:
        """Record how a full run ended; None where none could be made."""
        result = "broken" if code is None else "ok" if code is ExitCode.OK else "failed"
        self._runs.labels(result).inc()
        self._ended.set_to_current_time()

    @property
    def problem(self) -> str:
        """Why the worker does not work; empty where it does."""
        if (age := time.monotonic() - self._seen) <= _STALE:
            return ""
        why = "; ".join(f"{about}: {why}" for about, why in self.problems.items() if why)
        return f"the ledger was last read {age:.0f} s ago{': ' if why else ''}{why}"

    def collect(self) -> Iterator[Metric]:
        """Yield what is in the queue, as it was last read."""
        stats = self._stats
        if stats is None:
            return
        hints = GaugeMetricFamily("influxops_queue_hints", "Hints that no worker has taken.")
        hints.add_metric([], stats.hints)
        yield hints
        jobs = GaugeMetricFamily(
            "influxops_queue_jobs", "Jobs, by what they do.", labels=["task", "status"]
        )
        for task in ("create_databases", "retry_unplaced", "reconcile"):
            for status in ("todo", "doing"):
                found = [job for job in stats.jobs if (job.task, job.status) == (task, status)]
                jobs.add_metric([task, status], len(found))
        yield jobs
        tenants = GaugeMetricFamily(
            "influxops_queue_waiting_tenants",
            "Tenants that wait for their databases, without a target and with one.",
            labels=["state"],
        )
        for state in ("pending", "allocated"):
            waiting = [each.tenants for each in stats.waiting if each.state == state]
            tenants.add_metric([state], sum(waiting))
        yield tenants
        oldest = GaugeMetricFamily(
            "influxops_queue_oldest_waiting_seconds",
            "For how long the oldest tenant has waited, whether a worker has looked at it or not.",
        )
        oldest.add_metric([], stats.oldest)
        yield oldest
        read = GaugeMetricFamily(
            "influxops_queue_read_timestamp_seconds", "When all of this was last read."
        )
        read.add_metric([], time.time() - (time.monotonic() - self._seen))
        yield read
        workers = GaugeMetricFamily("influxops_queue_workers", "Workers that are alive.")
        workers.add_metric([], len(stats.workers))
        yield workers


def most_connections() -> int:
    """Return how many connections may be open at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if files == resource.RLIM_INFINITY else max(min(_MOST, files // 4), 1)


class _Server(ThreadingHTTPServer):
    """Answers each connection in a thread, and ends those that take too long.

    Where there are too many, the one that has been open longest makes room.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], health: Health) -> None:
        self.health = health
        #: Since when each connection has been open, the oldest first.
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._threads_left = threading.BoundedSemaphore(most_connections())
        self._said = -_QUIET
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; where that fails, one line of the log says so."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._end_oldest()
                if time.monotonic() - self._said >= _QUIET:
                    self._said = time.monotonic()
                    log.warning("no health check can be accepted: %s", error.strerror)
                time.sleep(_AGAIN)  # the one that waits would be seen again at once
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread; the connection is ended without an answer where there is none."""
        if not self._threads_left.acquire(blocking=False):
            self._end_oldest()
            if not self._threads_left.acquire(timeout=_ROOM):
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._done(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._done(request)

    def service_actions(self) -> None:
        """End what has been open for too long; called twice a second at least."""
        while self._end_oldest(time.monotonic() - TIME):
            pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing of a client that has gone, as it is where it was ended here."""
        log.debug("a health check was not answered", exc_info=True)

    def _end_oldest(self, before: float = math.inf) -> bool:
        """End the connection that has been open longest, since `before`, if there is one."""
        with self._lock:
            request, since = next(iter(self._open.items()), (None, math.inf))
            if request is None or since >= before:
                return False
            del self._open[request]
        with contextlib.suppress(OSError):  # it has gone by itself
            request.shutdown(socket.SHUT_RDWR)
        return True

    def _done(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._threads_left.release()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer `/healthz` and `/metrics`."""
        path = self.path.partition("?")[0]
        health = self.server.health
        if path == "/healthz":
            problem = health.problem
            self._answer(503 if problem else 200, f"{problem or 'ok'}\n".encode(), "text/plain")
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
        """Log nothing: monitoring asks all the time."""


def serve(health: Health, host: str, port: int) -> ThreadingHTTPServer:
    """Answer health checks and Prometheus in threads of their own, on a free port where it is 0."""
    server = _Server((host, port), health)
    threading.Thread(target=server.serve_forever, name="influxops-health", daemon=True).start()
    return server
