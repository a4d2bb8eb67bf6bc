"""A transaction on the ledger: whether it can be used is known as soon as it has begun."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.plugin import LedgerError, RunContext
from influxops_postgres.connection.commit import commit, identity, was_committed
from influxops_postgres.connection.connection import Connection, Row, statement_limit
from influxops_postgres.connection.errors import CommitUnknown, explained
from influxops_postgres.connection.migrations import Migration
from influxops_postgres.connection.pool import IdleConnections, connected
from influxops_postgres.ledger import schema
from influxops_postgres.ledger.errors import (
    NOT_WRITTEN,
    install_error,
    is_passing,
    ledger_error,
    other_version,
    write_error,
)
from influxops_postgres.ledger.settings import PostgresLedgerSettings

T = TypeVar("T")

#: Seconds before a transaction that met another one is tried again, at most.
_AGAIN = 0.2
#: How often a transaction is tried whose run has no limit of time.
_MOST_TRIES = 50
#: Seconds to find out whether a transaction was committed whose connection broke at that; and where
#: the run is over.
_FIND_OUT, _GRACE = 10.0, 3.0

# What is read of the clocks is in UTC. 100,000 records are sorted in memory. The lock that reading
# `migrations` takes keeps an installation of another version waiting until this has ended.
_BEGIN = sql.SQL(
    "BEGIN ISOLATION LEVEL {level}; SET LOCAL statement_timeout = {limit}; "
    "SET LOCAL timezone = 'UTC'; SET LOCAL work_mem = '64MB'; "
    "SELECT coalesce(max(version), 0) AS version, pg_is_in_recovery() AS standby, "
    "{identity} AS identity FROM {migrations}"
)
_READS = sql.SQL("REPEATABLE READ READ ONLY")
_WRITES = sql.SQL("READ COMMITTED")
_NO_IDENTITY = sql.SQL("NULL::text")
#: Known before the commit, so that its end can be asked for if the connection breaks.
_IDENTITY = identity(
    sql.SQL(
        "CASE WHEN NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' "
        "THEN pg_current_xact_id() END"
    )
)


class LedgerSession(Struct, frozen=True):
    """A transaction on a ledger whose schema is this program's."""

    connection: Connection
    settings: PostgresLedgerSettings
    context: RunContext
    location: str  # user, host and database, for messages
    is_standby: bool

    def table(self, name: str) -> sql.Identifier:
        """Return one of the ledger's tables."""
        return sql.Identifier(self.settings.schema, name)


@contextlib.contextmanager
def reading(
    settings: PostgresLedgerSettings, context: RunContext, idle: IdleConnections | None = None
) -> Iterator[LedgerSession]:
    """Open a read-only transaction in which every statement sees the same data."""
    location = settings.parameters().text
    with (
        connected(settings, context, idle) as connection,
        explained(context, lambda error: ledger_error(error, connection, location, settings)),
    ):
        row = _begin(connection, settings, context, _READS)
        _check_version(row, settings, location)
        yield LedgerSession(connection, settings, context, location, row["standby"])
        connection.execute("COMMIT")


def installing(settings: PostgresLedgerSettings, context: RunContext) -> Iterator[Migration]:
    """Run what the schema lacks, and yield each step once it is done; what was done stays done."""
    location = settings.parameters().text
    with (
        connected(settings, context) as connection,
        explained(context, lambda error: install_error(error, connection, location, settings)),
    ):
        found = schema.version(connection, settings.schema)
        if found > schema.newest():
            raise other_version(found, settings, location)
        connection.limit(context, None)  # a step may take as long as there are rows to change
        yield from schema.install(connection, settings.schema)


def write(
    settings: PostgresLedgerSettings,
    context: RunContext,
    work: Callable[[LedgerSession], T],
    idle: IdleConnections | None = None,
) -> T:
    """Return what some work gives, all of it written in one transaction, or nothing.

    It is done again where it met the transaction of another run. A LedgerError says whether nothing
    was written, or that it is not known.
    """
    location = settings.parameters().text
    tries = 0
    while True:
        tries += 1
        try:
            with connected(settings, context, idle) as connection:
                return _written(connection, settings, context, location, work)
        except _RetryTransaction as again:
            if tries >= _MOST_TRIES:
                raise LedgerError(
                    f"{location}: other runs write to the ledger all the time: {again}; "
                    f"{NOT_WRITTEN}",
                    hint="try again",
                ) from again
        context.sleep(random.uniform(0.1, 1) * _AGAIN)


class _RetryTransaction(Exception):
    """The transaction was undone because of another one, and may succeed the next time."""


def _written(
    connection: Connection,
    settings: PostgresLedgerSettings,
    context: RunContext,
    location: str,
    work: Callable[[LedgerSession], T],
) -> T:
    row = None
    try:
        row = _begin(connection, settings, context, _WRITES, _IDENTITY)
        _check_version(row, settings, location)
        if row["standby"]:
            raise LedgerError(
                f"{location} is a standby, and only its primary can be written to; {NOT_WRITTEN}",
                hint="have the ledger's section lead to the primary",
            )
        result = work(LedgerSession(connection, settings, context, location, False))
        commit(connection, row["identity"])
    except CommitUnknown as error:
        rest = context.with_grace_period(_GRACE).with_timeout(_FIND_OUT)
        is_stored = was_committed(settings, rest, error)
        if is_stored is None:
            raise LedgerError(
                f"{location}: {error}",
                hint="run it again: it reads what the ledger and the servers hold",
            ) from error
        if is_stored:
            return result
        raise _RetryTransaction(str(error)) from error
    except psycopg.Error as error:
        context.check()
        if is_passing(error):
            raise _RetryTransaction(str(error.diag.message_primary)) from error
        explain = ledger_error if row is None else write_error
        raise explain(error, connection, location, settings) from error
    return result


def _begin(
    connection: Connection,
    settings: PostgresLedgerSettings,
    context: RunContext,
    level: sql.SQL,
    known_by: sql.Composable = _NO_IDENTITY,
) -> Row:
    """Begin a transaction and limit it; return what is to be known, in one round trip."""
    begin = _BEGIN.format(
        level=level,
        limit=statement_limit(settings, context),
        identity=known_by,
        migrations=sql.Identifier(settings.schema, "migrations"),
    )
    cursor = connection.execute(begin)
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    assert row is not None, "an aggregate gives one row"
    return row


def _check_version(row: Row, settings: PostgresLedgerSettings, location: str) -> None:
    if row["version"] != schema.newest():
        raise other_version(row["version"], settings, location)
