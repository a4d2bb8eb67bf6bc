"""A target of another kind than InfluxDB 3: a PostgreSQL schema a tenant.

It proves that the core knows no InfluxDB: it has no retention periods, no marker, no statistics,
no capacity, and a rule of its own for names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

import psycopg
from psycopg import sql

from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    Database,
    Inventory,
    Outcome,
    RunContext,
    Target,
    TargetCapabilities,
    TargetError,
    TargetSettings,
    hookimpl,
    setting,
)


def name_rule(name: str) -> str:
    """Return the rule that a schema's name breaks, to be read after "its database name …"."""
    if not name or len(name.encode()) > 63:
        return "has no more than 63 bytes in PostgreSQL, and at least one"
    return "begins with pg_, which PostgreSQL keeps for itself" if name.startswith("pg_") else ""


class SchemaSettings(TargetSettings):
    """A PostgreSQL database that has a schema a tenant."""

    conninfo: str = setting(description="How libpq reaches the database.")


class SchemaTarget(Target):
    """Makes a schema a tenant."""

    Settings = SchemaSettings
    settings: SchemaSettings
    capabilities: ClassVar[TargetCapabilities] = TargetCapabilities(
        server="PostgreSQL", validate_name=name_rule
    )

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Read the names of all schemas that are not PostgreSQL's own."""
        listing = (
            "SELECT nspname FROM pg_namespace WHERE nspname <> 'public'"
            " AND nspname <> 'information_schema' AND NOT starts_with(nspname, 'pg_')"
        )
        try:
            with psycopg.connect(self.settings.conninfo, connect_timeout=5) as connection:
                names = [name for (name,) in connection.execute(listing)]
                version = connection.info.server_version // 10_000
        except psycopg.Error as error:
            raise TargetError(str(error).splitlines()[0], hint="does PostgreSQL run?") from error
        databases = {name: Database(retention=None, complete=True) for name in names}
        return Inventory(databases, version=str(version))

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Make and drop schemas, each in a transaction of its own."""
        with psycopg.connect(self.settings.conninfo, autocommit=True) as connection:
            for change in changes:
                context.check()
                text = "CREATE SCHEMA IF NOT EXISTS {}"
                if change.action is Action.DROP:
                    text = "DROP SCHEMA IF EXISTS {} CASCADE"
                try:
                    connection.execute(sql.SQL(text).format(sql.Identifier(change.database)))
                except psycopg.Error as error:
                    yield Outcome(
                        change, ChangeResult.FAILED, error.diag.message_primary or "failed"
                    )
                else:
                    yield Outcome(change, ChangeResult.DONE)
