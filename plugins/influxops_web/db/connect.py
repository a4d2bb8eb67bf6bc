"""The service's database, where the source of its tenants is, and a connection to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.engine.engine import Engine
from influxops.errors import ConfigError, InfluxopsError
from influxops.runtime.context import RunContext
from influxops_postgres.connection.errors import (
    PROTOCOL_VIOLATION,
    CommitUnknown,
    NotCommitted,
    broken_hint,
    explained,
    reason,
)
from influxops_postgres.connection.pool import connected
from influxops_postgres.connection.settings import ConnectionSettings
from influxops_web.settings import WebSettings

Connection = psycopg.Connection[dict[str, Any]]
AsyncConnection = psycopg.AsyncConnection[dict[str, Any]]

#: The service's own table of tenants, which a source reads.
TENANTS = "tenants"
#: What this calls the columns of the table of devices.
COLUMNS = ("device_id", "tenant_id", "name", "status", "created_at", "last_seen_at")
_WHAT_TO_WRITE = (
    'write [sources.tenants] with kind = "postgres", table = "tenants" and the `dsn` of the '
    "registry into the configuration (`influxops docs service`)"
)
_TABLES = (
    TENANTS,
    "device_activation",
    "operator_tokens",
    "operator_keys",
    "operator_audit_log",
    "influxops_web_migrations",
)
_LEDGER_TABLES = {"records": "tenants", "history": "history", "servers": "servers"}


class DatabaseLocation(Struct, frozen=True):
    """The database of the service, and what its tables are called."""

    text: str  # fit to be shown: `iot@db.example/iotcloud`
    settings: ConnectionSettings  # of the source that reads the service's tenants
    schema: str  # of the service's tables
    web: WebSettings
    ledger_schema: str = ""  # empty where no ledger in PostgreSQL is configured
    namespace: str = ""  # which of the ledger's tenants are meant

    @property
    def columns(self) -> dict[str, str]:
        """What the table of devices calls its columns."""
        return {name: self.web.columns.get(name, name) for name in COLUMNS}

    def sql(self, text: Any, **more: sql.Composable) -> sql.Composed:
        """Return a statement with the names of tables (`{tenants}`) and columns put in.

        `{records}`, `{history}` and `{servers}` are the ledger's.
        """
        names: dict[str, sql.Composable] = {
            name: sql.Identifier(self.schema, name) for name in _TABLES
        }
        names["devices"] = sql.Identifier(self.schema, self.web.device_table)
        for name, table in _LEDGER_TABLES.items():
            names[name] = sql.Identifier(self.ledger_schema, table)
        names |= {key: sql.Identifier(name) for key, name in self.columns.items()}
        return sql.SQL(text).format(**{**names, **more})


def locate_database(engine: Engine) -> DatabaseLocation:
    """Return where the configuration puts the service's tables."""
    found = engine.config.plugin_tables.get("web")
    web = found if isinstance(found, WebSettings) else WebSettings()
    unknown = sorted(web.columns.keys() - set(COLUMNS))
    if unknown:
        raise ConfigError(
            f"`columns` of [web] maps {', '.join(unknown)}, which the service does not use",
            hint=f"it takes {', '.join(COLUMNS)}",
        )
    for handle in engine.sources:
        settings = handle.resolved.settings
        parts = _table(settings)
        if isinstance(settings, ConnectionSettings) and parts[-1:] == (TENANTS,):
            if getattr(settings, "where", None):
                raise ConfigError(
                    f"{handle.full_name} reads only a part of the service's tenants",
                    hint="take its `where` out: a suspended tenant keeps its database",
                )
            ledger = engine.ledger.settings if engine.ledger is not None else None
            return DatabaseLocation(
                settings.parameters().text,
                settings,
                parts[0] if len(parts) > 1 else "public",
                web,
                getattr(ledger, "schema", ""),
                ledger.namespace if ledger is not None else "",
            )
    raise ConfigError("no source reads the service's table of tenants", hint=_WHAT_TO_WRITE)


def _table(settings: object) -> tuple[str, ...]:
    """Return the table that a section reads, after its schema; nothing for a query of its own."""
    if getattr(settings, "query", None) is not None:
        return ()
    return tuple(getattr(settings, "table_parts", ()))


def other_databases(
    engine: Engine, location: DatabaseLocation
) -> Iterator[tuple[str, ConnectionSettings]]:
    """Yield what must be in the service's own database: the ledger and the table of devices."""
    ledger = engine.needs_ledger().settings
    if not isinstance(ledger, ConnectionSettings):
        raise ConfigError("the service needs a ledger in PostgreSQL", hint='kind = "postgres"')
    yield "the ledger", ledger
    for handle in engine.sources:
        settings = handle.resolved.settings
        if isinstance(settings, ConnectionSettings) and _table(settings)[-1:] == (
            location.web.device_table,
        ):
            yield handle.full_name, settings


@contextlib.contextmanager
def connect(
    location: DatabaseLocation, context: RunContext, settings: ConnectionSettings | None = None
) -> Iterator[Connection]:
    """Yield a connection in autocommit mode, whose waits end with the run.

    The settings may be another section's that should lead to the same database.
    """
    with (
        connected(settings or location.settings, context) as connection,
        explained(context, partial(_explanation, location)),
    ):
        connection.execute("SELECT 1")  # a pooler without a free connection does not answer
        connection.limit(context, None)  # a step of an upgrade takes as long as the run may
        yield connection


def _explanation(location: DatabaseLocation, error: psycopg.Error) -> InfluxopsError:
    if isinstance(error, psycopg.errors.UndefinedTable):
        return ConfigError(
            f"{location.text}: the tables of the service are not there, or not all of them",
            hint="run `influxops db upgrade`",
        )
    hint = ""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        hint = "give this user the rights of the tables' owner, or run it as their owner"
    elif isinstance(error, CommitUnknown):
        hint = "look whether it is there, or run it again"
    elif isinstance(error, NotCommitted):
        hint = "run it again"
    elif error.sqlstate in (None, PROTOCOL_VIOLATION):
        hint = broken_hint(error)
    return InfluxopsError(f"{location.text}: {reason(error)}", hint=hint)


class Database(Struct, frozen=True):
    """A connection to the service's database, with the names of its tables."""

    connection: AsyncConnection
    location: DatabaseLocation

    async def execute(
        self, query: str, values: Mapping[str, Any] | Sequence[Any], **parts: sql.Composable
    ) -> psycopg.AsyncCursor[dict[str, Any]]:
        """Run a statement; the ledger's namespace is one of the named values."""
        if isinstance(values, Mapping):
            values = {**values, "namespace": self.location.namespace}
        return await self.connection.execute(self.location.sql(query, **parts), values)

    async def rows(
        self, query: str, values: Mapping[str, Any] | Sequence[Any] = (), **parts: sql.Composable
    ) -> list[dict[str, Any]]:
        """Return the rows of a query; points in time are in UTC, whatever the server's zone."""
        rows = await (await self.execute(query, values, **parts)).fetchall()
        for row in rows:
            row.update((k, v.astimezone(UTC)) for k, v in row.items() if isinstance(v, datetime))
        return rows
