"""For who watches the service: whether it lives, whether it can work, and its metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from influxops_web.api.metrics import CONTENT_TYPE
from influxops_web.api.problems import documented
from influxops_web.api.tenants import service_of

router = APIRouter(tags=["watching"])


@router.get("/healthz")
async def lives() -> dict[str, str]:
    """Tell that the process answers; nothing else is asked."""
    return {"status": "ok"}


@router.get("/readyz", responses=documented(503))
async def ready(request: Request) -> dict[str, Any]:
    """Tell whether requests can be answered: whether PostgreSQL is there.

    InfluxDB being away makes the service no less ready: `trouble` names the servers.
    """
    service = service_of(request)
    async with service.connection() as connection:
        await connection.execute("SELECT 1")
    health = service.provisioner.health()
    return {"status": "ok", "pending": health["pending"], "trouble": sorted(health["trouble"])}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return metrics as Prometheus reads them; they name no tenant."""
    return Response(service_of(request).metrics.page(), media_type=CONTENT_TYPE)
