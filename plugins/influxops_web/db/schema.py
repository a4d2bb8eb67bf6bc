"""The service's tables: numbered plain SQL files, each run in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from psycopg import sql

from influxops.errors import ConfigError
from influxops_postgres.connection import migrations
from influxops_postgres.connection.migrations import Migration
from influxops_web.db.connect import TENANTS, Connection, DatabaseLocation

_PACKAGE = "influxops_web.db"
#: The key of the advisory lock that upgrades take: "iopsweb" as a number.
_LOCK = 0x696F7073776562
_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS {influxops_web_migrations} (
    version integer PRIMARY KEY,
    name text NOT NULL,
    installed timestamptz NOT NULL DEFAULT now()
)
"""
#: The name of the key that session cookies are signed with.
SESSION_KEY = "session"


def newest() -> int:
    """Return the version of the schema that this program works with."""
    return migrations.migrations(_PACKAGE)[-1].version


def _version(connection: Connection, location: DatabaseLocation) -> int:
    """Return the version of the tables, 0 without any."""
    found = migrations.version(connection, location.schema, "influxops_web_migrations")
    if found > newest():
        raise ConfigError(
            f"{location.text}: the service's tables are of version {found}, this program knows "
            f"{newest()}",
            hint="install the newer influxops here too",
        )
    return found


_MAY_READ = """
SELECT has_table_privilege(c.oid, 'SELECT') AS granted
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = 'influxops_web_migrations'
"""


def is_installed(connection: Connection, location: DatabaseLocation) -> bool:
    """Return whether the tables are there, of whatever version, for this user."""
    row = connection.execute(_MAY_READ, [location.schema]).fetchone()
    return row is not None and bool(row["granted"])


def upgrade(connection: Connection, location: DatabaseLocation) -> Iterator[Migration]:
    """Run what is missing, each step in a transaction of its own, and yield each that is done."""

    def missing() -> Migration | None:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        found = _version(connection, location)
        steps = migrations.migrations(_PACKAGE)
        return next((step for step in steps if step.version > found), None)

    def run(step: Migration) -> None:
        connection.execute(
            sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(location.schema))
        )
        connection.execute(location.sql(_MIGRATIONS))
        if step.name != "devices" or not _columns(connection, location, location.web.device_table):
            connection.execute(location.sql(step.text))
        connection.execute(
            location.sql("INSERT INTO {influxops_web_migrations} (version, name) VALUES (%s, %s)"),
            [step.version, step.name],
        )

    _version(connection, location)
    yield from migrations.upgrade(connection, missing, run)
    connection.execute(
        location.sql(
            "INSERT INTO {operator_keys} (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING"
        ),
        [SESSION_KEY, secrets.token_bytes(32)],
    )


def _columns(connection: Connection, location: DatabaseLocation, table: str) -> dict[str, bool]:
    """Return the columns of a table, and whether each must be given; none where it is not there."""
    rows = connection.execute(
        "SELECT a.attname AS name, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS must "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        [location.schema, table],
    )
    return {row["name"]: row["must"] for row in rows}


class DeviceTable(Struct, frozen=True):
    """What the table of devices is like."""

    present: frozenset[str]  # which of the columns that the service knows it has
    makes_ids: bool  # whether it gives a device its id itself


def read_tables(connection: Connection, location: DatabaseLocation) -> tuple[DeviceTable, bytes]:
    """Return what the table of devices is like, and the key that cookies are signed with."""
    found = _version(connection, location)
    key = None
    if found:
        query = location.sql("SELECT value FROM {operator_keys} WHERE name = %s")
        key = connection.execute(query, [SESSION_KEY]).fetchone()
    if found < newest() or key is None:
        raise ConfigError(
            f"{location.text}: the tables of the service are not there, or of an older version",
            hint="run `influxops db upgrade`",
        )
    tenants = _columns(connection, location, TENANTS)
    lacking = [n for n in ("tenant_id", "name", "status", "created_at") if n not in tenants]
    if lacking:
        raise ConfigError(
            f"{location.text}: the table {TENANTS} has no column {', '.join(lacking)}",
            hint="add what is missing; the service does not change a table that was there before",
        )
    return _devices(connection, location), bytes(key["value"])


def _devices(connection: Connection, location: DatabaseLocation) -> DeviceTable:
    table, columns = location.web.device_table, location.columns
    there = _columns(connection, location, table)
    lacking = [
        n for n in ("device_id", "tenant_id", *location.web.columns) if columns[n] not in there
    ]
    lacking += [name for name in location.web.device_values if name not in there]
    if lacking:
        names = ", ".join(columns.get(name, name) for name in dict.fromkeys(lacking))
        raise ConfigError(
            f"{location.text}: the table {table} has no column {names}",
            hint="map it in `columns` of [web], or correct `device_table` of [web]",
        )
    given = {*columns.values(), *location.web.device_values}
    left = [name for name, must in there.items() if must and name not in given]
    if left:
        raise ConfigError(
            f"{location.text}: a new device needs {', '.join(left)} in {table}, and no "
            "value is configured",
            hint="write a value for each into `device_values` of [web], or give it a default",
        )
    present = frozenset(name for name, column in columns.items() if column in there)
    return DeviceTable(present, not there[columns["device_id"]])


_IDENTITY = (
    "SELECT current_database() AS name, pg_postmaster_start_time() AS started, "
    "(SELECT oid FROM pg_database WHERE datname = current_database()) AS oid"
)


def database_identity(connection: Connection) -> dict[str, Any]:
    """Return what identifies a database among all others."""
    row = connection.execute(_IDENTITY).fetchone()
    assert row is not None, "it gives one row"
    return row
