"""The target `schemas`: a schema a tenant in a PostgreSQL database."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from influxops.plugin import (
    Action,
    Change,
    ChangeResult,
    Database,
    Hint,
    Inventory,
    Location,
    Outcome,
    RunContext,
    Secret,
    Target,
    TargetCapabilities,
    TargetError,
    TargetSettings,
    hookimpl,
    setting,
)

_LISTING = """
    SELECT nspname FROM pg_namespace WHERE nspname NOT IN ('public', 'information_schema')
    AND NOT starts_with(nspname, 'pg_')
"""


def name_rule(name: str) -> str:
    """Return the rule that a schema's name breaks, to be read after "its database name …"."""
    if not name or len(name.encode()) > 63:
        return "has no more than 63 bytes in PostgreSQL, and at least one"
    return "begins with pg_, which PostgreSQL keeps for itself" if name.startswith("pg_") else ""


class SchemaTarget(Target):
    """Makes a schema a tenant."""

    capabilities = TargetCapabilities(server="PostgreSQL", validate_name=name_rule)

    class Settings(TargetSettings):
        """What a section may say."""

        conninfo: Secret = setting(
            description="How libpq reaches the database; it may hold a password."
        )

        def location(self) -> Location:
            """Return no connection string: it may hold a password."""
            return Location("PostgreSQL")

    settings: Settings

    @hookimpl
    def influxops_list_databases(self, verify: Collection[str], context: RunContext) -> Inventory:
        """Read the names of all schemas that are not PostgreSQL's own."""
        with self._connection(context) as connection:
            names = [name for (name,) in connection.execute(_LISTING)]
            version = connection.info.server_version // 10_000
        databases = {name: Database(retention=None, complete=True) for name in names}
        return Inventory(databases, version=str(version))

    @hookimpl
    def influxops_ensure(self, changes: Sequence[Change], context: RunContext) -> Iterator[Outcome]:
        """Make and drop schemas, each in a transaction of its own."""
        with self._connection(context) as connection:
            for change in changes:
                context.check()
                text: LiteralString = "CREATE SCHEMA IF NOT EXISTS {}"
                if change.action is Action.DROP:
                    text = "DROP SCHEMA IF EXISTS {} CASCADE"
                try:
                    connection.execute(sql.SQL(text).format(sql.Identifier(change.database)))
                except psycopg.OperationalError:
                    raise  # the connection is lost: what is left has no outcome
                except psycopg.Error as error:
                    yield Outcome(
                        change, ChangeResult.FAILED, error.diag.message_primary or "failed"
                    )
                else:
                    yield Outcome(change, ChangeResult.DONE)

    @contextlib.contextmanager
    def _connection(self, context: RunContext) -> Iterator[psycopg.Connection[Any]]:
        """Yield a connection whose statements end with the run."""
        seconds = context.time_left(5.0) or 5.0
        try:
            with (
                psycopg.connect(
                    self.settings.conninfo.reveal(),
                    autocommit=True,
                    connect_timeout=max(2, round(seconds)),
                ) as connection,
                context.on_end(connection.cancel_safe),
            ):
                yield connection
        except psycopg.Error as error:
            context.check()  # a statement that was cancelled with the run
            raise TargetError(
                str(error).splitlines()[0], hint=Hint.setting("conninfo", "does PostgreSQL run?")
            ) from None
