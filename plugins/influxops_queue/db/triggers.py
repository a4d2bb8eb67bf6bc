"""Triggers on a registry: they note the tenants that a change names, whatever program makes it.

A trigger of the statement sees all the rows that it wrote at once, and appends those tenants that
the ledger lacks to a table without a unique key. So no application waits for another one's commit,
and none is kept from writing: what goes wrong here goes to the server's log. Nothing depends on a
hint, for full runs read the whole registry.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import dict_row

from influxops.errors import ConfigError, LedgerError, SourceError
from influxops.plugin_host.source import SourceHandle
from influxops.runtime.context import RunContext
from influxops_postgres import PostgresLedgerSettings, PostgresSettings
from influxops_postgres.connection.commit import confirmed
from influxops_postgres.connection.errors import reason
from influxops_postgres.connection.migrations import dollar_quote
from influxops_postgres.connection.pool import connected
from influxops_queue.db.settings import queue_schema, short

#: What a registry may be for this, and what the others are called.
_TABLES = ("r", "p")
_KINDS = {
    "v": "a view, which has no rows of its own: name the table behind it as a source",
    "m": "a materialized view, which has no rows of its own: name the table behind it as a source",
    "f": "a foreign table: PostgreSQL shows no trigger there what was written",
}

_REGISTRY = sql.SQL("""
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       c.relispartition AS is_partition, c.relpersistence = 't' AS is_temporary,
       a.attname IS NOT NULL AS has_column
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a
       ON a.attrelid = c.oid AND a.attname = {column} AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.oid = to_regclass({table})
""")

_RIGHTS = sql.SQL("""
SELECT current_user AS user, has_schema_privilege({schema}, 'USAGE') AS may_see,
       has_table_privilege({oid}::oid, 'TRIGGER') AS may_trigger
""")

# The state is asked for by a subquery for each tenant, which PostgreSQL does not turn into a join:
# it keeps the plan of the first statement of a session, and one for a million rows would read the
# whole ledger for each single row that comes after it.
_FUNCTION = sql.SQL("""
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS {quote}
BEGIN
    BEGIN
        INSERT INTO {hints} (namespace, tenant)
        SELECT {namespace}, named.tenant
          FROM (SELECT DISTINCT {column}::text COLLATE "C" AS tenant FROM written OFFSET 0) AS named
         WHERE btrim(named.tenant, E' \\t\\n\\r\\f\\v') <> ''
           AND coalesce((SELECT known.state FROM {tenants} AS known
                          WHERE known.namespace = {namespace} AND known.tenant = named.tenant),
                        'retired') IN ('retired', 'retiring');
        -- NOTIFY refuses a commit while its own queue is full, and PREPARE TRANSACTION always.
        IF FOUND AND pg_notification_queue_usage() < 0.5
           AND current_setting('max_prepared_transactions') = '0' THEN
            PERFORM pg_notify('influxops_queue', '');
        END IF;
    EXCEPTION WHEN OTHERS THEN
        RAISE LOG 'influxops: a change of % left no hint: %', TG_TABLE_NAME, SQLERRM;
    END;
    RETURN NULL;
END
{quote};
REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;
""")

_TRIGGER = sql.SQL("""
CREATE TRIGGER {trigger} AFTER {event} ON {table} REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION {function}()
""")
_DROP = sql.SQL("DROP TRIGGER IF EXISTS {trigger} ON {table}")
_THERE = sql.SQL("""
SELECT t.tgname AS name, t.tgenabled = 'D' AS is_disabled, t.tgfoid = to_regproc({function}) AS fits
  FROM pg_trigger t WHERE t.tgrelid = {oid}::oid AND NOT t.tgisinternal
""")

#: One installation at a time. It waits so long for writers of a registry, and later ones for it.
_PATIENCE = sql.SQL(
    "SELECT pg_advisory_xact_lock(hashtextextended({schema}, 0)); SET LOCAL lock_timeout = '3s'"
)


class Registry(Struct, frozen=True):
    """A table that gets triggers."""

    source: str  # the full name of its source
    oid: int
    schema: str
    name: str
    column: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def registries(
    sources: list[SourceHandle], ledger: PostgresLedgerSettings, context: RunContext
) -> list[Registry]:
    """Look at the registries of all sources; refuse what is not in the ledger's database."""
    found = []
    with connected(ledger, context) as ours:
        for handle in sources:
            settings = handle.resolved.settings
            if not isinstance(settings, PostgresSettings):
                continue
            if handle.missing is not None:
                raise handle.missing
            with handle.error_boundary():
                try:
                    found.append(_registry(handle.full_name, settings, ours, context))
                except psycopg.Error as error:
                    context.check()
                    why = f"{handle.full_name}: {reason(error)}"
                    raise SourceError(why, hint="try again") from error
    if not found:
        raise ConfigError(
            "no source is a registry in PostgreSQL, so nothing can have a trigger",
            hint="leave --trigger out: full runs read the other sources",
        )
    return found


def _registry(
    source: str, settings: PostgresSettings, ours: psycopg.Connection[Any], context: RunContext
) -> Registry:
    if settings.query is not None:
        raise _refused(
            source,
            "it has a custom query, and which tables that reads is unknown",
            "name its table and column instead, or leave --trigger out",
        )
    table = sql.Identifier(*settings.table_parts)
    with (
        connected(settings, context) as theirs,
        ours.transaction(),
        theirs.transaction(),
        theirs.cursor(row_factory=dict_row) as cursor,
    ):
        row = _only(cursor.execute("SELECT pg_is_in_recovery() AS standby"))
        if row["standby"]:
            raise _refused(
                source,
                "it is read from a standby, where nothing can be installed",
                "have its section lead to the primary",
            )
        # An advisory lock is known in its own database only.
        key = secrets.randbits(62)
        ours.execute(sql.SQL("SELECT pg_advisory_xact_lock({})").format(key))
        query = sql.SQL("SELECT pg_try_advisory_xact_lock({}) AS elsewhere").format(key)
        if _only(cursor.execute(query))["elsewhere"]:
            raise _refused(
                source,
                "it is in another database than the ledger, and a trigger works within one",
                "have the ledger in the registry's database, or leave --trigger out",
            )
        query = _REGISTRY.format(column=settings.column, table=table.as_string(theirs))
        row = cursor.execute(query).fetchone() or {}
    what = f"its table {'.'.join(settings.table_parts)}"
    if not row:
        raise _refused(source, f"{what} is not there", "check its `table`")
    if row["kind"] not in _TABLES:
        why = _KINDS.get(row["kind"], "no table")
        raise _refused(source, f"{what} is {why}", "or leave --trigger out")
    if row["is_partition"]:
        raise _refused(
            source,
            f"{what} is a partition, and what is written to its parent fires no trigger of it",
            "name the parent as its table, or leave --trigger out",
        )
    if row["is_temporary"]:
        raise _refused(source, f"{what} is a temporary table", "leave --trigger out")
    if not row["has_column"]:
        raise _refused(source, f"{what} has no column {settings.column}", "check its `column`")
    return Registry(source, row["oid"], row["schema"], row["name"], settings.column)


def install(
    connection: psycopg.Connection[Any], registry: Registry, ledger: PostgresLedgerSettings
) -> Iterator[str]:
    """Make what a registry lacks, in one transaction; yield what fires each trigger: `INSERT`."""
    schema, table = queue_schema(ledger), sql.Identifier(registry.schema, registry.name)
    name = short(f"hint {ledger.namespace} {registry}")
    function = sql.Identifier(schema, name)
    values = {
        "function": function,
        "hints": sql.Identifier(schema, "hints"),
        "tenants": sql.Identifier(ledger.schema, "tenants"),
        "namespace": sql.Literal(ledger.namespace),
        "column": sql.Identifier(registry.column),
    }
    with confirmed(connection), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_PATIENCE.format(schema=schema))
        _check_rights(
            _only(cursor.execute(_RIGHTS.format(schema=registry.schema, oid=registry.oid))),
            registry,
            connection,
        )
        quote = dollar_quote(schema, ledger.schema, ledger.namespace, registry.column)
        cursor.execute(_FUNCTION.format(quote=quote, **values).as_bytes(connection))
        query = _THERE.format(function=function.as_string(connection), oid=registry.oid)
        there = {row["name"]: row for row in cursor.execute(query)}
        for event in ("INSERT", "UPDATE"):
            trigger = short(f"{schema} {ledger.namespace} {event.lower()}")
            row = there.get(trigger)
            if row and row["is_disabled"]:
                raise LedgerError(
                    f"{registry.source}: the trigger {trigger} on {registry} exists, and "
                    "is disabled",
                    hint=f'ALTER TABLE {registry} ENABLE TRIGGER "{trigger}", as its owner',
                )
            if row and row["fits"]:
                continue
            names = {"trigger": sql.Identifier(trigger), "table": table, "function": function}
            if row:
                cursor.execute(_DROP.format(**names))
            cursor.execute(_TRIGGER.format(event=sql.SQL(event), **names))
            yield event


def _check_rights(
    row: dict[str, Any], registry: Registry, connection: psycopg.Connection[Any]
) -> None:
    user = sql.Identifier(row["user"]).as_string(connection)
    schema = sql.Identifier(registry.schema).as_string(connection)
    table = sql.Identifier(registry.schema, registry.name).as_string(connection)
    grants = [] if row["may_see"] else [f"GRANT USAGE ON SCHEMA {schema} TO {user}"]
    grants += [] if row["may_trigger"] else [f"GRANT TRIGGER ON {table} TO {user}"]
    if grants:
        raise LedgerError(
            f"{registry.source}: the ledger's user {row['user']} may make no trigger on {registry}",
            hint="; ".join(grants),
        )


def _only(cursor: psycopg.Cursor[dict[str, Any]]) -> dict[str, Any]:
    row = cursor.fetchone()
    assert row is not None, "it gives one row"
    return row


def _refused(source: str, why: str, hint: str) -> ConfigError:
    return ConfigError(f"{source}: no trigger can be installed: {why}", hint=hint)
