"""A transaction on the ledger: whether it can be used is known as soon as it has begun."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import psycopg
from msgspec import Struct
from psycopg import sql

from influxops.plugin import Context, LedgerError, SourceError
from influxops.runtime.sql_migrations import Migration
from influxops_postgres import ledger_schema, session
from influxops_postgres.commit import (
    CommitUnknown,
    check_run,
    commit,
    identity,
    outcome_query,
)
from influxops_postgres.ledger_errors import (
    NOT_WRITTEN,
    install_error,
    is_passing,
    ledger_error,
    other_version,
    write_error,
)
from influxops_postgres.lock import key_of
from influxops_postgres.parameters import resolve
from influxops_postgres.session import Connection, Kept, Row
from influxops_postgres.settings import LONGEST_STATEMENT, PostgresLedgerSettings

T = TypeVar("T")

#: Seconds before a transaction that met another one is tried again, at most.
_AGAIN = 0.2
#: How often a transaction is tried whose run has no limit of time.
_MOST_TRIES = 50
#: Seconds to find out whether a transaction was committed whose connection broke at that.
_FIND_OUT = 10.0

# What is read of the clocks is in UTC. 100,000 records are sorted in memory. The lock that reading
# `migrations` takes keeps whoever installs another version waiting until this has ended.
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

#: Gives the keys of all advisory locks that are held in this database.
HELD = sql.SQL("""
SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 1 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


def run_key(namespace: str, run: str) -> int:
    """Return the key of the lock that a run holds as long as it lives.

    Args:
        namespace: The ledger's namespace.
        run: The run's id.
    """
    return key_of("run", namespace, run)


class LedgerSession(Struct, frozen=True):
    """A transaction on a ledger whose schema is this program's."""

    connection: Connection
    settings: PostgresLedgerSettings
    context: Context
    place: str  # who works where, for messages
    is_standby: bool

    def table(self, name: str) -> sql.Identifier:
        """Return one of the ledger's tables."""
        return sql.Identifier(self.settings.schema, name)


@contextlib.contextmanager
def connected(
    settings: PostgresLedgerSettings, context: Context, kept: Kept | None = None
) -> Iterator[Connection]:
    """Connect for as long as the block and the run last.

    Args:
        settings: Where.
        context: The run.
        kept: Has connections, and keeps this one if the block ends well.

    Raises:
        LedgerError: When that fails; the message says why.
        Interrupted: When the run is over.
    """
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(session.connected(settings, context, kept))
        except SourceError as error:
            raise LedgerError(error.message, hint=error.remedy) from error
        yield connection


@contextlib.contextmanager
def reading(
    settings: PostgresLedgerSettings, context: Context, kept: Kept | None = None
) -> Iterator[LedgerSession]:
    """Open a read-only transaction in which every statement sees the same data.

    Raises:
        LedgerError: When the ledger cannot be read; the message says why.
        Interrupted: When the run is over.
    """
    place = resolve(settings).text
    with (
        connected(settings, context, kept) as connection,
        explained(connection, place, settings, context),
    ):
        row = _begin(connection, settings, context, _READS)
        _check_version(row, settings, place)
        yield LedgerSession(connection, settings, context, place, row["standby"])
        connection.execute("COMMIT")


@contextlib.contextmanager
def explained(
    connection: Connection,
    place: str,
    settings: PostgresLedgerSettings,
    context: Context,
    *,
    installs: bool = False,
) -> Iterator[None]:
    """Let what psycopg raises in the block be a LedgerError that says what to do.

    Args:
        connection: What the block uses.
        place: Who works where, for the message.
        settings: The section's settings.
        context: The run.
        installs: Whether the block makes the schema, which needs other rights.

    Raises:
        LedgerError: When it raises something.
        Interrupted: When that was because the run is over.
    """
    try:
        yield
    except psycopg.Error as error:
        check_run(context, error)
        explain = install_error if installs else ledger_error
        raise explain(error, connection, place, settings) from error


def installing(settings: PostgresLedgerSettings, context: Context) -> Iterator[Migration]:
    """Run what the schema lacks; nothing where it is of this program's version.

    Yields:
        Each step, once it is done.

    Raises:
        LedgerError: When it cannot be run, or a newer program has been there.
        Interrupted: When the run is over; what was done stays done.
    """
    place = resolve(settings).text
    with (
        connected(settings, context) as connection,
        explained(connection, place, settings, context, installs=True),
    ):
        found = ledger_schema.version(connection, settings.schema)
        if found > ledger_schema.newest():
            raise other_version(found, settings, place)
        connection.limit(context, None)  # a step may take as long as there are rows to change
        yield from ledger_schema.install(connection, settings.schema)


def write(
    settings: PostgresLedgerSettings,
    context: Context,
    work: Callable[[LedgerSession], T],
    kept: Kept | None = None,
) -> T:
    """Return what some work gives, all of it written in one transaction, or nothing.

    It is done again where it met the transaction of another run.

    Raises:
        LedgerError: When nothing was written, or when nobody knows whether; the message says
            which, and why.
        Interrupted: When the run is over; nothing was written.
    """
    place = resolve(settings).text
    tries = 0
    while True:
        tries += 1
        try:
            with connected(settings, context, kept) as connection:
                return _written(connection, settings, context, place, work)
        except _Again as again:
            if tries >= _MOST_TRIES:
                raise LedgerError(
                    f"{place}: other runs write to the ledger all the time: {again}; {NOT_WRITTEN}",
                    hint="try again",
                ) from again
        context.pause(random.uniform(0.1, 1) * _AGAIN)


class _Again(Exception):
    """The transaction was undone because of another one, and may succeed the next time."""


def _written(
    connection: Connection,
    settings: PostgresLedgerSettings,
    context: Context,
    place: str,
    work: Callable[[LedgerSession], T],
) -> T:
    row = None
    try:
        row = _begin(connection, settings, context, _WRITES, _IDENTITY)
        _check_version(row, settings, place)
        if row["standby"]:
            raise LedgerError(
                f"{place} is a standby, and only its primary can be written to; {NOT_WRITTEN}",
                hint="have the ledger's section lead to the primary",
            )
        result = work(LedgerSession(connection, settings, context, place, False))
        commit(connection, row["identity"])
    except CommitUnknown as error:
        if _was_committed(settings, context, place, error):
            return result
        raise _Again(str(error)) from error
    except psycopg.Error as error:
        context.check()
        if is_passing(error):
            raise _Again(str(error.diag.message_primary)) from error
        explain = ledger_error if row is None else write_error
        raise explain(error, connection, place, settings) from error
    return result


def _was_committed(
    settings: PostgresLedgerSettings, context: Context, place: str, lost: CommitUnknown
) -> bool:
    """Ask the server how a transaction ended, on a new connection.

    Raises:
        LedgerError: When nobody can tell.
    """
    rest = context.or_grace(_FIND_OUT).limited(_FIND_OUT)
    try:
        while True:
            with connected(settings, rest) as connection:
                row = connection.execute(outcome_query(lost.identity)).fetchone()
            status = row["status"] if row else None
            if status in ("committed", "aborted"):
                return bool(status == "committed")
            if status is None:
                break
            rest.pause(_AGAIN)
    except (LedgerError, psycopg.Error):
        pass
    raise LedgerError(
        f"{place}: {lost}",
        hint="run it again: it goes by what the ledger and the servers hold",
    )


def _begin(
    connection: Connection,
    settings: PostgresLedgerSettings,
    context: Context,
    level: sql.SQL,
    known_by: sql.Composable = _NO_IDENTITY,
) -> Row:
    """Begin a transaction and limit it; return what is to be known, in one round trip."""
    limit = context.remaining(settings.statement_timeout or None)
    begin = _BEGIN.format(
        level=level,
        limit=math.ceil(1000 * min(limit or 0, LONGEST_STATEMENT)),
        identity=known_by,
        migrations=sql.Identifier(settings.schema, "migrations"),
    )
    cursor = connection.execute(begin)
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    assert row is not None, "an aggregate gives one row"
    return row


def _check_version(row: Row, settings: PostgresLedgerSettings, place: str) -> None:
    if row["version"] != ledger_schema.newest():
        raise other_version(row["version"], settings, place)
