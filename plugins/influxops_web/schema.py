"""The service's tables: numbered plain SQL files, each run in one transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.errors import ConfigError
from influxops.runtime.sql_migrations import Migration, migrations
from influxops_postgres.commit import confirmed
from influxops_web.place import TENANTS, Place

Connection = psycopg.Connection[Any]

_PACKAGE = "influxops_web"
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
    return migrations(_PACKAGE)[-1].version


def version(connection: Connection, place: Place) -> int:
    """Return the version of the tables that are there; 0 where there are none."""
    there = connection.execute(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = 'influxops_web_migrations'",
        [place.schema],
    ).fetchone()
    if there is None:
        return 0
    query = place.sql("SELECT coalesce(max(version), 0) FROM {influxops_web_migrations}")
    row = connection.execute(query).fetchone()
    assert row is not None, "an aggregate gives one row"
    return int(row[0])


def upgrade(connection: Connection, place: Place) -> Iterator[Migration]:
    """Run what is missing, each step in a transaction of its own.

    Args:
        connection: In autocommit mode.
        place: Which tables.

    Yields:
        Each step, once it is done.

    Raises:
        ConfigError: When a newer program has been there.
    """
    found = version(connection, place)
    if found > newest():
        raise _newer(found, place)
    for each in migrations(_PACKAGE):
        with confirmed(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            if version(connection, place) >= each.version:
                continue
            connection.execute(
                sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(place.schema))
            )
            connection.execute(place.sql(_MIGRATIONS))
            if each.name != "devices" or not _columns(connection, place, place.web.devices):
                connection.execute(place.sql(each.text))
            connection.execute(
                place.sql("INSERT INTO {influxops_web_migrations} (version, name) VALUES (%s, %s)"),
                [each.version, each.name],
            )
        yield each
    connection.execute(
        place.sql(
            "INSERT INTO {operator_keys} (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING"
        ),
        [SESSION_KEY, secrets.token_bytes(32)],
    )


def _newer(found: int, place: Place) -> ConfigError:
    return ConfigError(
        f"{place.text}: the service's tables are of version {found}, this program knows {newest()}",
        hint="install the newer influxops here too",
    )


def _columns(connection: Connection, place: Place, table: str) -> dict[str, bool]:
    """Return the columns of a table, and whether each must be given; none where it is not there."""
    rows = connection.execute(
        "SELECT a.attname, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        [place.schema, table],
    )
    return {name: bool(must) for name, must in rows}


class Devices(Struct, frozen=True):
    """What the table of devices is like."""

    present: frozenset[str]  # which of the columns that the service knows it has
    makes_ids: bool  # whether it gives a device its id itself


def look(connection: Connection, place: Place) -> tuple[Devices, bytes]:
    """Return what the table of devices is like, and the key that cookies are signed with.

    Raises:
        ConfigError: When the tables are not as the service needs them; it says what to do.
    """
    found = version(connection, place)
    if found > newest():
        raise _newer(found, place)
    key = None
    if found:
        query = place.sql("SELECT value FROM {operator_keys} WHERE name = %s")
        key = connection.execute(query, [SESSION_KEY]).fetchone()
    if found < newest() or key is None:
        raise ConfigError(
            f"{place.text}: the tables of the service are not there, or of an older version",
            hint="run `influxops db upgrade`",
        )
    tenants = _columns(connection, place, TENANTS)
    lacking = [n for n in ("tenant_id", "name", "status", "created_at") if n not in tenants]
    if lacking:
        raise ConfigError(
            f"{place.text}: the table {TENANTS} has no column {', '.join(lacking)}",
            hint="add what is missing; the service does not change a table that was there before",
        )
    return _devices(connection, place), bytes(key[0])


def _devices(connection: Connection, place: Place) -> Devices:
    table, columns = place.web.devices, place.columns
    there = _columns(connection, place, table)
    lacking = [n for n in ("device_id", "tenant_id", *place.web.columns) if columns[n] not in there]
    lacking += [name for name in place.web.device_values if name not in there]
    if lacking:
        names = ", ".join(columns.get(name, name) for name in dict.fromkeys(lacking))
        raise ConfigError(
            f"{place.text}: the table {table} has no column {names}",
            hint="map it in `columns` of [web], or correct `devices` of [web]",
        )
    given = {*columns.values(), *place.web.device_values}
    left = [name for name, must in there.items() if must and name not in given]
    if left:
        raise ConfigError(
            f"{place.text}: a new device needs {', '.join(left)} in {table}, and nobody says what",
            hint="write a value for each into `device_values` of [web], or give it a default",
        )
    present = frozenset(name for name, column in columns.items() if column in there)
    return Devices(present, not there[columns["device_id"]])


_WHO = (
    "SELECT current_database(), pg_postmaster_start_time(), "
    "(SELECT oid FROM pg_database WHERE datname = current_database())"
)


def identity(connection: Connection) -> tuple[Any, ...]:
    """Return what tells a database from every other."""
    row = connection.execute(_WHO).fetchone()
    assert row is not None, "it gives one row"
    return tuple(row)
