"""A transaction counts as committed once PostgreSQL has said so, and never before.

psycopg leaves `connection.transaction()` and `with connect()` without a COMMIT and without an
exception where the connection broke and the block itself ended well. It also takes a COMMIT that
was answered with ROLLBACK for one that succeeded. What an acknowledgement depends on is committed
here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from influxops.plugin import Interrupted, RunContext
from influxops_postgres.connection.errors import CommitUnknown, NotCommitted
from influxops_postgres.connection.pool import connected
from influxops_postgres.connection.settings import ConnectionSettings

#: Identifies a transaction: its number, and the server that it is on, and when it began there.
_IDENTITY = sql.SQL(
    "ARRAY[{number}::text, extract(epoch FROM pg_postmaster_start_time())::text,"
    " extract(epoch FROM transaction_timestamp())::text]"
)
#: Of a transaction that wrote something; else its number is null.
_IDENTITY_IF_WRITTEN = sql.SQL("SELECT {}").format(
    _IDENTITY.format(number=sql.SQL("pg_current_xact_id_if_assigned()"))
)
# A server that crashed, or a standby that took over, may give a number again that was lost with
# the unwritten log: "committed" counts only where the same server has run all the time. The end of
# a recovery is a checkpoint; its time has no fractions.
# Null where the server cannot tell.
_OUTCOME = sql.SQL("""
SELECT CASE WHEN status <> 'committed' OR is_same_server THEN status END AS status
  FROM (SELECT pg_xact_status(({identity}::text[])[1]::xid8) AS status,
               ({identity}::text[])[2] = extract(epoch FROM pg_postmaster_start_time())::text
               AND extract(epoch FROM checkpoint_time) + 1
                   < ({identity}::text[])[3]::float8 AS is_same_server
          FROM pg_control_checkpoint()) AS found
""")
#: Seconds between two questions about a transaction that is still in progress.
_PAUSE = 0.1
#: Seconds that undoing a transaction may take; after that the server does it by itself.
_UNDO = 5.0


def identity(number: sql.SQL) -> sql.Composed:
    """Return what identifies a transaction of a number (of the type xid8), to be read within it."""
    return _IDENTITY.format(number=number)


def commit(connection: psycopg.Connection[Any], identity: Sequence[str | None]) -> None:
    """Commit a transaction that was begun with BEGIN in autocommit mode, and make sure that it is.

    Raises:
        NotCommitted: When it was not.
        CommitUnknown: When the connection broke before PostgreSQL had answered.
        psycopg.Error: When PostgreSQL refused it, and has rolled it back.
    """
    with _committing(connection, identity):
        cursor = connection.execute("COMMIT")
    _check_answer(cursor.statusmessage)


@contextlib.contextmanager
def confirmed(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Run the block in a transaction, and leave it only once that is known to be committed.

    The connection is in autocommit mode, and in no transaction. It fails as `commit` does.
    """
    try:
        connection.execute("BEGIN")
        yield
        with connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(_IDENTITY_IF_WRITTEN).fetchone()
    except BaseException:
        with contextlib.suppress(psycopg.Error):
            connection.rollback()
        raise
    assert row is not None, "it gives one row"
    commit(connection, row[0])


@contextlib.asynccontextmanager
async def confirming(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """Do what `confirmed` does, on an asynchronous connection."""
    try:
        await connection.execute("BEGIN")
        yield
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_IDENTITY_IF_WRITTEN)
            row = await cursor.fetchone()
    except BaseException:
        with contextlib.suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(_UNDO):
                await connection.rollback()
        raise
    assert row is not None, "it gives one row"
    with _committing(connection, row[0]):
        cursor = await connection.execute("COMMIT")
    _check_answer(cursor.statusmessage)


def was_committed(
    settings: ConnectionSettings, context: RunContext, lost: CommitUnknown
) -> bool | None:
    """Ask on new connections how a transaction ended; None where the server cannot tell in time."""
    query = _OUTCOME.format(identity=sql.Literal(lost.identity))
    with contextlib.suppress(Interrupted, psycopg.Error):
        while True:
            # A server that restarts may answer the next time.
            with contextlib.suppress(psycopg.OperationalError, settings.error):
                with connected(settings, context) as connection:
                    row = connection.execute(query).fetchone()
                status = row["status"] if row else None
                if status != "in progress":
                    return None if status is None else bool(status == "committed")
            context.sleep(_PAUSE)
    return None


@contextlib.contextmanager
def _committing(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    identity: Sequence[str | None],
) -> Iterator[None]:
    if connection.info.transaction_status != TransactionStatus.INTRANS:
        raise NotCommitted("the connection broke, or the transaction failed, before its COMMIT")
    try:
        yield
    except psycopg.Error as error:
        # On a connection that works, PostgreSQL has rolled it back; without a number, it wrote
        # nothing.
        if connection.closed and identity[0] is not None:
            raise CommitUnknown(str(error), identity) from error
        raise
    except asyncio.CancelledError as error:
        # The caller's time is over, not the transaction; what was answered is lost with the call.
        raise CommitUnknown("no answer in time", identity) from error


def _check_answer(tag: str | None) -> None:
    if tag != "COMMIT":
        raise NotCommitted(f"PostgreSQL answered the COMMIT with {tag}")
