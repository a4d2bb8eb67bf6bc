"""Where the service keeps its tables: in the database of the source that reads its tenants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.config.web import WebTable
from influxops.engine.engine import Engine
from influxops.errors import ConfigError, InfluxopsError
from influxops_postgres.commit import CommitUnknown, NotCommitted
from influxops_postgres.errors import reason

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


@runtime_checkable
class InPostgres(Protocol):
    """Settings of a section that is in a PostgreSQL database."""

    def keywords(self) -> Mapping[str, Any]:
        """Return what psycopg takes to get there."""


class Place(Struct, frozen=True):
    """The database of the service, and what its tables are called."""

    text: str  # fit to be shown: `iot@db.example/iotcloud`
    keywords: Mapping[str, Any]  # for psycopg, with the password: never to be shown
    schema: str
    web: WebTable

    def __repr__(self) -> str:
        return f"Place({self.text})"

    @property
    def columns(self) -> dict[str, str]:
        """What the table of devices calls its columns."""
        return {name: self.web.columns.get(name, name) for name in COLUMNS}

    def sql(self, text: Any, **more: sql.Composable) -> sql.Composed:
        """Return a statement with the names of tables (`{tenants}`) and columns put in.

        Args:
            text: The statement, a literal of this program.
            **more: Further parts.
        """
        names: dict[str, sql.Composable] = {
            name: sql.Identifier(self.schema, name) for name in _TABLES
        }
        names["devices"] = sql.Identifier(self.schema, self.web.devices)
        names |= {key: sql.Identifier(name) for key, name in self.columns.items()}
        return sql.SQL(text).format(**{**names, **more})


def place_of(engine: Engine) -> Place:
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
            location = handle.location
            text = location.text.partition(" (")[0] if location else handle.full_name
            schema = parts[0] if len(parts) > 1 else "public"
            return Place(text, settings.keywords(), schema, engine.config.web)
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
    settings = engine.needs_ledger().settings
    if not isinstance(settings, InPostgres):
        raise ConfigError("the service needs a ledger in PostgreSQL", hint='kind = "postgres"')
    return settings.keywords()


def other_databases(engine: Engine, place: Place) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what must be in the service's own database: the ledger and the table of devices."""
    yield "the ledger", ledger_keywords(engine)
    for handle in engine.sources:
        settings = handle.resolved.settings
        if isinstance(settings, InPostgres) and _table(settings)[-1:] == (place.web.devices,):
            yield handle.full_name, settings.keywords()


def explained(error: psycopg.Error, place: Place) -> InfluxopsError:
    """Return the error that says what PostgreSQL complains about, and what to do.

    Args:
        error: What psycopg raised.
        place: Where.
    """
    said = reason(error)
    if isinstance(error, psycopg.errors.UndefinedTable):
        return ConfigError(
            f"{place.text}: the tables of the service are not there, or not all of them",
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
    return InfluxopsError(f"{place.text}: {said}", hint=hint)
