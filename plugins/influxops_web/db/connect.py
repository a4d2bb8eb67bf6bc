"""The service's database, where the source of its tenants is, and a connection to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import dict_row

from influxops.config.web import WebTable
from influxops.context import Context
from influxops.engine import Engine
from influxops.errors import ConfigError, InfluxopsError
from influxops_postgres.commit import CommitUnknown, NotCommitted, check_run
from influxops_postgres.errors import reason
from influxops_postgres.session import cut

AsyncConnection = psycopg.AsyncConnection[dict[str, Any]]

#: The service's own table of tenants, which a source reads.
TENANTS = "tenants"
#: What this calls the columns of the table of devices.
COLUMNS = ("device_id", "tenant_id", "name", "status", "created_at", "last_seen_at")
_WHAT_TO_WRITE = (
    'write [sources.tenants] with kind = "postgres", table = "tenants" and the `dsn` of the '
    "registry into the configuration (docs/service.md)"
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
#: Seconds that connecting may take, and the first answer, which a pooler without a free connection
#: never gives.
_CONNECT, _FIRST = 5.0, 30.0
#: Seconds that the server has to take note of a cancellation.
_CANCEL = 1.0


@runtime_checkable
class InPostgres(Protocol):
    """Settings of a section that is in a PostgreSQL database."""

    def keywords(self) -> Mapping[str, Any]:
        """Return what psycopg takes to get there."""


class DatabaseLocation(Struct, frozen=True):
    """The database of the service, and what its tables are called."""

    text: str  # fit to be shown: `iot@db.example/iotcloud`
    keywords: Mapping[str, Any]  # for psycopg, with the password: never to be shown
    schema: str  # of the service's tables
    web: WebTable
    ledger_schema: str = ""  # empty where no ledger in PostgreSQL is configured
    namespace: str = ""  # which of the ledger's tenants are meant

    def __repr__(self) -> str:
        return f"DatabaseLocation({self.text})"

    @property
    def columns(self) -> dict[str, str]:
        """What the table of devices calls its columns."""
        return {name: self.web.columns.get(name, name) for name in COLUMNS}

    def sql(self, text: Any, **more: sql.Composable) -> sql.Composed:
        """Return a statement with the names of tables (`{tenants}`) and columns put in.

        Args:
            text: The statement, a literal of this program. `{records}`, `{history}` and
                `{servers}` are the ledger's.
            **more: Further parts.
        """
        names: dict[str, sql.Composable] = {
            name: sql.Identifier(self.schema, name) for name in _TABLES
        }
        names["devices"] = sql.Identifier(self.schema, self.web.devices)
        for name, table in _LEDGER_TABLES.items():
            names[name] = sql.Identifier(self.ledger_schema, table)
        names |= {key: sql.Identifier(name) for key, name in self.columns.items()}
        return sql.SQL(text).format(**{**names, **more})


def locate_database(engine: Engine) -> DatabaseLocation:
    """Return where the configuration puts the service's tables.

    Raises:
        ConfigError: When no source reads them; it says what to write.
    """
    unknown = sorted(engine.config.web.columns.keys() - set(COLUMNS))
    if unknown:
        raise ConfigError(
            f"`columns` of [web] maps {', '.join(unknown)}, which the service does not use",
            hint=f"it takes {', '.join(COLUMNS)}",
        )
    for handle in engine.sources:
        settings = handle.resolved.settings
        parts = _table(settings)
        if isinstance(settings, InPostgres) and parts[-1:] == (TENANTS,):
            if getattr(settings, "where", None):
                raise ConfigError(
                    f"{handle.full_name} reads only a part of the service's tenants",
                    hint="take its `where` out: a suspended tenant keeps its database",
                )
            endpoint = handle.location
            ledger = engine.ledger.settings if engine.ledger is not None else None
            return DatabaseLocation(
                endpoint.text.partition(" (")[0] if endpoint else handle.full_name,
                settings.keywords(),
                parts[0] if len(parts) > 1 else "public",
                engine.config.web,
                getattr(ledger, "schema", ""),
                ledger.namespace if ledger is not None else "",
            )
    raise ConfigError("no source reads the service's table of tenants", hint=_WHAT_TO_WRITE)


def _table(settings: object) -> tuple[str, ...]:
    """Return the table that a section reads, after its schema; nothing for a query of its own."""
    if getattr(settings, "query", None) is not None:
        return ()
    return tuple(getattr(settings, "table_parts", ()))


def ledger_keywords(engine: Engine) -> Mapping[str, Any]:
    """Return what psycopg takes to get to the ledger.

    Raises:
        ConfigError: When there is no ledger in PostgreSQL; it says what to write.
    """
    from influxops.cli.ledger import needs_ledger

    settings = needs_ledger(engine).settings
    if not isinstance(settings, InPostgres):
        raise ConfigError("the service needs a ledger in PostgreSQL", hint='kind = "postgres"')
    return settings.keywords()


def other_databases(
    engine: Engine, location: DatabaseLocation
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what must be in the service's own database: the ledger and the table of devices."""
    yield "the ledger", ledger_keywords(engine)
    for handle in engine.sources:
        settings = handle.resolved.settings
        if isinstance(settings, InPostgres) and _table(settings)[-1:] == (location.web.devices,):
            yield handle.full_name, settings.keywords()


def explained(error: psycopg.Error, location: DatabaseLocation) -> InfluxopsError:
    """Return the error that says what PostgreSQL complains about, and what to do.

    Args:
        error: What psycopg raised.
        location: Where.
    """
    said = reason(error)
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
    elif error.sqlstate is None:
        hint = "check the `dsn` of [sources.tenants]; does PostgreSQL run and listen there?"
    return InfluxopsError(f"{location.text}: {said}", hint=hint)


@contextlib.contextmanager
def connected(
    location: DatabaseLocation, context: Context, keywords: Mapping[str, str] | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection in autocommit mode, for as long as the run may take.

    Args:
        location: Where, for messages.
        context: The run; when it ends, what waits ends.
        keywords: What psycopg takes; None for those of the location.

    Raises:
        InfluxopsError: When PostgreSQL complains, in the block too.
        Interrupted: When the run is over.
    """
    arguments: dict[str, Any] = {"connect_timeout": int(_CONNECT)}
    arguments |= {**(location.keywords if keywords is None else keywords), "autocommit": True}
    arguments["prepare_threshold"] = None  # a pooler in between may not keep them
    try:
        connection = context.detached(lambda: psycopg.connect(**arguments))

        def abort() -> None:
            _abort(connection)

        with connection:
            with context.ends(abort, within=_FIRST) as ending:
                try:
                    connection.execute("SELECT 1")
                except psycopg.Error as error:
                    context.check()
                    if ending.error is None:
                        raise
                    raise InfluxopsError(
                        f"{location.text}: no answer within {_FIRST:g} s",
                        hint="see whether the server is well; a pooler in between may have no "
                        "free connection",
                    ) from error
            with context.ends(abort):
                yield connection
    except psycopg.Error as error:
        check_run(context, error)
        raise explained(error, location) from error


def _abort(connection: psycopg.Connection[Any]) -> None:
    """End what a connection is at, whether the server answers or not."""
    with contextlib.suppress(psycopg.Error):
        connection.cancel_safe(timeout=_CANCEL)
    cut(connection)


async def fetch(
    connection: AsyncConnection,
    location: DatabaseLocation,
    query: str,
    values: Mapping[str, Any],
    **parts: sql.Composable,
) -> list[dict[str, Any]]:
    """Return the rows of a query; points in time are in UTC, whatever the server's time zone.

    Args:
        connection: To the service's database.
        location: Knows the names of the tables and the ledger's namespace.
        query: A literal of this program.
        values: Its parameters.
        **parts: Further parts of the query.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            location.sql(query, **parts), {**values, "namespace": location.namespace}
        )
        rows = await cursor.fetchall()
    for row in rows:
        row.update((k, v.astimezone(UTC)) for k, v in row.items() if isinstance(v, datetime))
    return rows
