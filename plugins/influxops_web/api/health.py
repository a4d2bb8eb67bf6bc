"""For monitoring: whether the service is alive, whether it can work, and its metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from influxops import Provisioner
from influxops_web.api.problems import documented
from influxops_web.api.tenants import service_of

# Without a further series for each counter, of when it began.
disable_created_metrics()  # type: ignore[no-untyped-call]

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

router = APIRouter(tags=["watching"])


class Metrics:
    """The service's counters; they name no tenant and no operator."""

    def __init__(self, provisioner: Provisioner) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "influxops_web_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "influxops_web_request_seconds",
            "How long they took.",
            ["route"],
            registry=self.registry,
            buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10),
        )

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"influxops_web_{name}", what, registry=self.registry)

        health = provisioner.health
        pending = gauge("pending_tenants", "Tenants that wait for their database in this process.")
        pending.set_function(lambda: health().pending)
        oldest = gauge("oldest_pending_seconds", "For how long the oldest of them waits.")
        oldest.set_function(lambda: health().oldest or 0.0)
        trouble = gauge("servers_in_trouble", "Servers that cannot be asked now.")
        trouble.set_function(lambda: len(health().trouble))


@router.get("/healthz")
async def lives() -> dict[str, str]:
    """Tell that the process answers; nothing else is asked."""
    return {"status": "ok"}


@router.get("/readyz", responses=documented(503))
async def ready(request: Request) -> dict[str, Any]:
    """Tell whether requests can be answered: whether PostgreSQL is available.

    An InfluxDB that is unavailable makes the service no less ready: `trouble` names the servers.
    """
    service = service_of(request)
    async with service.connection() as database:
        await database.execute("SELECT 1", ())
    health = service.provisioner.health()
    return {"status": "ok", "pending": health.pending, "trouble": sorted(health.trouble)}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return metrics as Prometheus reads them; they name no tenant."""
    found: Metrics = request.app.state.metrics
    return Response(generate_latest(found.registry), media_type=_CONTENT_TYPE)
