"""Why the ledger cannot be used, in one line and with what to do next."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import psycopg
from psycopg import sql

from influxops.plugin import Hint, LedgerError, summarize
from influxops_postgres.connection.connection import Connection
from influxops_postgres.connection.errors import (
    PROTOCOL_VIOLATION,
    CommitUnknown,
    NotCommitted,
    broken,
    broken_hint,
    reason,
)
from influxops_postgres.ledger import schema as ledger_schema
from influxops_postgres.ledger.settings import PostgresLedgerSettings

NOT_WRITTEN = "nothing was written"

#: What a run needs on each table. Reading needs the first right of each.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "migrations": ("SELECT",),
    "tenants": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "servers": ("SELECT", "INSERT", "DELETE"),
    "sources": ("SELECT", "INSERT"),
    "history": ("SELECT", "INSERT"),
    "routes": ("SELECT",),
}

_INSTALL = Hint.command("ledger install", "run {}, once, as who may make a schema there")

# has_table_privilege by the table's number: by its name it needs the right to look it up.
_RIGHTS = sql.SQL("""
SELECT n.nspname IS NOT NULL AS there, has_schema_privilege(n.oid, 'USAGE') AS usage,
       wanted.name, wanted.privilege, c.oid IS NOT NULL AS has_table,
       coalesce(has_table_privilege(c.oid, wanted.privilege), false) AS granted
  FROM (VALUES {wanted}) AS wanted (name, privilege)
  LEFT JOIN pg_namespace n ON n.nspname = {schema}
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
""")


def is_passing(error: psycopg.Error) -> bool:
    """Return whether what failed because of another transaction may succeed the next time."""
    return isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected)


def other_version(found: int, settings: PostgresLedgerSettings, location: str) -> LedgerError:
    """Return the error that says that the schema is of another version."""
    wanted = ledger_schema.newest()
    what = f"{location}: the ledger's schema {settings.schema} is of version {found}"
    if found < wanted:
        hint = Hint.command("ledger install", "run {}: it makes the new version of the old one")
        return LedgerError(f"{what}, and this influxops works with version {wanted}", hint=hint)
    return LedgerError(
        f"{what}, and this influxops knows no more than version {wanted}",
        hint="update influxops here: a newer one has been at work there",
    )


def ledger_error(
    error: psycopg.Error, connection: Connection, location: str, settings: PostgresLedgerSettings
) -> LedgerError:
    """Return why `iot@db.example/iotcloud` could not use the ledger; name missing rights."""
    why, hint = _why(error, connection, settings)
    return LedgerError(f"{location}: {why}", hint=hint)


def write_error(
    error: psycopg.Error, connection: Connection, location: str, settings: PostgresLedgerSettings
) -> LedgerError:
    """Return the same for an error that undid a transaction which was to write."""
    if isinstance(error, CommitUnknown):
        return LedgerError(f"{location}: {error}", hint="run it again")
    why, hint = _why(error, connection, settings)
    return LedgerError(f"{location}: {why}; {NOT_WRITTEN}", hint=hint)


def install_error(
    error: psycopg.Error, connection: Connection, location: str, settings: PostgresLedgerSettings
) -> LedgerError:
    """Return the same for an error that kept the schema from being made."""
    if error.sqlstate != "42501":
        return write_error(error, connection, location, settings)
    return LedgerError(
        f"{location}: the ledger cannot be installed: {reason(error)}",
        hint="have a DBA run what `influxops ledger install --sql` prints, and grant what "
        "`influxops docs ledger` lists",
    )


def missing_rights(connection: Connection, settings: PostgresLedgerSettings) -> list[str] | None:
    """Return the statements that grant what this user lacks; None where there is no such schema."""
    wanted = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(table, right)
        for table, needed in RIGHTS.items()
        for right in needed
    )
    query = _RIGHTS.format(wanted=wanted, schema=settings.schema)
    rows = connection.execute(query).fetchall()
    if not rows[0]["there"]:
        return None
    schema = sql.Identifier(settings.schema).as_string(connection)
    user = sql.Identifier(connection.info.user).as_string(connection)
    grants = [] if rows[0]["usage"] else [f"GRANT USAGE ON SCHEMA {schema} TO {user}"]
    for table in RIGHTS:
        rights = [
            row["privilege"]
            for row in rows
            if row["name"] == table and row["has_table"] and not row["granted"]
        ]
        if rights:
            grants.append(f"GRANT {', '.join(rights)} ON {schema}.{table} TO {user}")
    return grants


def _why(
    error: psycopg.Error, connection: Connection, settings: PostgresLedgerSettings
) -> tuple[str, str | Hint]:
    why = reason(error)
    if isinstance(error, NotCommitted):
        return why, "try again"
    if error.sqlstate in (None, PROTOCOL_VIOLATION):
        return f"the ledger: {broken(error)}", broken_hint(error)
    match error.sqlstate:
        case "42P01" | "3F000":
            return f"there is no ledger in the schema {settings.schema}", _INSTALL
        case "42501":
            return _rights(why, connection, settings)
        case "57014" if "statement timeout" in why and settings.statement_timeout:
            return (
                f"the ledger took longer than the {settings.statement_timeout:g} s allowed",
                Hint.setting("statement_timeout", "raise {}, or see what keeps the server busy"),
            )
        case "57014":
            return f"the ledger's query was cancelled: {why}", "run it again"
        case "25006":
            return (
                f"the ledger can only be read here ({why})",
                "have the ledger's section lead to a primary, as a user who may write",
            )
        case "40001":
            return f"the ledger could not be read: {why}", "try again, or read the primary"
        case "42P07" | "42710" | "42723":
            return (
                f"the schema {settings.schema} holds something else: {why}",
                Hint.setting("schema", "give the ledger a schema of its own, with {}"),
            )
        case "23514":
            return (
                f"the ledger refuses what was to be recorded: {why}",
                "this is a fault in influxops or in a plugin; report it",
            )
        case state if state[:2] in ("53", "57", "58"):
            return f"the ledger: {why}", "try again when the server has recovered"
    return f"the ledger: {why}", "look at `influxops ledger status`, and at the server's log"


def _rights(
    why: str, connection: Connection, settings: PostgresLedgerSettings
) -> tuple[str, str | Hint]:
    grants: list[str] | None = None
    with contextlib.suppress(psycopg.Error):
        connection.execute("ROLLBACK")
        grants = missing_rights(connection, settings)
    user = connection.info.user
    if grants:
        what = summarize([grant.split(" TO ")[0].removeprefix("GRANT ") for grant in grants])
        return f"{user} lacks rights on the ledger: {what}", "; ".join(grants)
    return f"{user} lacks rights on the ledger: {why}", "have the ledger's owner grant them"
