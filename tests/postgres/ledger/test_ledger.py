"""What the ledger in PostgreSQL remembers, and who may change it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from influxops.plugin import (
    Event,
    HistoryEntry,
    HistoryQuery,
    LedgerError,
    LedgerSnapshot,
    LedgerUpdate,
    Record,
    RunContext,
    Server,
    State,
)
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_postgres import PostgresLedger
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeLedger

ROOT = Path(__file__).parents[3]


def a_place(tenant: str, target: str = "eu1", version: int = 0) -> Record:
    return Record(
        tenant, State.ALLOCATED, f"telemetry_{tenant}", target, identity="uuid-1", version=version
    )


def reserve(ledger: PostgresLedger, context: RunContext, *records: Record) -> dict[str, Record]:
    return {each.tenant: each for each in ledger.influxops_claim(records, context)}


def record(ledger: PostgresLedger, context: RunContext, writing: LedgerUpdate) -> dict[str, Record]:
    return {each.tenant: each for each in ledger.influxops_commit(writing, context)}


def remembered(ledger: PostgresLedger, tenants: Sequence[str] | None = None) -> LedgerSnapshot:
    return ledger.influxops_load_records(tenants, RunContext())


def kept(ledger: PostgresLedger, tenant: str) -> Record:
    return remembered(ledger, [tenant]).records[tenant]


def test_a_run_that_does_not_live_takes_nothing(
    ledger: PostgresLedger, database: TestDatabase
) -> None:
    context = RunContext()
    with pytest.raises(LedgerError, match="lost the lock by which others see that it lives"):
        ledger.influxops_claim([a_place("acme")], context)
    with (
        pytest.raises(LedgerError, match="broke during the run"),
        ledger.influxops_session(context),
    ):
        reserve(ledger, context, a_place("acme"))
        database.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
            " WHERE application_name LIKE 'influxops %' AND datname = current_database()",
            superuser=True,
        )
        with pytest.raises(LedgerError, match="nothing was written"):
            ledger.influxops_claim([a_place("globex")], context)
    assert list(remembered(ledger).records) == ["acme"]


_DIES = """
import sys
from influxops.plugin import RunContext, Record, State
from influxops_postgres import PostgresLedger, PostgresLedgerSettings

ledger = PostgresLedger("", PostgresLedgerSettings.parse({"dsn": sys.argv[1], "password": None}))
context = RunContext()
with ledger.influxops_session(context):
    ledger.influxops_claim([Record("acme", State.ALLOCATED, "telemetry_acme", "eu1")], context)
    print(context.id, flush=True)
    sys.stdin.read()
"""


def test_a_run_that_is_killed_holds_nothing_any_more(
    ledger: PostgresLedger, database: TestDatabase
) -> None:
    conninfo = f"host=127.0.0.1 port={database.server.port} dbname={database.name} user=iot"
    with subprocess.Popen(
        [sys.executable, "-c", _DIES, conninfo],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PGPASSWORD": database.server.password},
    ) as process:
        try:
            assert process.stdout is not None
            run = process.stdout.readline().strip()
            held = kept(ledger, "acme")
            assert (held.claimed_by, held.is_claimed, held.state) == (run, True, State.ALLOCATED)
        finally:
            process.kill()
            process.wait()
    _await_no_locks(database)
    left = kept(ledger, "acme")
    assert left == replace(held, is_claimed=False)
    context = RunContext()
    with ledger.influxops_session(context):
        assert reserve(ledger, context, left)["acme"].claimed_by == context.id


def _await_no_locks(database: TestDatabase) -> None:
    """Wait until the server has noticed that its clients are gone."""
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute("SET statement_timeout = '30s'")
        connection.execute(
            "DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
            " LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
        )


def test_of_ten_runs_that_want_the_same_tenants_exactly_one_gets_each(
    ledger: PostgresLedger, make_ledger: MakeLedger
) -> None:
    tenants = [f"tenant-{number}" for number in range(300)]
    together = threading.Barrier(10)

    def run(number: int) -> tuple[RunContext, dict[str, Record]]:
        own, context = make_ledger(), RunContext(60)
        # Each in another order: what is sent in the order of its list would deadlock.
        mine = tenants[30 * number :] + tenants[: 30 * number]
        with own.influxops_session(context):
            together.wait(30)
            found = reserve(own, context, *(a_place(each, f"eu{number}") for each in mine))
            together.wait(30)
        return context, found

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(run, range(10)))
    won = Counter(
        each.tenant
        for context, found in results
        for each in found.values()
        if each.claimed_by == context.id
    )
    assert won == Counter(tenants)
    records = remembered(ledger).records
    for number, (context, found) in enumerate(results):
        assert len(found) == 300
        for each in found.values():
            assert replace(each, is_claimed=False) == records[each.tenant]
            assert each.is_claimed == (each.claimed_by != context.id)
            assert (each.target == f"eu{number}") == (each.claimed_by == context.id)


def test_of_runs_that_write_the_same_tenants_one_does_and_they_do_not_deadlock(
    ledger: PostgresLedger, make_ledger: MakeLedger, database: TestDatabase
) -> None:
    tenants = [f"tenant-{number}" for number in range(200)]
    together = threading.Barrier(4)

    def run(number: int) -> Counter[str]:
        own, context, won = make_ledger(), RunContext(60), Counter[str]()
        for turn in range(10):
            order = tenants if (number + turn) % 2 else tenants[::-1]
            there = own.influxops_load_records(None, context).records
            wanted = [there.get(each) or a_place(each) for each in order]
            together.wait(60)
            mark = f"{number}-{turn}"
            written = own.influxops_commit(
                LedgerUpdate(tuple(replace(each, error=mark) for each in wanted)), context
            )
            won.update(each.tenant for each in written if each.error == mark)
            together.wait(60)
        return won

    with ThreadPoolExecutor(4) as pool:
        won = sum(pool.map(run, range(4)), Counter[str]())
    # Of those that were based on one version, one was written.
    assert won == dict.fromkeys(tenants, 10)
    assert {each.version for each in remembered(ledger).records.values()} == {10}
    with psycopg.connect(database.conninfo) as connection:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.execute(query).fetchone() == (0,)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE influxops.history SET message = 'x'",
        "DELETE FROM influxops.history",
        "TRUNCATE influxops.history",
    ],
)
def test_nobody_changes_the_history(
    ledger: PostgresLedger, database: TestDatabase, change: str
) -> None:
    record(ledger, RunContext(), LedgerUpdate(entries=(HistoryEntry(Event.CREATED, "acme"),)))
    for conninfo in (database.conninfo, database.superuser_conninfo):
        with (
            psycopg.connect(conninfo) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="never changed"),
        ):
            connection.execute(change.encode())
    assert len(list(ledger.influxops_history(HistoryQuery(), RunContext()))) == 1


def test_all_of_a_writing_is_written_or_nothing(ledger: PostgresLedger) -> None:
    nonsense = replace(a_place("globex"), target=None)
    writing = LedgerUpdate((a_place("acme"), nonsense), (Server("eu1"),), sources=frozenset({"a"}))
    with pytest.raises(LedgerError, match=r"refuses what was to be recorded.*nothing was written"):
        ledger.influxops_commit(writing, RunContext())
    assert replace(remembered(ledger), now=None) == LedgerSnapshot()


def test_a_run_that_is_behind_does_not_undo_that_another_server_was_allowed(
    ledger: PostgresLedger,
) -> None:
    first, other = Server("eu1", "uuid-1", unrecorded=0), Server("eu1", "uuid-2", unrecorded=0)
    seen = Server("eu1", "uuid-1", replaced_by="uuid-2")
    for written, found in (
        (first, ("uuid-1", None)),
        (seen, ("uuid-1", "uuid-2")),
        (other, ("uuid-2", None)),
        (seen, ("uuid-2", None)),
    ):
        record(ledger, RunContext(), LedgerUpdate(servers=(written,)))
        (server,) = remembered(ledger).servers
        assert (server.identity, server.replaced_by, server.unrecorded) == (*found, 0)


def test_a_run_that_read_a_server_before_it_was_replaced_does_not_say_that_it_is_back(
    ledger: PostgresLedger,
) -> None:
    before = Server("eu1", "uuid-1", unrecorded=0)
    another, back = (replace(before, unrecorded=None, replaced_by=by) for by in ("uuid-2", ""))
    versions = []
    for written, found in ((before, None), (another, "uuid-2"), (before, "uuid-2"), (back, None)):
        record(ledger, RunContext(), LedgerUpdate(servers=(written,)))
        memory = remembered(ledger)
        assert memory.servers[0].replaced_by == found
        versions.append(memory.route_version)
    assert [version - versions[0] for version in versions] == [0, 1, 1, 2]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
def test_text_that_postgresql_does_not_store_is_told_or_replaced(
    ledger: PostgresLedger, text: str
) -> None:
    record(ledger, RunContext(), LedgerUpdate((replace(a_place("acme"), error=text),)))
    assert kept(ledger, "acme").error == "a\ufffdb"
    entry = HistoryEntry(Event.CREATED, "acme", message=text)
    record(ledger, RunContext(), LedgerUpdate(entries=(entry,)))
    (read,) = ledger.influxops_history(HistoryQuery(), RunContext())
    assert read.message == "a\ufffdb"
    with pytest.raises(LedgerError, match=r"its .* has a character"):
        ledger.influxops_commit(LedgerUpdate((a_place(text),)), RunContext())
    assert remembered(ledger, [text]).records == {}


def test_what_is_written_takes_the_same_number_of_statements_however_many_tenants(
    ledger: PostgresLedger, server: EmbeddedPostgres, database: TestDatabase
) -> None:
    (log,) = (path for path in server.work_dir.iterdir() if path.name.startswith("log"))

    def statements(number: int) -> int:
        names = [f"{number}-{each}" for each in range(number)]
        context = RunContext()
        start = log.stat().st_size
        with ledger.influxops_session(context):
            taken = reserve(ledger, context, *map(a_place, names))
            again = reserve(ledger, context, *map(a_place, names))  # all refused
            assert again == taken
            entries = tuple(HistoryEntry(Event.CREATED, each) for each in names)
            done = tuple(replace(each, state=State.READY) for each in taken.values())
            servers = tuple(Server(f"{number}-{each}") for each in range(3))
            ledger.influxops_commit(LedgerUpdate(done, servers, entries=entries), context)
        assert set(names) <= set(remembered(ledger).records)
        with log.open("rb") as file:
            file.seek(start)
            return sum(b"|" + database.name.encode() in line for line in file)

    database.execute("ALTER ROLE iot SET log_statement = 'all'", superuser=True)
    database.execute("ALTER SYSTEM SET log_line_prefix = '|%d '", superuser=True)
    database.execute("SELECT pg_reload_conf()", superuser=True)
    try:
        statements(1)  # it has its connections then
        few, many = statements(10), statements(10_000)
    finally:
        database.execute("ALTER ROLE iot RESET ALL", superuser=True)
        database.execute("ALTER SYSTEM RESET log_line_prefix", superuser=True)
        database.execute("SELECT pg_reload_conf()", superuser=True)
    assert 10 < few == many < 60
