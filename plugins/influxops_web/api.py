"""The operators' API: tenants and the fleet."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from influxops.domain.record import Record, State
from influxops.engine.engine import Engine
from influxops.provisioner import Ensured, WrongCall
from influxops.runtime.context import Context
from influxops_web import store
from influxops_web.auth import COOKIE
from influxops_web.problems import Problem, documented
from influxops_web.service import Service
from influxops_web.values import (
    TENANT_ID,
    Created,
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
    place,
)

#: What the gate has checked already; these are for OpenAPI.
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
#: Seconds for which the fleet is known, and that reading all of the ledger may take.
_FLEET, _READING = 2.0, 10.0
#: So many of who waits are named.
_NAMED = 100


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


def no_tenant(id_: str) -> Problem:
    """Return the problem that there is no such tenant."""
    return Problem(404, "no-such-tenant", f"there is no tenant {id_}")


@router.post("/tenants", status_code=201, responses=documented(*WRITES, 409))
async def create_tenant(new: NewTenant, request: Request) -> Created:
    """Create a tenant, and its database, if InfluxDB is there.

    If it is not, the tenant is created nevertheless: that its database is wanted is noted in the
    same transaction, and it is made as soon as it can be.
    """
    service = service_of(request)
    request.state.tenant = new.tenant_id
    try:
        service.rules.check(new.tenant_id)
    except WrongCall as error:
        raise Problem(422, "no-such-id", str(error)) from None
    async with service.transaction() as connection:
        if not await store.add_tenant(connection, service, new.tenant_id, new.name):
            raise Problem(409, "tenant-exists", f"there is a tenant {new.tenant_id} already")
        await service.provisioner.aensure(new.tenant_id, connection=connection)
    found = await service.ensure(new.tenant_id)
    return Created(tenant_id=new.tenant_id, status="created", influxdb_provisioned=bool(found))


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
    async with service.connection() as connection:
        rows, total = await store.page_of_tenants(
            connection, service, page=page, per_page=per_page, search=search, status=status
        )
    pages = max(1, -(-total // per_page))
    if page > pages:
        raise Problem(404, "no-such-page", f"there is no page {page}: the last one is {pages}")
    records = await service.records([row["tenant_id"] for row in rows]) if rows else {}
    tenants = [Tenant(**row, influxdb=place(records.get(row["tenant_id"]))) for row in rows]
    return TenantPage(tenants=tenants, page=page, per_page=per_page, pages=pages, total=total)


async def _shown(service: Service, tenant_id: str, row: Mapping[str, Any] | None) -> Tenant:
    """Return a tenant with what the ledger has of its database, unless it was not found."""
    if row is None:
        raise no_tenant(tenant_id)
    return Tenant(**row, influxdb=place((await service.records([tenant_id])).get(tenant_id)))


@router.get("/tenants/{tenant_id}", responses=documented(404))
async def get_tenant(tenant_id: TenantPath, request: Request) -> Tenant:
    """Return a tenant, and what the ledger has of its database."""
    service = service_of(request)
    async with service.connection() as connection:
        row = await store.tenant(connection, service, tenant_id)
    return await _shown(service, tenant_id, row)


@router.patch("/tenants/{tenant_id}", responses=documented(*WRITES, 404))
async def change_tenant(tenant_id: TenantPath, change: TenantChange, request: Request) -> Tenant:
    """Change a tenant's name or status; its database stays as it is."""
    service = service_of(request)
    given = change.model_dump(include=change.model_fields_set)
    if not given:
        raise Problem(422, "nothing-to-change", "give a name, a status, or both")
    async with service.transaction() as connection:
        row = await store.change_tenant(connection, service, tenant_id, given)
    return await _shown(service, tenant_id, row)


@router.get("/tenants/{tenant_id}/stats", responses=documented(404))
async def tenant_stats(tenant_id: TenantPath, request: Request) -> TenantStats:
    """Count a tenant's devices and telemetry; what InfluxDB does not tell in time is null."""
    service = service_of(request)
    async with service.connection() as connection:
        row = await store.tenant(connection, service, tenant_id)
        if row is None:
            raise no_tenant(tenant_id)
        stats = await store.device_stats(connection, service, tenant_id)
    found = {"telemetry_count": None, **await service.check(tenant_id)}
    return TenantStats(
        tenant_id=tenant_id,
        name=row["name"],
        status=row["status"],
        stats=stats,
        influxdb=Telemetry(**found),
    )


@router.post("/tenants/{tenant_id}/ensure", responses=documented(*WRITES, 404))
async def ensure_tenant(tenant_id: TenantPath, request: Request) -> Provisioned:
    """See to it that a tenant has its database."""
    service = service_of(request)
    async with service.connection() as connection:
        if await store.tenant(connection, service, tenant_id) is None:
            raise no_tenant(tenant_id)
    return provisioned(await service.ensure(tenant_id))


def provisioned(found: Ensured) -> Provisioned:
    """Return what became of a tenant's database."""
    return Provisioned(
        tenant_id=found.tenant,
        influxdb_provisioned=bool(found),
        how=found.how.value,
        database=found.database or None,
        target=found.target,
        reason=found.reason or None,
    )


@router.get("/fleet")
async def fleet(request: Request) -> Fleet:
    """Tell how full the servers are, and who waits for a database and why."""
    return await fleet_of(service_of(request))


async def fleet_of(service: Service) -> Fleet:
    """Return how full the servers are, and who waits, as it was a few seconds ago at most.

    It takes all of the ledger to tell, so those who ask at once share one reading of it.

    Raises:
        Problem: When the ledger cannot be read (503).
    """
    if service.fleet is not None and time.monotonic() - service.fleet[0] <= _FLEET:
        return service.fleet[1]
    if service.reading_fleet is None or service.reading_fleet.done():
        service.reading_fleet = asyncio.create_task(_read_fleet(service))
    # They share a failure, too: nobody waits for one reading after another.
    found = await asyncio.shield(service.reading_fleet)
    service.fleet = (time.monotonic(), found)
    return found


async def _read_fleet(service: Service) -> Fleet:
    trouble = service.provisioner.health()["trouble"]

    def read(engine: Engine, context: Context) -> Fleet:
        assert engine.ledger is not None, "the service was started with one"
        records = engine.ledger.memory(context).records.values()
        counts = engine.ledger.counts(context)
        waiting = [record for record in records if record.state in _WAITING]
        waiting.sort(key=_longest)
        servers = []
        for handle in engine.targets:
            capacity = handle.settings.capacity
            servers.append(
                Server(
                    name=handle.name,
                    url=handle.location.text if handle.location else "",
                    state=handle.settings.state,
                    databases=None if counts is None else counts.get(handle.name, 0),
                    capacity=capacity if isinstance(capacity, int) else None,
                    trouble=trouble.get(handle.full_name),
                )
            )
        return Fleet(
            servers=servers,
            waiting=[_waiting(record) for record in waiting[:_NAMED]],
            waiting_total=len(waiting),
            states=Counter(record.state.value for record in records),
        )

    return await service.with_engine(read, _READING)


_WAITING = (State.WANTED, State.RESERVED, State.UNCONFIRMED, State.LOST)


def _longest(record: Record) -> tuple[float, str]:
    return (record.since.timestamp() if record.since else 0.0, record.tenant)


def _waiting(record: Record) -> Waiting:
    return Waiting(
        tenant_id=record.tenant,
        state=record.state.value,
        since=record.since,
        error=record.error or None,
    )
