"""Advisory locks that a transaction holds for as long as a run works.

Such a lock goes when the run ends, however it ends, and also holds through a pooler that lends
connections by the transaction. The transaction is READ COMMITTED and idle: it keeps no snapshot, so
it holds up no VACUUM.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator

import psycopg
from psycopg import sql

from influxops.plugin import InfluxopsError, Interrupted, RunContext
from influxops_postgres.connection.connection import Connection
from influxops_postgres.connection.errors import broken_hint, reason
from influxops_postgres.connection.pool import IdleConnections, connected
from influxops_postgres.connection.settings import ConnectionSettings

#: A server that is asked for a lock without waiting answers at once, or is in trouble.
_STATEMENT_TIMEOUT_MS = 10_000

#: Gives the keys of all advisory locks that are held in this database.
HELD = sql.SQL("""
SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks
 WHERE locktype = 'advisory' AND objsubid = 1 AND granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")
_BEGIN = sql.SQL(
    "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; "
    "SET LOCAL statement_timeout = {timeout}; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)
_NO_TRANSACTION_TIMEOUT = sql.SQL("; SET LOCAL transaction_timeout = 0")

_STANDBY = sql.SQL("SELECT pg_is_in_recovery() AS standby")

# With the key in its text: a statement with parameters leaves a portal open, and that a snapshot.
_TRY = sql.SQL("SELECT pg_try_advisory_xact_lock({key}) AS taken")


def key_of(*names: str) -> int:
    """Return the key of an advisory lock: a signed 64-bit number, by its kind and what it is of."""
    digest = hashlib.sha256("\0".join(("influxops", *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextlib.contextmanager
def hold(
    settings: ConnectionSettings,
    context: RunContext,
    take: Callable[[Connection], None],
    *,
    primary: str,
    broke: InfluxopsError,
    idle: IdleConnections | None = None,
) -> Iterator[None]:
    """Hold a lock, which `take` takes or raises, for as long as the block lasts.

    Its connection is its own, or lent by `idle`. `settings.error` says that no lock can be had;
    where this is a standby, with `primary` as its hint. `broke` is raised on leaving where the
    connection broke in the block, and the lock with it.
    """
    location = settings.parameters().text
    with connected(settings, context, idle) as connection:
        try:
            if _begin(connection):
                raise settings.error(
                    f"{location} is a standby, and a standby holds no locks", hint=primary
                )
            take(connection)
        except psycopg.Error as error:
            context.check()
            raise settings.error(
                f"{location}: no lock: {reason(error)}", hint=broken_hint(error)
            ) from error
        yield
        try:
            context.check()
            connection.execute("COMMIT")
        except Interrupted:
            pass  # closing the connection gives the lock back too, without waiting for an answer
        except psycopg.Error:
            raise broke from None


def _begin(connection: Connection) -> bool:
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
