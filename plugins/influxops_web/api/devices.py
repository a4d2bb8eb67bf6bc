"""The provisioning API: devices are registered, and activated later with a code."""

from __future__ import annotations

import hashlib
import secrets
import uuid

import psycopg
from fastapi import APIRouter, Request

from influxops.domain.durations import parse_duration
from influxops_web.api.problems import Problem, documented
from influxops_web.api.schemas import NewDevice, Registered
from influxops_web.api.tenants import ALWAYS, SECURED, WRITES, registered, service_of
from influxops_web.db.devices import add_device
from influxops_web.security.sessions import origin_of

router = APIRouter(
    prefix="/api/admin", tags=["devices"], dependencies=SECURED, responses=documented(*ALWAYS)
)

#: Letters and digits that cannot be mistaken for each other.
_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_code() -> str:
    """Return an activation code: 80 random bits nearly, in four groups to be read aloud."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


@router.post("/devices", status_code=201, responses=documented(*WRITES, 404, 409))
async def register_device(new: NewDevice, request: Request) -> Registered:
    """Register a device of a tenant, with an activation code that is good for a while.

    Both are written in one transaction. Then the tenant's database is ensured, as when the tenant
    is created.
    """
    service = service_of(request)
    request.state.tenant = new.tenant_id
    code = new_code()
    values = {"tenant_id": new.tenant_id}
    if new.device_id or not service.device_table.makes_ids:
        values["device_id"] = new.device_id or uuid.uuid4().hex
    if new.name and "name" in service.device_table.present:
        values["name"] = new.name
    ttl = parse_duration(service.web.activation_ttl)
    try:
        async with service.transaction() as database:
            await registered(database, new.tenant_id)
            device_id, expires_at = await add_device(
                database, values, hashlib.sha256(code.encode()).digest(), ttl
            )
            await service.provisioner.aenqueue(
                new.tenant_id, database.connection, origin=origin_of(request)
            )
    except psycopg.errors.UniqueViolation:
        raise Problem(409, "device-exists", "there is a device of that id already") from None
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        said = error.diag.message_primary or "the table of devices does not take it"
        raise Problem(422, "no-such-device", f"the device cannot be registered: {said}") from None
    found = await service.ensure(new.tenant_id, origin_of(request))
    return Registered(
        tenant_id=new.tenant_id,
        device_id=device_id,
        activation_code=code,
        activation_expires_at=expires_at,
        influxdb_provisioned=found.is_ready,
    )
