"""What is read of the tables of tenants and devices, and written to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from influxops_web.api.schemas import DeviceStats, Status
from influxops_web.service import Connection, Service

Row = dict[str, Any]

_TENANT = "SELECT tenant_id, name, status, created_at FROM {tenants}"
#: The id or the name has it, and it stands so; NULL for what is not asked for.
_FITS = """
 WHERE (%(search)s::text IS NULL OR strpos(lower(tenant_id), lower(%(search)s)) > 0
        OR strpos(lower(name), lower(%(search)s)) > 0)
   AND (%(status)s::text IS NULL OR status = %(status)s)
"""


async def tenant(connection: Connection, service: Service, id_: str) -> Row | None:
    """Return a tenant's row; None where there is none."""
    query = service.place.sql(_TENANT + " WHERE tenant_id = %s")
    return await (await connection.execute(query, [id_])).fetchone()


async def add_tenant(connection: Connection, service: Service, id_: str, name: str) -> bool:
    """Add a tenant; return whether there was none of that id."""
    query = "INSERT INTO {tenants} (tenant_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    cursor = await connection.execute(service.place.sql(query), [id_, name])
    return cursor.rowcount == 1


async def change_tenant(
    connection: Connection, service: Service, id_: str, change: Mapping[str, str]
) -> Row | None:
    """Change a tenant's name or status; return its row as it is then, None where there is none."""
    query = service.place.sql(
        "UPDATE {tenants} SET name = coalesce(%(name)s, name), "
        "status = coalesce(%(status)s, status) "
        "WHERE tenant_id = %(id)s RETURNING tenant_id, name, status, created_at"
    )
    values = {"id": id_, "name": change.get("name"), "status": change.get("status")}
    return await (await connection.execute(query, values)).fetchone()


async def page_of_tenants(
    connection: Connection,
    service: Service,
    *,
    page: int,
    per_page: int,
    search: str | None = None,
    status: Status | None = None,
) -> tuple[list[Row], int]:
    """Return a page of tenants in the order of their ids, and how many there are that fit."""
    values = {
        "search": search or None,
        "status": status.value if status else None,
        "most": per_page,
        "before": (page - 1) * per_page,
    }
    query = service.place.sql("SELECT count(*) AS total FROM {tenants}" + _FITS)
    counted = await (await connection.execute(query, values)).fetchone()
    assert counted is not None, "an aggregate gives one row"
    query = service.place.sql(
        _TENANT + _FITS + " ORDER BY tenant_id LIMIT %(most)s OFFSET %(before)s"
    )
    rows = await (await connection.execute(query, values)).fetchall()
    return rows, int(counted["total"])


async def device_stats(connection: Connection, service: Service, id_: str) -> DeviceStats:
    """Return how many devices a tenant has, as far as the table of devices tells."""
    present = service.devices.present
    parts = ["count(*) AS devices"]
    if "status" in present:
        parts.append("count(*) FILTER (WHERE {status} = 'active') AS active_devices")
    if "created_at" in present:
        parts.append("max({created_at})::timestamptz AS last_device_at")
    if "last_seen_at" in present:
        parts.append("max({last_seen_at})::timestamptz AS last_seen_at")
    query = service.place.sql(
        f"SELECT {', '.join(parts)} FROM {{devices}} WHERE {{tenant_id}} = %s"
    )
    row = await (await connection.execute(query, [id_])).fetchone()
    assert row is not None, "an aggregate gives one row"
    none = {"active_devices": None, "last_device_at": None, "last_seen_at": None}
    return DeviceStats(**{**none, **row})


async def add_device(
    connection: Connection, service: Service, values: Mapping[str, str], code_hash: bytes, ttl: int
) -> Row:
    """Register a device with its activation code.

    Args:
        connection: With a transaction.
        service: The service.
        values: What is given of it, by the service's names of the columns.
        code_hash: SHA-256 of the activation code.
        ttl: Seconds for which the code is good.

    Returns:
        Its `device_id`, and the code's `expires_at`.
    """
    columns = service.place.columns
    row = {columns[name]: value for name, value in values.items()}
    row = {**service.web.device_values, **row}
    added = await connection.execute(
        service.place.sql(
            "INSERT INTO {devices} ({names}) VALUES ({values}) RETURNING {device_id}::text AS id",
            names=sql.SQL(", ").join(map(sql.Identifier, row)),
            values=sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        [*row.values()],
    )
    device = await added.fetchone()
    assert device is not None, "it returns the row"
    activated = await connection.execute(
        service.place.sql(
            "INSERT INTO {device_activation} (code_hash, device_id, tenant_id, expires_at) "
            "VALUES (%s, %s, %s, now() + make_interval(secs => %s)) RETURNING expires_at"
        ),
        [code_hash, device["id"], values["tenant_id"], ttl],
    )
    code = await activated.fetchone()
    assert code is not None, "it returns the row"
    return {"device_id": device["id"], "expires_at": code["expires_at"]}
