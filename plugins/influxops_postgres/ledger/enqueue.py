"""Enqueues tenants that should have a database, in an application's own transaction.

Under a savepoint: a failure leaves the transaction as it was. A tenant that another transaction is
just enqueuing makes it wait for that commit, so it waits for a moment only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from influxops.plugin import LedgerError, TransactionLost
from influxops_postgres.connection.errors import reason
from influxops_postgres.ledger.settings import PostgresLedgerSettings

#: How long it waits for another transaction; the application's setting holds again afterwards.
_PATIENCE = "50ms"

_PREPARE = sql.SQL(
    "SELECT current_setting('lock_timeout') AS before, set_config('lock_timeout', {}, true)"
)
_RESTORE = sql.SQL("SELECT set_config('lock_timeout', {}, true)")
#: psycopg begins the application's transaction before it.
_BEGIN = sql.SQL("SELECT 1")
_WANT = sql.SQL("""
INSERT INTO {tenants} (namespace, tenant, state)
SELECT {namespace}, id, 'pending' FROM unnest({ids}::text[]) AS id ORDER BY id COLLATE "C"
    ON CONFLICT DO NOTHING
""")


def enqueue(
    settings: PostgresLedgerSettings, tenants: Sequence[str], connection: Any
) -> Awaitable[None] | None:
    """Enqueue tenants that should have a database, in an open transaction or a new one.

    The connection is psycopg 3's; where it is asynchronous, the result is to be awaited. Where
    nothing was written, the transaction is as it was, or a TransactionLost says that it is gone.
    """
    query = _WANT.format(
        tenants=sql.Identifier(settings.schema, "tenants"),
        namespace=settings.namespace,
        ids=[*tenants],
    )
    if isinstance(connection, psycopg.AsyncConnection):
        return _later(query, connection)
    if not isinstance(connection, psycopg.Connection):
        raise LedgerError(
            f"a connection of psycopg 3 is needed, not a {type(connection).__name__}",
            hint="hand over psycopg's own connection, not what wraps it",
        )
    with _refusing(connection) as is_to_begin:
        if is_to_begin:
            connection.execute(_BEGIN)
        with connection.transaction(), connection.cursor(row_factory=_first) as cursor:
            before = cursor.execute(_PREPARE.format(_PATIENCE)).fetchone()
            cursor.execute(query)
            cursor.execute(_RESTORE.format(before))
    return None


async def _later(query: sql.Composed, connection: psycopg.AsyncConnection[Any]) -> None:
    with _refusing(connection) as is_to_begin:
        if is_to_begin:
            await connection.execute(_BEGIN)
        async with connection.transaction(), connection.cursor(row_factory=_first) as cursor:
            await cursor.execute(_PREPARE.format(_PATIENCE))
            before = await cursor.fetchone()
            await cursor.execute(query)
            await cursor.execute(_RESTORE.format(before))


@contextlib.contextmanager
def _refusing(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
) -> Iterator[bool]:
    """Yield whether a transaction of the application is still to begin.

    Else psycopg would take this for a whole transaction, and commit it. A failure is raised with
    what it means for the application.
    """
    is_idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    is_alone = is_idle and connection.autocommit  # what was done before is committed
    try:
        yield is_idle and not is_alone
    except psycopg.Error as error:
        raise _refused(error, connection, is_alone) from error


def _first(cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]) -> Any:
    """Make rows of their first value, whatever the connection makes of them."""
    return lambda values: values[0]


def _refused(
    error: psycopg.Error,
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    is_alone: bool,
) -> LedgerError:
    if connection.closed and is_alone:
        return TransactionLost(
            "the application's connection broke outside of a transaction, and whether the tenant "
            f"was noted is not known: {reason(error)}",
            hint="ask again, on a new connection",
        )
    failed = connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    if connection.closed or failed:
        what = "transaction has failed" if failed else "connection is closed or broken"
        return TransactionLost(
            f"the application's {what}, and nothing of its transaction is stored: {reason(error)}",
            hint="begin the transaction again, on a new connection",
        )
    return LedgerError(
        f"the ledger could not be written in the application's transaction: {reason(error)}",
        hint="the ledger must be in the same database, and its user may INSERT into its tenants",
    )
