"""Tells when a namespace's routes have another version: by notifications, and by looking."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from psycopg import sql

from influxops.plugin import RunContext
from influxops_postgres.connection.connection import async_keywords
from influxops_postgres.connection.errors import explained
from influxops_postgres.connection.listening import BEAT, LIMIT, check_pooling
from influxops_postgres.connection.pool import connected
from influxops_postgres.ledger.errors import ledger_error
from influxops_postgres.ledger.settings import PostgresLedgerSettings

_LISTEN = "LISTEN influxops_routes"
_VERSION = sql.SQL("SELECT coalesce((SELECT version FROM {} WHERE namespace = {}), 0) AS version")


def watch(settings: PostgresLedgerSettings, context: RunContext) -> Iterator[int]:
    """Yield the version of the routes at once, at each notification, and every few seconds.

    Raises:
        ConfigError: When a pooler in between would keep notifications back.
        LedgerError: When the ledger cannot be read, or is gone.
    """
    location = settings.parameters().text
    query = _VERSION.format(sql.Identifier(settings.schema, "routes"), settings.namespace)
    with (
        connected(settings, context) as connection,
        explained(context, lambda error: ledger_error(error, connection, location, settings)),
    ):
        asyncio.run(check_pooling(async_keywords(settings), location))
        connection.limit(context, LIMIT)
        connection.execute(_LISTEN)
        while True:
            row = connection.execute(query).fetchone()
            assert row is not None, "a SELECT without FROM gives one row"
            yield row["version"]
            context.check()
            # What came while the caller was busy is here at once, all of it.
            for _ in connection.notifies(timeout=BEAT, stop_after=1):
                pass
