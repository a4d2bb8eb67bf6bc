"""Transactions whose connection breaks: none counts as committed without a confirmation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from influxops.plugin import Interrupted, LedgerError, RunContext
from influxops_postgres import PostgresLedger
from influxops_postgres.connection.commit import confirmed, confirming
from influxops_postgres.connection.errors import CommitUnknown
from influxops_postgres.ledger import schema
from influxops_postgres.ledger.transaction import LedgerSession, installing, write
from tests.pg import TestDatabase
from tests.pg_proxy import PgProxy, Then, end, pg_proxy, wait_for_checkpoint_to_age
from tests.postgres.conftest import MakeLedger


@pytest.fixture
def proxy(database: TestDatabase) -> Iterator[PgProxy]:
    with pg_proxy(database.server.port) as proxy:
        yield proxy


@pytest.fixture
def kept(database: TestDatabase) -> TestDatabase:
    """A database with a table, and whose last checkpoint is older than what follows."""
    database.execute("CREATE TABLE kept (what text)")
    wait_for_checkpoint_to_age(database)
    return database


def rows(database: TestDatabase) -> list[str]:
    with psycopg.connect(database.conninfo) as connection:
        return [what for (what,) in connection.execute("SELECT what FROM kept")]


def run_sync(conninfo: str, work: Any) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection, confirmed(connection):
        connection.execute("INSERT INTO kept VALUES ('x')")
        work(connection)


def run_async(conninfo: str, work: Any) -> None:
    async def run() -> None:
        async with (
            await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection,
            confirming(connection),
        ):
            await connection.execute("INSERT INTO kept VALUES ('x')")
            done = work(connection)
            if done is not None:
                await done

    asyncio.run(run())


both = pytest.mark.parametrize("run", [run_sync, run_async], ids=["sync", "async"])


@both
def test_what_is_committed_is_stored(kept: TestDatabase, run: Any) -> None:
    run(kept.conninfo, lambda connection: None)
    assert rows(kept) == ["x"]


@both
def test_a_block_that_does_not_see_that_its_connection_broke_is_no_success(
    kept: TestDatabase, run: Any
) -> None:
    def swallow(connection: Any) -> Any:
        end(kept, connection.info.backend_pid)
        if isinstance(connection, psycopg.Connection):
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1")
            return None

        async def later() -> None:
            with contextlib.suppress(psycopg.Error):
                await connection.execute("SELECT 1")

        return later()

    with pytest.raises(psycopg.OperationalError):
        run(kept.conninfo, swallow)
    assert rows(kept) == []


@both
def test_a_block_that_hides_that_its_transaction_failed_is_no_success(
    kept: TestDatabase, run: Any
) -> None:
    def swallow(connection: Any) -> Any:
        if isinstance(connection, psycopg.Connection):
            with contextlib.suppress(psycopg.Error):
                connection.execute("SELECT 1 / 0")
            return None

        async def later() -> None:
            with contextlib.suppress(psycopg.Error):
                await connection.execute("SELECT 1 / 0")

        return later()

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        run(kept.conninfo, swallow)
    assert rows(kept) == []


@both
def test_a_backend_that_ended_before_the_commit_is_no_success(kept: TestDatabase, run: Any) -> None:
    with pytest.raises(psycopg.OperationalError):
        run(kept.conninfo, lambda connection: end(kept, connection.info.backend_pid))
    assert rows(kept) == []


@both
@pytest.mark.parametrize("then", [Then.CUT, Then.LOSE_ANSWER])
def test_a_commit_without_an_answer_is_unknown(
    kept: TestDatabase, proxy: PgProxy, run: Any, then: Then
) -> None:
    proxy.before = lambda query, pid: then if query == "COMMIT" else Then.PASS_ON
    with pytest.raises(CommitUnknown, match="whether it was is not known"):
        run(proxy.conninfo(kept), lambda connection: None)
    assert rows(kept) == (["x"] if then is Then.LOSE_ANSWER else [])


@both
def test_a_commit_that_postgresql_refuses_says_why(kept: TestDatabase, run: Any) -> None:
    kept.execute("ALTER TABLE kept ADD UNIQUE (what) DEFERRABLE INITIALLY DEFERRED")
    kept.execute("INSERT INTO kept VALUES ('x')")
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        run(kept.conninfo, lambda connection: None)
    assert caught.value.__cause__ is not caught.value  # which what follows causes never left
    assert rows(kept) == ["x"]


# The ledger ---------------------------------------------------------------------------------------


def add(session: LedgerSession) -> str:
    session.connection.execute("INSERT INTO kept VALUES ('x')")
    return "added"


@pytest.fixture
def proxied(kept: TestDatabase, make_ledger: MakeLedger, proxy: PgProxy) -> PostgresLedger:
    """A ledger that is reached through the proxy."""
    made = make_ledger(port=str(proxy.port))
    assert list(installing(made.settings, RunContext()))
    return made


def test_the_ledger_asks_what_became_of_a_commit_without_an_answer(
    kept: TestDatabase, proxied: PostgresLedger, proxy: PgProxy
) -> None:
    left: list[Then] = []

    def once(query: str, pid: int) -> Then:
        return left.pop() if query == "COMMIT" and left else Then.PASS_ON

    proxy.before = once
    for then in (Then.LOSE_ANSWER, Then.CUT):
        left.append(then)
        assert write(proxied.settings, RunContext(30), add) == "added"
        assert not left
    assert rows(kept) == ["x", "x"]  # what was cut off was written again, and nothing twice


def test_the_ledger_says_that_nobody_can_know_what_became_of_a_commit(
    kept: TestDatabase, proxied: PostgresLedger, proxy: PgProxy
) -> None:
    # As after a crash of the server, which may give the number of a lost transaction again.
    proxy.after = lambda: kept.execute("CHECKPOINT", superuser=True)
    proxy.before = lambda query, pid: Then.LOSE_ANSWER if query == "COMMIT" else Then.PASS_ON
    with pytest.raises(LedgerError, match="whether it was is not known"):
        write(proxied.settings, RunContext(30), add)


def test_the_ledger_takes_no_failed_transaction_for_a_written_one(
    kept: TestDatabase, proxied: PostgresLedger
) -> None:
    def hide(session: LedgerSession) -> None:
        add(session)
        with contextlib.suppress(psycopg.Error):
            session.connection.execute("SELECT 1 / 0")

    with pytest.raises(LedgerError, match="nothing was written"):
        write(proxied.settings, RunContext(30), hide)
    assert rows(kept) == []


def test_the_ledger_takes_no_broken_connection_for_a_written_one(
    kept: TestDatabase, proxied: PostgresLedger
) -> None:
    def hide(session: LedgerSession) -> None:
        add(session)
        end(kept, session.connection.info.backend_pid)
        with contextlib.suppress(psycopg.Error):
            session.connection.execute("SELECT 1")

    with pytest.raises(LedgerError, match="nothing was written"):
        write(proxied.settings, RunContext(30), hide)
    assert rows(kept) == []


def test_a_step_of_the_schema_counts_only_once_it_is_committed(
    database: TestDatabase, make_ledger: MakeLedger, proxy: PgProxy
) -> None:
    made = make_ledger(port=str(proxy.port))
    proxy.before = lambda query, pid: Then.CUT if query == "COMMIT" else Then.PASS_ON
    with pytest.raises(LedgerError, match="whether it was is not known"):
        list(installing(made.settings, RunContext()))
    proxy.before = lambda query, pid: Then.LOSE_ANSWER if query == "COMMIT" else Then.PASS_ON
    context = RunContext()
    proxy.after = context.cancel  # a run that is over knows no more
    with pytest.raises(Interrupted, match="whether it was is not known"):
        list(installing(made.settings, context))
    proxy.reset()
    done = [each.version for each in installing(made.settings, RunContext())]
    assert done == [*range(2, schema.newest() + 1)]
