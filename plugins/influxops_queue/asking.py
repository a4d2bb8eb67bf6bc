"""What a command asks the queue: one connection, for as long as the run may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from psycopg import sql

from influxops.errors import LedgerError
from influxops.runtime.context import Context
from influxops_postgres.commit import confirming
from influxops_queue.connections import Connections, connecting
from influxops_queue.install import explained
from influxops_queue.schema import check_installed
from influxops_queue.settings import LedgerPlace
from influxops_queue.tables import Connection, Tables

T = TypeVar("T")

#: Seconds that PostgreSQL may take for an answer.
_ANSWER = 30.0


def ask(
    settings: LedgerPlace,
    context: Context,
    work: Callable[[Tables, Connection], Awaitable[T]],
) -> T:
    """Return what some work gives that reads or writes the queue, in one transaction.

    Args:
        settings: The ledger's.
        context: The run, which ends it.
        work: Gets the statements, and a connection.

    Raises:
        LedgerError: When the queue is not installed, or cannot be read.
        Interrupted: When the run is over.
    """
    tables = Tables(settings)

    async def connected() -> T:
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        with context.ends(lambda: loop.call_soon_threadsafe(task.cancel)):
            connection = await Connections(_ANSWER).open(connecting(settings.keywords()))
            async with connection, confirming(connection):
                path = sql.SQL("SET LOCAL search_path = {}")
                await connection.execute(path.format(sql.Identifier(tables.schema)))
                return await work(tables, connection)

    with explained(settings, context):
        with settings.connect(context) as connection:
            check_installed(connection, settings)
        try:
            return asyncio.run(connected())
        except asyncio.CancelledError:
            context.check()
            raise LedgerError("the queue could not be read", hint="try again") from None
