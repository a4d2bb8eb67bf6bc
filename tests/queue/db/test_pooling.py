"""What a worker finds out about a pooler before it sets anything there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from influxops.errors import ConfigError
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection.connection import async_keywords
from influxops_postgres.connection.listening import check_pooling
from tests.pg import TestDatabase
from tests.pgbouncer import pgbouncer
from tests.queue.workers import until

#: Seconds that finding out may take at most, on a busy machine.
SOON = 20.0


def keywords(conninfo: str) -> dict[str, Any]:
    return async_keywords(PostgresLedgerSettings(dsn=conninfo))


def check(conninfo: str) -> None:
    began = time.monotonic()
    try:
        asyncio.run(check_pooling(keywords(conninfo), "the ledger"))
    finally:
        assert time.monotonic() - began < SOON


def busy(db: TestDatabase) -> Callable[[], int]:
    """Count the sessions on the server that are in a transaction or wait for something."""

    def count() -> int:
        with psycopg.connect(db.superuser_conninfo) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state <> 'idle'"
            ).fetchone()
        return int(row[0]) if row else 0

    return count


@pytest.mark.parametrize("size", [1, 6])
def test_a_pooler_that_lends_by_the_statement_is_refused(db: TestDatabase, size: int) -> None:
    with pgbouncer(db, "statement", size=size) as bouncer, pytest.raises(ConfigError):
        check(bouncer.conninfo)


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("size", [1, 2, 5, 6, 12])
def test_a_pooler_that_lends_by_the_transaction_is_refused(
    db: TestDatabase, size: int, in_turn: bool
) -> None:
    with pgbouncer(db, "transaction", size=size, in_turn=in_turn) as bouncer:
        with contextlib.ExitStack() as stack:  # all of its connections are there already
            for _ in range(size):
                stack.enter_context(psycopg.connect(bouncer.conninfo)).execute("SELECT 1")
        with pytest.raises(ConfigError) as caught:
            check(bouncer.conninfo)
        until(lambda: busy(db)() == 0)
    assert "lends connections by the transaction" in caught.value.message
    assert f"port {db.server.port}, where PostgreSQL itself listens" in str(caught.value.remedy)
    assert caught.value.exit_code == 2


def test_it_is_refused_while_other_programs_use_it(db: TestDatabase) -> None:
    with (
        pgbouncer(db, "transaction", size=2) as bouncer,
        psycopg.connect(bouncer.conninfo) as taken,
    ):
        taken.execute("SELECT 1")
        with pytest.raises(ConfigError):
            check(bouncer.conninfo)


@pytest.mark.parametrize("size", [1, 3, 12])
def test_a_pooler_that_lends_by_the_session_is_taken(db: TestDatabase, size: int) -> None:
    with pgbouncer(db, "session", size=size) as bouncer:
        check(bouncer.conninfo)
        with psycopg.connect(bouncer.conninfo) as application:  # all of them are free again
            application.execute("SELECT 1")
        until(lambda: busy(db)() == 0)


def test_postgres_itself_is_taken(db: TestDatabase) -> None:
    check(db.conninfo)
    until(lambda: busy(db)() == 0)
