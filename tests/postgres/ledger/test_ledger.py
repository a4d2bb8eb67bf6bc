"""What the ledger in PostgreSQL remembers, and who may change it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
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
from influxops_demo.postgres import EmbeddedPostgres
from influxops_postgres import PostgresLedger
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeLedger

ROOT = Path(__file__).parents[3]
SOME_TIME = datetime(2020, 1, 1, tzinfo=UTC)


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


def test_a_ledger_remembers_every_field_of_a_record(ledger: PostgresLedger) -> None:
    context = RunContext()
    due = datetime.now(UTC) + timedelta(days=7)
    given = Record(
        "tenänt/'1\"\\",
        State.MOVING,
        "telemetry_x",
        "eu1",
        identity="uuid-1",
        secondary_target="eu2",
        secondary_identity="uuid-2",
        drop_after=due,
        progress='{"slice": 3}',
        created_at=SOME_TIME,
        created_by="run-1",
        last_seen_at=SOME_TIME,
        error="no answer: 100% \x1b[0m ünlikely",
        attempts=3,
    )
    returned = record(ledger, context, LedgerUpdate((given,)))[given.tenant]
    now = datetime.now(UTC)
    assert kept(ledger, given.tenant) == returned
    since = returned.state_since
    assert returned == replace(given, version=1, state_since=since)
    assert since is not None and abs(since - now) < timedelta(minutes=1)
    assert since.utcoffset() == timedelta(0)


def test_since_is_the_ledger_s_time_of_the_last_change_of_state(ledger: PostgresLedger) -> None:
    context = RunContext()

    def write(new: Record) -> Record:
        return record(ledger, context, LedgerUpdate((new,)))[new.tenant]

    first = write(replace(a_place("acme"), state=State.READY, state_since=SOME_TIME))
    assert first.state_since is not None and first.state_since > SOME_TIME
    same = write(replace(first, state_since=None, error="away", attempts=1))
    assert same.state_since == first.state_since
    lost = write(replace(same, state=State.LOST))
    assert lost.state_since is not None and lost.state_since > first.state_since
    assert kept(ledger, "acme") == lost


def test_a_reservation_is_this_run_s_until_it_is_recorded(ledger: PostgresLedger) -> None:
    context = RunContext()
    with ledger.influxops_session(context):
        taken = reserve(ledger, context, a_place("acme"))["acme"]
        assert (taken.claimed_by, taken.version, taken.is_claimed) == (context.id, 1, False)
        assert ledger.influxops_load_records(None, context).records["acme"] == taken
        assert kept(ledger, "acme") == replace(taken, is_claimed=True)  # for any other run
        done = record(ledger, context, LedgerUpdate((replace(taken, state=State.READY),)))["acme"]
    assert (done.claimed_by, done.version, done.state) == ("", 2, State.READY)
    assert kept(ledger, "acme") == done


def test_a_change_that_is_based_on_another_version_is_refused(ledger: PostgresLedger) -> None:
    context = RunContext()
    with ledger.influxops_session(context):
        first = reserve(ledger, context, a_place("acme"))["acme"]
        for version in (0, 2, 7):
            told = reserve(ledger, context, a_place("acme", "eu2", version))["acme"]
            assert told == first
            done = record(ledger, context, LedgerUpdate((a_place("acme", "eu2", version),)))["acme"]
            assert done == first
        # A record that is gone is not recreated by a run that has read it before.
        assert reserve(ledger, context, a_place("globex", version=3)) == {}
    assert list(remembered(ledger).records) == ["acme"]


def test_a_record_that_has_changed_meanwhile_is_not_forgotten(ledger: PostgresLedger) -> None:
    context = RunContext()
    with ledger.influxops_session(context):
        first = reserve(ledger, context, a_place("acme"))["acme"]
        record(ledger, context, LedgerUpdate((first,)))
        with pytest.raises(LedgerError, match="another run changed"):
            record(ledger, context, LedgerUpdate(forgotten=(first,)))
    assert list(remembered(ledger).records) == ["acme"]


def test_what_a_living_run_holds_is_nobody_else_s_even_with_the_right_version(
    ledger: PostgresLedger, make_ledger: MakeLedger
) -> None:
    first, second = RunContext(), RunContext()
    other = make_ledger()
    with other.influxops_session(second):
        with ledger.influxops_session(first):
            taken = reserve(ledger, first, a_place("acme"))["acme"]
            wish = replace(taken, target="eu2")
            assert reserve(other, second, wish)["acme"] == replace(taken, is_claimed=True)
            assert record(other, second, LedgerUpdate((wish,)))["acme"] == replace(
                taken, is_claimed=True
            )
        # It lives no more.
        assert kept(other, "acme") == taken
        stolen = reserve(other, second, wish)["acme"]
        assert (stolen.claimed_by, stolen.target, stolen.version) == (second.id, "eu2", 2)


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


def test_namespaces_know_nothing_of_each_other(
    ledger: PostgresLedger, make_ledger: MakeLedger
) -> None:
    context = RunContext()
    other = make_ledger(namespace="plant-2 'ü% ")
    entry = HistoryEntry(Event.CREATED, "acme")
    record(ledger, context, LedgerUpdate((a_place("acme"),), sources=frozenset({"a"})))
    record(
        other,
        context,
        LedgerUpdate((a_place("acme", "eu9"),), (Server("eu9"),), entries=(entry,)),
    )
    assert kept(ledger, "acme").target == "eu1"
    assert kept(other, "acme").target == "eu9"
    assert remembered(ledger).servers == ()
    assert remembered(other).sources == frozenset()
    assert ledger.influxops_history(HistoryQuery(), context) == []
    assert len(list(other.influxops_history(HistoryQuery(), context))) == 1


def test_only_the_records_of_the_tenants_asked_for_are_read(ledger: PostgresLedger) -> None:
    record(
        ledger, RunContext(), LedgerUpdate(tuple(map(a_place, ("a", "b", "c"))), (Server("eu1"),))
    )
    some = remembered(ledger, ["a", "c", "nobody"])
    assert set(some.records) == {"a", "c"}
    assert [server.target for server in some.servers] == ["eu1"]
    assert remembered(ledger, []).records == {}


def test_a_server_keeps_its_time_until_it_is_another_one(ledger: PostgresLedger) -> None:
    def write(*servers: Server) -> dict[str, Server]:
        record(ledger, RunContext(), LedgerUpdate(servers=servers))
        return {each.target: each for each in remembered(ledger).servers}

    later = SOME_TIME + timedelta(days=1)
    first = write(Server("eu1", "uuid-1", read=SOME_TIME), Server("eu2"))
    assert first["eu1"].since is not None and first["eu1"].since > SOME_TIME
    assert (first["eu1"].read, first["eu2"].read) == (SOME_TIME, None)
    assert write(Server("eu1", "uuid-1")) == first
    again = write(Server("eu1", "uuid-1", read=later))
    assert again["eu1"] == replace(first["eu1"], read=later)
    other = write(Server("eu1", "uuid-2"))
    assert (other["eu1"].identity, other["eu1"].read) == ("uuid-2", None)
    assert other["eu1"].since is not None and other["eu1"].since > first["eu1"].since
    assert other["eu2"] == first["eu2"]


def test_what_is_known_of_a_server_is_kept_until_it_is_read_in_full(
    ledger: PostgresLedger,
) -> None:
    def write(server: Server) -> Server:
        record(ledger, RunContext(), LedgerUpdate(servers=(server,)))
        return remembered(ledger).servers[0]

    known = Server("eu1", "uuid-1", edition="Core", capacity=5, unrecorded=2)
    first = write(known)
    assert first == replace(known, since=first.since)
    full = write(Server("eu1", "uuid-1", full="no more fits", full_at=SOME_TIME))
    assert full == replace(first, full="no more fits", full_at=SOME_TIME)
    assert write(Server("eu1", "uuid-1")) == full
    assert write(replace(known, unrecorded=0)) == replace(first, unrecorded=0)
    other = write(Server("eu1", "uuid-2"))
    assert other == Server("eu1", "uuid-2", since=other.since)


def test_targets_get_new_names_even_each_other_s(ledger: PostgresLedger) -> None:
    context = RunContext()
    moving = replace(a_place("m", "a"), state=State.MOVING, secondary_target="b")
    servers = (Server("a", "uuid-a"), Server("b", "uuid-b"), Server("c", "uuid-c"))
    record(
        ledger,
        context,
        LedgerUpdate((a_place("x", "a"), a_place("y", "b"), moving, a_place("z", "c"))),
    )
    record(ledger, context, LedgerUpdate(servers=servers))
    before = remembered(ledger)
    # The record is of after the renaming, and of a version from before it.
    written = replace(before.records["z"], target="d", attempts=1)
    renamed = {"a": "b", "b": "a", "c": "d"}
    record(ledger, context, LedgerUpdate((written,), renamed=renamed))
    after = remembered(ledger)
    assert {
        each.tenant: (each.target, each.secondary_target) for each in after.records.values()
    } == {
        "x": ("b", None),
        "y": ("a", None),
        "m": ("b", "a"),
        "z": ("d", None),
    }
    assert after.records["x"] == replace(before.records["x"], target="b")
    assert {each.target: each.identity for each in after.servers} == {
        "a": "uuid-b",
        "b": "uuid-a",
        "d": "uuid-c",
    }
    assert {each.since for each in after.servers} == {each.since for each in before.servers}


def test_who_was_recorded_after_a_name_changed_keeps_that_name(ledger: PostgresLedger) -> None:
    old = replace(a_place("old", "a"), identity="uuid-a")
    new = replace(
        a_place("new", "a"), identity="uuid-b", secondary_target="a", secondary_identity="uuid-a"
    )
    record(ledger, RunContext(), LedgerUpdate((old, new), (Server("a", "uuid-a"),)))
    now = (Server("a", "uuid-b"), Server("c", "uuid-a"))
    for _ in range(2):  # as two runs at once do
        record(ledger, RunContext(), LedgerUpdate(servers=now, renamed={"a": "c"}))
    after = remembered(ledger)
    assert {
        each.tenant: (each.target, each.secondary_target) for each in after.records.values()
    } == {
        "old": ("c", None),
        "new": ("a", "c"),
    }
    assert {each.target: each.identity for each in after.servers} == {"a": "uuid-b", "c": "uuid-a"}


def test_sources_are_seen_once_and_stay_seen(ledger: PostgresLedger) -> None:
    record(ledger, RunContext(), LedgerUpdate(sources=frozenset({"a", "b"})))
    record(ledger, RunContext(), LedgerUpdate(sources=frozenset({"b", "c"})))
    assert remembered(ledger).sources == {"a", "b", "c"}


def test_the_history_says_who_did_what_when_the_oldest_first(ledger: PostgresLedger) -> None:
    first, second = RunContext(), RunContext()
    full = HistoryEntry(
        Event.RETENTION,
        "acme",
        "eu1",
        "telemetry_acme",
        "30d",
        "7d",
        "failed",
        "it says: no 'ü\\\"%s'",
        who="ann@host",
    )
    record(ledger, first, LedgerUpdate(entries=(HistoryEntry(Event.CREATED, "acme"), full)))
    middle = datetime.now(UTC)
    record(
        ledger,
        second,
        LedgerUpdate(entries=(HistoryEntry(Event.DROPPED, "globex"), HistoryEntry(Event.LOST))),
    )

    def read(wanted: HistoryQuery) -> list[HistoryEntry]:
        return list(ledger.influxops_history(wanted, RunContext()))

    entries = read(HistoryQuery())
    assert [each.event for each in entries] == ["created", "retention", "dropped", "lost"]
    assert [each.run for each in entries] == [first.id] * 2 + [second.id] * 2
    at = entries[1].at
    assert at is not None and abs(at - middle) < timedelta(minutes=1)
    assert entries[1] == replace(full, at=at, run=first.id)
    assert read(HistoryQuery(tenants=["globex", "acme"])) == entries[:3]
    assert read(HistoryQuery(tenants=[])) == []
    assert read(HistoryQuery(run=second.id)) == entries[2:]
    assert read(HistoryQuery(most=3)) == entries[1:]
    assert read(HistoryQuery(tenants={"acme"}, run=first.id, most=1)) == [entries[1]]
    assert read(HistoryQuery(since=entries[2].at)) == entries[2:]
    assert read(HistoryQuery(since=datetime.now(UTC) + timedelta(hours=1))) == []


def test_an_entry_is_kept_though_its_record_was_refused(ledger: PostgresLedger) -> None:
    entry = HistoryEntry(Event.CREATED, "acme")
    record(ledger, RunContext(), LedgerUpdate((a_place("acme", version=5),), entries=(entry,)))
    assert remembered(ledger).records == {}
    assert len(list(ledger.influxops_history(HistoryQuery(), RunContext()))) == 1


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
