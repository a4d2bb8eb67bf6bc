"""One run at a time on one registry database: an advisory lock of PostgreSQL.

Its key comes from the setting `lock` alone, so that runs meet whatever tables, queries and targets
they are configured with. It belongs to a transaction that stays open while the run works, so that
it goes when the run ends, however it ends, and also holds through a pooler that lends connections
by the transaction. That transaction is READ COMMITTED and idle: it keeps no snapshot, so it holds
up no VACUUM.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator

import psycopg
from psycopg import sql

from influxops.plugin import (
    Context,
    InfluxopsError,
    Interrupted,
    LockBusy,
    Remedy,
    SourceError,
)
from influxops_postgres.connection.connection import Connection, Kept, connect
from influxops_postgres.connection.conninfo import resolve
from influxops_postgres.connection.errors import broken_hint, reason
from influxops_postgres.connection.settings import PostgresSettings

#: Seconds between two tries.
_AGAIN = 0.25
#: Seconds that are not worth another try.
_TOO_LITTLE = 0.02
#: A server that is asked for a lock without waiting answers at once, or is in trouble.
_STATEMENT_TIMEOUT_MS = 10_000

_BEGIN = sql.SQL(
    "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; "
    "SET LOCAL statement_timeout = {timeout}; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)
_NO_TRANSACTION_TIMEOUT = sql.SQL("; SET LOCAL transaction_timeout = 0")

_STANDBY = sql.SQL("SELECT pg_is_in_recovery() AS standby")

# With the key in its text: a statement with parameters leaves a portal open, and that a snapshot.
_TRY = sql.SQL("SELECT pg_try_advisory_xact_lock({key}) AS taken")

# What this user may not see of another's session is NULL there.
_HOLDER = sql.SQL("""
SELECT l.pid, a.usename AS user, nullif(a.application_name, '') AS application,
       host(a.client_addr) AS address, to_char(a.xact_start AT TIME ZONE 'UTC',
                                               'YYYY-MM-DD HH24:MI:SS "UTC"') AS since
  FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32) | l.objid::bigint = %(key)s
""")


def lock_key(name: str) -> int:
    """Return the key of the lock, the same in every version of influxops.

    Args:
        name: The lock's name. The database is not in it: PostgreSQL keeps the advisory locks of
            each database apart.

    Returns:
        A signed 64-bit number.
    """
    return key_of("lock", name)


def key_of(*names: str) -> int:
    """Return the key of an advisory lock.

    Args:
        *names: What kind of lock it is, and what it is of.

    Returns:
        A signed 64-bit number.
    """
    digest = hashlib.sha256("\0".join(("influxops", *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextlib.contextmanager
def held(settings: PostgresSettings, context: Context) -> Iterator[None]:
    """Hold the registry's lock.

    Raises:
        LockBusy: When another run holds it for longer than `lock_timeout`.
        SourceError: When there is no lock to be had: on a standby, or without a connection. On
            leaving, when the connection broke meanwhile, and the lock with it.
        Interrupted: When the run is over.
    """
    place = resolve(settings).text
    with kept(
        connect(settings, context),
        context,
        lambda connection: _take(connection, settings, context, place),
        lambda why, hint: SourceError(f"{place}: no lock: {why}", hint=hint),
        SourceError(f"{place}: the connection with the lock broke during the run"),
    ):
        yield


@contextlib.contextmanager
def kept(
    connection: Connection,
    context: Context,
    take: Callable[[Connection], None],
    refused: Callable[[str, str], InfluxopsError],
    broke: InfluxopsError,
    again: Kept | None = None,
) -> Iterator[None]:
    """Keep a connection whose transaction holds a lock, and close it.

    Args:
        connection: The connection.
        context: The run.
        take: Takes the lock.
        refused: Makes the error where the server gave none, of the reason and a hint.
        broke: What is raised on leaving, when the connection broke meanwhile.
        again: Keeps it for the next one if all went well, instead of closing it.

    Raises:
        InfluxopsError: What `take` and `refused` give, or `broke`.
        Interrupted: When the run is over.
    """
    ended_well = False
    try:
        try:
            take(connection)
        except psycopg.Error as error:
            context.check()
            raise refused(reason(error), broken_hint(error)) from error
        yield
        try:
            context.check()
            connection.execute("COMMIT")
            ended_well = True
        except Interrupted:
            pass  # closing the connection gives the lock back too, without waiting for an answer
        except psycopg.Error:
            raise broke from None
    finally:
        if ended_well and again is not None:
            again.keep(connection)
        else:
            connection.close()


def _take(connection: Connection, settings: PostgresSettings, context: Context, place: str) -> None:
    if begin(connection):
        raise SourceError(
            f"{place} is a standby, and a standby holds no locks",
            hint="read the registry's primary where several runs may meet",
        )
    key = lock_key(settings.lock)
    until = time.monotonic() + settings.lock_timeout
    while not take(connection, key):
        left = context.remaining(until - time.monotonic())
        if left is None or left <= _TOO_LITTLE:
            raise LockBusy(
                f"another run holds the lock of {place}: {_holder(connection, key)}",
                hint=Remedy.setting("lock_timeout", "wait for it to end, or raise {}"),
            )
        context.pause(min(_AGAIN, 0.9 * left))


def begin(connection: Connection) -> bool:
    """Begin the transaction that is to hold a lock; return whether this is a standby."""
    first = _BEGIN.format(timeout=_STATEMENT_TIMEOUT_MS)
    if connection.info.server_version >= 170000:
        first += _NO_TRANSACTION_TIMEOUT
    connection.execute(first)
    found = connection.execute(_STANDBY).fetchone()
    assert found is not None, "a SELECT without FROM gives one row"
    return bool(found["standby"])


def take(connection: Connection, key: int) -> bool:
    """Take a lock for the rest of the transaction if it is free; return whether it was."""
    row = connection.execute(_TRY.format(key=key)).fetchone()
    return bool(row and row["taken"])


def _holder(connection: Connection, key: int) -> str:
    row = connection.execute(_HOLDER, {"key": key}).fetchone()
    if row is None:
        return "it was given back just now"
    words = [row["application"] or "a session", f"(pid {row['pid']}"]
    words += [f"user {row['user']}"] if row["user"] else []
    words += [f"from {row['address']}"] if row["address"] else []
    words += [f"since {row['since']}"] if row["since"] else []
    return " ".join(words[:1]) + " " + ", ".join(words[1:]) + ")"
