"""An application's own transaction whose connection breaks: `ensure` and the commit both say so."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops import Provisioner, TransactionLost
from tests.conftest import GiveStandIn
from tests.pg import TestDatabase
from tests.pg_proxy import PgProxy, Then, end, pg_proxy
from tests.provisioner.conftest import Provide, insert, until

pytestmark = pytest.mark.stand_in

TEXT = (Path(__file__).parents[2] / "docs" / "applications.md").read_text()
INSERT = "INSERT INTO device_registry (tenant_id) VALUES ('acme')"


@pytest.fixture
def made(provide: Provide, db: TestDatabase, stand_in: GiveStandIn) -> Provisioner:
    db.registry()
    return provide(targets={"one": stand_in(max_databases=None)}, ledger=True)


@pytest.fixture
def proxy(db: TestDatabase) -> Iterator[PgProxy]:
    with pg_proxy(db.server.port) as proxy:
        yield proxy


def registered(db: TestDatabase) -> int:
    with psycopg.connect(db.conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM device_registry").fetchone()
    assert row is not None
    return int(row[0])


class Sync:
    """An application that waits."""

    def __init__(self, made: Provisioner, db: TestDatabase) -> None:
        self._made, self._db = made, db

    def create(self, conninfo: str, *, before: str = "", after: str = "") -> None:
        """Create a tenant as docs/applications.md says, with something else in between."""
        with psycopg.connect(conninfo) as connection:
            connection.execute(INSERT)
            self._do(connection, before)
            self._made.enqueue("acme", connection)
            self._do(connection, after)
            connection.commit()

    def _do(self, connection: psycopg.Connection[Any], what: str) -> None:
        if what == "end":
            end(self._db, connection.info.backend_pid)
        elif what == "close":
            connection.close()
        elif what:
            with contextlib.suppress(psycopg.Error):
                connection.execute(what.encode())


class Async(Sync):
    """One with an event loop."""

    def create(self, conninfo: str, *, before: str = "", after: str = "") -> None:
        asyncio.run(self._create(conninfo, before, after))

    async def _create(self, conninfo: str, before: str, after: str) -> None:
        async with await psycopg.AsyncConnection.connect(conninfo) as connection:
            await connection.execute(INSERT)
            await self._later(connection, before)
            await self._made.aenqueue("acme", connection)
            await self._later(connection, after)
            await connection.commit()

    async def _later(self, connection: psycopg.AsyncConnection[Any], what: str) -> None:
        if what == "end":
            end(self._db, connection.info.backend_pid)
        elif what == "close":
            await connection.close()
        elif what:
            with contextlib.suppress(psycopg.Error):
                await connection.execute(what.encode())


KINDS = (Sync, Async)


def test_a_note_on_a_connection_that_can_commit_nothing_is_an_error(
    made: Provisioner, db: TestDatabase
) -> None:
    for application in KINDS:
        for before in ("end", "close", "SELECT 1 / 0"):
            with pytest.raises(TransactionLost, match="nothing of its transaction is stored"):
                application(made, db).create(db.conninfo, before=before)
    assert registered(db) == 0
    insert(db, "acme")
    assert made.ensure("acme").status == "created"
    for application in KINDS:  # whatever is known of the tenant
        for before in ("close", "SELECT 1 / 0"):
            with pytest.raises(TransactionLost, match="nothing of its transaction is stored"):
                application(made, db).create(db.conninfo, before=before)


def test_a_connection_that_breaks_within_the_note_or_after_it_is_an_error(
    made: Provisioner, db: TestDatabase, proxy: PgProxy
) -> None:
    for application in KINDS:
        with pytest.raises(psycopg.OperationalError):
            application(made, db).create(db.conninfo, after="end")
    proxy.before = lambda query, pid: Then.CUT if "unnest" in query else Then.PASS_ON
    for application in KINDS:
        with pytest.raises(TransactionLost):
            application(made, db).create(proxy.conninfo(db))
    assert registered(db) == 0


def test_a_commit_whose_answer_is_lost_is_an_error(
    made: Provisioner, db: TestDatabase, proxy: PgProxy
) -> None:
    proxy.before = lambda query, pid: Then.LOSE_ANSWER if query == "COMMIT" else Then.PASS_ON
    for number, application in enumerate(KINDS):
        with pytest.raises(psycopg.OperationalError):
            application(made, db).create(proxy.conninfo(db))
        assert registered(db) == number + 1  # which the application cannot know


def test_a_note_outside_of_a_transaction_whose_answer_is_lost_is_not_known(
    made: Provisioner, db: TestDatabase, proxy: PgProxy
) -> None:
    proxy.before = lambda query, pid: Then.LOSE_ANSWER if query == "COMMIT" else Then.PASS_ON

    async def later() -> None:
        there = proxy.conninfo(db)
        async with await psycopg.AsyncConnection.connect(there, autocommit=True) as connection:
            await made.aenqueue("beta", connection)

    with (
        pytest.raises(TransactionLost, match="whether the tenant was noted is not known"),
        psycopg.connect(proxy.conninfo(db), autocommit=True) as connection,
    ):
        made.enqueue("acme", connection)
    with pytest.raises(TransactionLost, match="whether the tenant was noted is not known"):
        asyncio.run(later())
    with psycopg.connect(db.conninfo) as connection:
        found = connection.execute("SELECT tenant FROM influxops.tenants ORDER BY tenant")
        assert found.fetchall() == [("acme",), ("beta",)]


def test_the_example_of_the_documentation_answers_only_what_is_committed(
    made: Provisioner, db: TestDatabase, proxy: PgProxy
) -> None:
    found = re.search(r"(import psycopg\n.*?)```", TEXT, flags=re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {"provisioner": made}
    exec(compile(found[1], "applications.py", "exec", dont_inherit=True), names)
    pids: list[int] = []

    def end_before(what: str) -> Any:
        def before(query: str, pid: int) -> Then:
            if what in query and pid not in pids:
                pids.append(pid)
                end(db, pid)
            return Then.PASS_ON

        return before

    for what in ("lock_timeout", "unnest", "COMMIT"):
        proxy.before = end_before(what)
        with pytest.raises((TransactionLost, psycopg.OperationalError)):
            names["create_tenant"](proxy.conninfo(db), "acme")
        assert registered(db) == 0
    proxy.reset()
    names["create_tenant"](proxy.conninfo(db), "acme")
    assert registered(db) == 1


def test_who_asks_after_the_commit_is_not_told_what_was_read_before_it(
    made: Provisioner, db: TestDatabase
) -> None:
    """The service enqueues a tenant in its transaction, and asks for it right after the commit."""
    busy = (
        "SELECT bool_or(wait_event_type = 'Lock') AND NOT bool_or(query LIKE '%device_registry%' "
        "AND state = 'active') FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    )
    with (
        psycopg.connect(db.conninfo) as lock,
        psycopg.connect(db.conninfo, autocommit=True) as look,
        ThreadPoolExecutor() as pool,
    ):
        made.start()
        lock.execute("LOCK influxops.tenants IN ACCESS EXCLUSIVE MODE")
        made.submit("acme")  # its source is read, and its record waits for the lock
        until(lambda: look.execute(busy).fetchone() == (True,))
        insert(db, "acme")
        asked = pool.submit(made.ensure, "acme")
        assert made._process is not None
        flight = made._process.works._flights["acme"]
        until(lambda: flight.asked_at > flight.began)
        lock.rollback()
        found = asked.result()
    assert found.is_ready, found.reason
