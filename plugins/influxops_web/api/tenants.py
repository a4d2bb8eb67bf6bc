"""The operators' API: tenants and the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from influxops_web.api.problems import Problem, documented
from influxops_web.api.schemas import (
    TENANT_ID,
    Created,
    DeviceStats,
    Fleet,
    NewTenant,
    Provisioned,
    Server,
    Status,
    Telemetry,
    Tenant,
    TenantChange,
    TenantPage,
    TenantStats,
    Waiting,
)
from influxops_web.db import queries
from influxops_web.db.connect import Database
from influxops_web.db.devices import devices
from influxops_web.db.queries import THERE
from influxops_web.fleet import ServerStatus, fault_of
from influxops_web.security.sessions import COOKIE, origin_of
from influxops_web.service import Service

#: The middleware has checked them already; these are for OpenAPI.
SECURED = [
    Security(HTTPBearer(auto_error=False, description="A token of `influxops token create`.")),
    Security(APIKeyCookie(name=COOKIE, auto_error=False, description="Got by POST /login.")),
]
ALWAYS = (401, 422, 503)
WRITES = (400, 403, 408, 413, 415)

router = APIRouter(
    prefix="/operator", tags=["operator"], dependencies=SECURED, responses=documented(*ALWAYS)
)

TenantPath = Annotated[str, Path(pattern=TENANT_ID, description="The tenant's id.")]
#: Tenants that wait for a database and are named.
_NAMED = 100


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


@router.post("/tenants", status_code=201, responses=documented(*WRITES, 409))
async def create_tenant(new: NewTenant, request: Request) -> Created:
    """Create a tenant, and its database if InfluxDB is available.

    If it is not, the tenant is created nevertheless: its database is enqueued in the same
    transaction, and created as soon as it can be.
    """
    service = service_of(request)
    request.state.tenant = new.tenant_id
    found = await service.create(new.tenant_id, new.name, origin_of(request))
    return Created(tenant_id=new.tenant_id, status="created", influxdb_provisioned=found.is_ready)


@router.get("/tenants", responses=documented(404))
async def list_tenants(
    request: Request,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="Which page, from 1.")] = 1,
    per_page: Annotated[int, Query(ge=1, le=500, description="Tenants a page.")] = 50,
    search: Annotated[
        str, Query(max_length=200, pattern="^[^\\u0000]*$", description="A part of id or name.")
    ] = "",
    status: Annotated[Status | None, Query(description="Only those that stand so.")] = None,
) -> TenantPage:
    """List tenants by pages, in the order of their ids."""
    service = service_of(request)
    wanted = queries.TenantFilter(search, status=status.value if status else "", page=page)
    async with service.connection() as database:
        rows, total = await queries.registered_tenants(database, wanted, per_page)
    pages = max(1, -(-total // per_page))
    if page > pages:
        raise Problem(404, "no-such-page", f"there is no page {page}: the last one is {pages}")
    servers = await service.servers()
    tenants = [_shown(row, servers) for row in rows]
    return TenantPage(tenants=tenants, page=page, per_page=per_page, pages=pages, total=total)


async def registered(database: Database, tenant_id: str) -> queries.TenantRow:
    """Read a tenant of the service's table."""
    row = await queries.tenant(database, tenant_id)
    if row is None or row.status is None:
        raise Problem(404, "no-such-tenant", f"there is no tenant {tenant_id}")
    return row


@router.get("/tenants/{tenant_id}", responses=documented(404))
async def get_tenant(tenant_id: TenantPath, request: Request) -> Tenant:
    """Return a tenant, and where its database is."""
    service = service_of(request)
    async with service.connection() as database:
        row = await registered(database, tenant_id)
    return _shown(row, await service.servers())


def _shown(row: queries.TenantRow, servers: Mapping[str, ServerStatus]) -> Tenant:
    """Return a tenant; what its server shows outranks what the ledger has."""
    found, fault = Tenant.model_validate(row), fault_of(row, servers)
    if fault is not None:
        found.influxdb.state, found.influxdb.trouble = fault.word, fault.message
    is_there = fault is None or fault.word == "unavailable"
    server = servers.get(row.target or "")
    if row.state in THERE and is_there and server is not None:
        found.influxdb.url = server.url
    return found


@router.patch("/tenants/{tenant_id}", responses=documented(*WRITES, 404))
async def change_tenant(tenant_id: TenantPath, change: TenantChange, request: Request) -> Tenant:
    """Change a tenant's name or status; its database stays as it is."""
    service = service_of(request)
    given = change.model_dump(include=change.model_fields_set)
    if not given:
        raise Problem(422, "nothing-to-change", "give a name, a status, or both")
    async with service.transaction() as database:
        await queries.change_tenant(database, tenant_id, given)
        row = await registered(database, tenant_id)
    return _shown(row, await service.servers())


@router.get("/tenants/{tenant_id}/stats", responses=documented(404))
async def tenant_stats(tenant_id: TenantPath, request: Request) -> TenantStats:
    """Count a tenant's devices and telemetry; what InfluxDB does not tell in time is null."""
    service = service_of(request)
    async with service.connection() as database:
        row = await registered(database, tenant_id)
        found = await devices(database, service.device_table, tenant_id)
    return TenantStats(
        tenant_id=tenant_id,
        name=row.name or "",
        status=row.status or "",
        stats=DeviceStats.model_validate(found),
        influxdb=Telemetry.model_validate(await service.inspect(tenant_id)),
    )


@router.post("/tenants/{tenant_id}/ensure", responses=documented(*WRITES, 404))
async def ensure_tenant(tenant_id: TenantPath, request: Request) -> Provisioned:
    """Ensure that a tenant has its database."""
    service = service_of(request)
    async with service.connection() as database:
        await registered(database, tenant_id)
    found = await service.ensure(tenant_id, origin_of(request))
    return Provisioned.model_validate(found)


@router.get("/fleet")
async def fleet(request: Request) -> Fleet:
    """Return how full the servers were when they were read last, and which tenants wait and why."""
    service = service_of(request)
    servers = await service.servers()
    async with service.connection() as database:
        states, _ = await service.fleet.count_states(database, servers)
        waiting, total = await queries.waiting(database, _NAMED)
    return Fleet(
        servers=[
            Server(
                name=name,
                url=each.url,
                state=each.target.state,
                databases=each.recorded.tenants,
                found=each.number,
                capacity=each.capacity,
                capacity_is_estimate=each.is_estimate,
                read_at=each.read_at,
                fault=each.fault,
                trouble=each.trouble,
            )
            for name, each in servers.items()
            if each.target is not None
        ],
        waiting=[Waiting.model_validate(each) for each in waiting],
        waiting_total=total,
        states=states,
    )
