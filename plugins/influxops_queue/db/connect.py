"""A command's connection to the queue, for as long as the run may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from psycopg import sql

from influxops.runtime.context import RunContext
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection.commit import confirming
from influxops_postgres.connection.connection import async_keywords, cut
from influxops_postgres.connection.errors import explained
from influxops_postgres.connection.pool import connected
from influxops_queue.db.install import explain
from influxops_queue.db.queries import Connection, Queries
from influxops_queue.db.schema import check_installed

T = TypeVar("T")

#: Seconds that PostgreSQL may take for all answers.
_ANSWER = 30.0


def ask(
    settings: PostgresLedgerSettings,
    context: RunContext,
    work: Callable[[Queries, Connection], Awaitable[T]],
) -> T:
    """Return what some work gives that reads or writes the queue, in one transaction."""
    queries = Queries(settings)

    async def call() -> T:
        loop = asyncio.get_running_loop()
        keywords = {**async_keywords(settings), "autocommit": True}
        connection = await psycopg.AsyncConnection.connect(**keywords)
        late = loop.call_later(_ANSWER, cut, connection)
        try:
            with context.on_end(lambda: loop.call_soon_threadsafe(cut, connection)):
                async with connection, confirming(connection):
                    path = sql.SQL("SET LOCAL search_path = {}")
                    await connection.execute(path.format(sql.Identifier(queries.schema)))
                    return await work(queries, connection)
        finally:
            late.cancel()

    with explained(context, lambda error: explain(error, settings)):
        with connected(settings, context) as connection:
            check_installed(connection, settings)
        return asyncio.run(call())
