"""The table of devices, the service's own or the platform's: what is read of it and written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from psycopg import sql

from influxops_web.db.connect import Database
from influxops_web.db.schema import DeviceTable

#: Devices that are named on a tenant's page.
DEVICES_SHOWN = 20


class Device(Struct, frozen=True):
    """One device of a tenant; what the table of devices has no column for is None."""

    device: str
    name: str | None
    status: str | None
    last_seen_at: datetime | None


class Devices(Struct, frozen=True):
    """The devices of a tenant; what the table of devices has no column for is None."""

    total: int
    active: int | None
    last_device_at: datetime | None  # when the last one was registered
    last_seen_at: datetime | None
    first: list[Device]


# Columns that the table of devices does not have are NULL there.
_DEVICES = """
WITH own AS (
    SELECT {device_id}::text AS device, {name_of} AS name, {status_of} AS status,
           {created_of} AS created_at, {seen_of} AS last_seen_at
      FROM {devices} WHERE {tenant_id} = %(tenant)s
)
SELECT (SELECT count(*) FROM own) AS total,
       (SELECT count(*) FROM own WHERE status = 'active') AS active,
       (SELECT max(created_at) FROM own) AS last_device,
       (SELECT max(last_seen_at) FROM own) AS seen, own.*
  FROM (SELECT) AS always
  LEFT JOIN (SELECT * FROM own ORDER BY device COLLATE "C" LIMIT %(limit)s) AS own ON true
 ORDER BY own.device COLLATE "C"
"""


async def devices(database: Database, table: DeviceTable, id_: str) -> Devices:
    """Read how many devices a tenant has, and the first of them."""
    columns = database.location.columns
    parts = {
        part: sql.SQL("{}::{}").format(sql.Identifier(columns[name]), sql.SQL(kind))
        if name in table.present
        else sql.SQL(f"NULL::{kind}")
        for part, name, kind in (
            ("name_of", "name", "text"),
            ("status_of", "status", "text"),
            ("created_of", "created_at", "timestamptz"),
            ("seen_of", "last_seen_at", "timestamptz"),
        )
    }
    rows = await database.rows(_DEVICES, {"tenant": id_, "limit": DEVICES_SHOWN}, **parts)
    first = rows[0]
    return Devices(
        first["total"],
        first["active"] if "status" in table.present else None,
        first["last_device"],
        first["seen"],
        [
            Device(row["device"], row["name"], row["status"], row["last_seen_at"])
            for row in rows
            if row["device"] is not None
        ],
    )


async def add_device(
    database: Database,
    values: Mapping[str, str],
    code_hash: bytes,
    ttl: int,
) -> tuple[str, datetime]:
    """Register a device in a transaction, with a code that is good for `ttl` seconds.

    The values are by the service's names of the columns. The id comes with when the code expires.
    """
    location = database.location
    named = {location.columns[name]: value for name, value in values.items()}
    row = {**location.web.device_values, **named}
    (device,) = await database.rows(
        "INSERT INTO {devices} ({names}) VALUES ({given}) RETURNING {device_id}::text AS id",
        [*row.values()],
        names=sql.SQL(", ").join(map(sql.Identifier, row)),
        given=sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )
    (code,) = await database.rows(
        "INSERT INTO {device_activation} (code_hash, device_id, tenant_id, expires_at) "
        "VALUES (%s, %s, %s, now() + make_interval(secs => %s)) RETURNING expires_at",
        [code_hash, device["id"], values["tenant_id"], ttl],
    )
    return device["id"], code["expires_at"]
