"""What Prometheus reads of the service; no tenant and no operator is named."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from influxops import Provisioner

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The service's counters.

    Args:
        provisioner: Whose tenants wait.
    """

    def __init__(self, provisioner: Provisioner) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "influxops_web_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "influxops_web_request_seconds",
            "How long they took.",
            ["route"],
            registry=self._registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10),
        )
        pending = Gauge(
            "influxops_web_pending_tenants",
            "Tenants that wait for their database in this process.",
            registry=self._registry,
        )
        pending.set_function(lambda: provisioner.health()["pending"])
        oldest = Gauge(
            "influxops_web_oldest_pending_seconds",
            "For how long the oldest of them waits.",
            registry=self._registry,
        )
        oldest.set_function(lambda: provisioner.health()["oldest"] or 0.0)
        trouble = Gauge(
            "influxops_web_servers_in_trouble",
            "Servers that cannot be asked now.",
            registry=self._registry,
        )
        trouble.set_function(lambda: len(provisioner.health()["trouble"]))

    def page(self) -> bytes:
        """Return all of it, as Prometheus reads it."""
        return generate_latest(self._registry)
