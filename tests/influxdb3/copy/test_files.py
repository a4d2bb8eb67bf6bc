"""Copying what a real server has after days: more files than one query may touch."""

from __future__ import annotations

import itertools
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from influxops.plugin import RunContext, Severity
from influxops_devserver.testing import StandInOptions, running_stand_in
from influxops_influxdb3.copy import backfill, job, slices
from influxops_influxdb3.copy.slices import divide, smaller
from influxops_influxdb3.inspect.parquet_files import File
from influxops_influxdb3.queries import ALL, FIRST, LAST, Span
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair, new_database
from tests.integration.proxy import Answer, Proxy, Seen, running_proxy

pytestmark = pytest.mark.stand_in

LIMIT = 432
TEN_MINUTES = 600 * 10**9
START = 1_700_000_000 // 600 * TEN_MINUTES
OPTIONS: StandInOptions = {
    "max_databases": None,
    "max_tables": None,
    "wal_flush_interval": "10ms",
    "wal_snapshot_size": 1,
}


@dataclass
class Wire:
    """Two servers, each behind a proxy that keeps what it was asked."""

    servers: tuple[Api, Api]
    proxies: tuple[Proxy, Proxy]
    pair: Pair = field(init=False)

    def __post_init__(self) -> None:
        for proxy in self.proxies:
            proxy.seen.clear()
            proxy.before = lambda seen: None
        source, into = (Api(proxy.url) for proxy in self.proxies)
        self.pair = Pair(source, into, database=new_database())

    def statements(self) -> list[str]:
        """Return all that was asked in SQL."""
        seen = [each for proxy in self.proxies for each in proxy.seen]
        return [json.loads(each.body)["q"] for each in seen if each.path.endswith("/query_sql")]

    def touching(self, *tables: str) -> list[str]:
        """Return the statements that touch files of a tenant's table."""
        return [q for q in self.statements() for name in tables if f'FROM "{name}"' in q]

    def write(self, *lines: str) -> None:
        """Write to the source, so that all of it is in files."""
        direct = Pair(*self.servers, database=self.pair.database)
        if self.pair.database not in self.servers[0].names():
            direct.make()
        direct.write(*lines)
        # What is newest stays in the log for a while.
        for number in range(3):
            self.servers[0].write("ticks", f"tick f={number} {START + number}")

    def files(self, table: str = "telemetry") -> int:
        sql = f"SELECT COUNT(*) AS n FROM system.parquet_files WHERE table_name = '{table}'"
        return int(self.servers[0].sql(self.pair.database, sql)[0]["n"])

    def assert_equal(self, blocks: int, *tables: str) -> int:
        """Compare both sides in more slices than a copy would; return the number of rows."""
        total = 0
        for name in tables:
            cuts = [FIRST, *(START + n * TEN_MINUTES for n in range(0, blocks, 100)), LAST + 1]
            for span in itertools.starmap(Span, itertools.pairwise(cuts)):
                sql = f'SELECT * FROM "{name}" WHERE {span.condition} ORDER BY time, device'
                ours, theirs = (api.sql(self.pair.database, sql) for api in self.servers)
                assert ours == theirs
                total += len(ours)
        return total


@pytest.fixture(scope="session")
def behind_proxies() -> Iterator[tuple[tuple[Api, Api], tuple[Proxy, Proxy]]]:
    with (
        running_stand_in(**OPTIONS) as a,
        running_stand_in(**OPTIONS) as b,
        running_proxy(a.url) as to_a,
        running_proxy(b.url) as to_b,
    ):
        yield (Api(a.url), Api(b.url)), (to_a, to_b)


@pytest.fixture
def wire(behind_proxies: tuple[tuple[Api, Api], tuple[Proxy, Proxy]]) -> Wire:
    return Wire(*behind_proxies)


def rows(blocks: int, each: int = 2, table: str = "telemetry", what: str = "v") -> Iterator[str]:
    for block in range(blocks):
        for n in range(each):
            yield f"{table},device=d{n} {what}={block}i {START + block * TEN_MINUTES + n}"


def whole_move(pair: Pair, *, paused: bool = False) -> None:
    """Copy as a move does that nobody writes to: see, copy, compare, cut over, and the rest."""
    pair.all(dry_run=True)
    run = RunContext()
    told = pair.all(run, paused=paused)
    if paused:
        assert pair.all(run, only_missing=True, paused=True, progress=told.progress).rows == 0
        return
    pair.all(only_missing=True, recent=True, progress=told.progress)
    assert pair.all(only_missing=True).rows == 0


# How many queries it takes -----------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [630, 1700])
@pytest.mark.parametrize("paused", [False, True])
def test_a_whole_move_takes_few_queries(wire: Wire, blocks: int, paused: bool) -> None:
    """At most five for each 400 files, and a number that does not grow with the files."""
    wire.write(*rows(blocks))
    # Fields of rows that are in files already: these rows are in two of them.
    wire.write(*itertools.islice(rows(blocks, what="w"), 58))
    files = wire.files()
    assert files == blocks + 29
    whole_move(wire.pair, paused=paused)
    reading, all_of_them = len(wire.touching("telemetry")), len(wire.statements())
    logging.getLogger(__name__).info(
        "%d files: %d queries that read rows, %d in all", files, reading, all_of_them
    )
    print(f"{files} files: {reading} queries that read rows, {all_of_them} in all")  # noqa: T201
    assert wire.assert_equal(blocks, "telemetry") == 2 * blocks
    most = 5 * -(-files // 400)
    beside = reading - most
    assert beside <= 11  # three of them for the estimate, which reads four slices at most
    assert all_of_them - reading <= 50


def test_tables_of_other_databases_add_nothing_to_the_files_of_a_tenant(wire: Wire) -> None:
    """A server that is asked for the files of no table names each for all databases."""
    wire.write(*rows(500), *rows(3, table="small"))
    for number in range(4):
        # The number of each table there is that of another one of the tenant.
        for table in ("_init", "small", "telemetry"):
            wire.servers[0].write(f"other_{number}", f"{table} v=1i {START}")
    plan = wire.pair.all(dry_run=True)
    assert (plan.total, plan.at_most) == (2 * 500 + 2 * 3, True)
    wire.proxies[0].seen.clear()
    assert wire.pair.all(paused=True).rows == 2 * 503
    assert wire.assert_equal(500, "telemetry", "small") == 2 * 503
    assert len([q for q in asked(wire.proxies[0]) if q.startswith('SELECT "device"')]) == 3


def test_every_statement_about_a_table_has_a_bound_where_it_has_many_files(wire: Wire) -> None:
    wire.write(*rows(LIMIT + 1, 1))
    whole_move(wire.pair)
    assert wire.touching("telemetry")
    assert all("WHERE time" in statement for statement in wire.touching("telemetry"))


# Overlaps, late rows, rows that are in no file ---------------------------------------------------


def test_files_that_overlap_are_divided_and_merged_field_by_field(wire: Wire) -> None:
    for what in ("a", "b", "c"):
        wire.write(*rows(300, what=what))
    assert wire.files() == 900
    plan = wire.pair.all(dry_run=True)
    assert (plan.total, plan.at_most) == (1_800, True)
    told = wire.pair.all()
    assert (told.total, told.at_most) == (600, False)
    assert wire.assert_equal(300, "telemetry") == 600


def test_rows_that_are_in_no_file_are_found_whatever_their_time(wire: Wire) -> None:
    wire.write(*rows(500, 1))
    direct = Pair(*wire.servers, database=wire.pair.database)
    middle = START + 250 * TEN_MINUTES + 7
    direct.write(f"telemetry,device=past v=1i {FIRST}", f"telemetry,device=late v=1i {middle}")
    direct.write(f"telemetry,device=next v=1i {LAST}")
    told = wire.pair.all()
    assert told.total == 503
    direct.write(f"telemetry,device=later v=2i {middle}", f"telemetry,device=past v=2i {FIRST}")
    missing = wire.pair.all(only_missing=True)
    assert (missing.rows, missing.conflicts) == (1, 1)


def test_a_row_with_an_old_time_that_comes_while_it_is_copied_is_found(wire: Wire) -> None:
    wire.write(*rows(500, 1))
    direct = Pair(*wire.servers, database=wire.pair.database)
    stages = list[str]()
    for told in wire.pair.run():
        if told.stage == "comparing" and "comparing" not in stages:
            direct.write(f"telemetry,device=late v=1i {START + 3 * TEN_MINUTES + 5}")
        stages.append(told.stage)
    assert stages[-1] == "catching up"
    assert wire.assert_equal(500, "telemetry") == 501


# What the server does not tell, or tells otherwise -----------------------------------------------


def drop(seen: Seen) -> Answer:
    """End a connection that asks for the files without an answer."""
    if b"system.parquet_files" in seen.body:
        raise ConnectionAbortedError
    return None


def test_where_the_files_are_not_known_slices_are_found_by_probing(wire: Wire) -> None:
    wire.write(*rows(700, 1))
    for proxy in wire.proxies:
        proxy.before = drop
    plan = wire.pair.all(dry_run=True)
    assert (plan.total, plan.at_most) == (700, False)
    assert plan.bytes
    whole_move(wire.pair)
    assert wire.assert_equal(700, "telemetry") == 700
    # What is refused is asked for less, at once: waiting does not mend it.
    asked_for_all = [q for q in asked(wire.proxies[0]) if "WHERE true" in q]
    assert 0 < len(asked_for_all) <= 10


def test_a_limit_that_is_lower_than_thought_is_learned() -> None:
    options: StandInOptions = {**OPTIONS, "query_file_limit": 50}
    with (
        running_stand_in(**options) as a,
        running_stand_in(**options) as b,
        running_proxy(a.url) as to_a,
        running_proxy(b.url) as to_b,
    ):
        wire = Wire((Api(a.url), Api(b.url)), (to_a, to_b))
        wire.write(*rows(400, 1))
        told = wire.pair.all()
        assert told.total == 400
        # Each side refuses a few, and then it is known: nine slices, read three times.
        assert len(wire.touching("telemetry")) <= 40
        theirs = [
            row
            for n in range(0, 400, 40)
            for row in wire.servers[1].sql(
                wire.pair.database,
                "SELECT v FROM telemetry WHERE "
                + Span(START + n * TEN_MINUTES, START + (n + 40) * TEN_MINUTES).condition,
            )
        ]
        assert sorted(row["v"] for row in theirs) == list(range(400))


# Ended and taken up again ------------------------------------------------------------------------


CHILD = """
import sys
from influxops.plugin import RunContext, CopyRequest
from influxops_influxdb3.copy import job
from influxops_influxdb3.copy import slices
from tests.influxdb3.copies import target
job._STEP, slices.MAX_ROWS = 0.0, 100
database, source, into, paused, progress = sys.argv[1:]
ours, theirs = target("eu1", source), target("eu2", into)
order = CopyRequest(database, theirs, progress=progress, paused=bool(paused))
for told in ours.influxops_copy(order, RunContext()):
    print(told.progress, flush=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("paused", ["", "yes"])
def test_a_process_that_is_killed_among_many_files_goes_on(wire: Wire, paused: str) -> None:
    wire.write(*rows(600))
    progress = ""
    for _ in range(3):
        pair = wire.pair
        command = [sys.executable, "-c", CHILD, pair.database, pair.source.url, pair.copy.url]
        command += [paused, progress]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            words = [child.stdout.readline().strip() for _ in range(4)]
            child.kill()
        progress = words[-1]
        assert json.loads(progress)
    assert wire.pair.all(progress=progress, paused=bool(paused)).done
    assert wire.assert_equal(600, "telemetry") == 1_200


@pytest.mark.parametrize("restarted", ["source", "copy"])
def test_a_server_that_is_killed_among_many_files_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarted: str
) -> None:
    monkeypatch.setattr(job, "_STEP", 0.0)
    monkeypatch.setattr(slices, "MAX_ROWS", 200)
    options: StandInOptions = {**OPTIONS, "data_dir": tmp_path}
    with running_stand_in(**OPTIONS) as one, running_stand_in(**options) as other:
        pair = Pair(Api(one.url), Api(other.url), {"retries": 12})
        if restarted == "source":
            pair.source, pair.copy = pair.copy, pair.source
        wire = Wire((pair.source, pair.copy), (Proxy(pair.source.url), Proxy(pair.copy.url)))
        wire.pair = pair
        wire.write(*rows(500))
        running = pair.run()
        for _ in range(5):
            next(running)
        options["port"] = other.port
        other.kill()
        with running_stand_in(**options):
            *_, last = running
            assert last.done
            assert wire.assert_equal(500, "telemetry") == 1_000


def test_a_source_whose_writers_are_paused_is_read_once(wire: Wire) -> None:
    wire.write(*rows(300))
    run = RunContext()
    told = wire.pair.all(run, paused=True)
    (read,) = [q for q in asked(wire.proxies[0]) if q.startswith("SELECT") and '"v"' in q]
    assert "COUNT" not in read
    # The copy is always read back.
    assert [q for q in asked(wire.proxies[1]) if '"v"' in q]
    # Whether nobody writes is tested by the files, and by what is young.
    wire.proxies[0].seen.clear()
    quiet = wire.pair.all(run, paused=True, progress=told.progress)
    assert (quiet.rows, quiet.total) == (0, 600)
    # A file more says that somebody does: then all is compared.
    wire.write(*(f"telemetry,device=x v=1i {START + n * TEN_MINUTES}" for n in range(3)))
    again = wire.pair.all(run, paused=True, progress=quiet.progress)
    assert (again.rows > 0, again.total) == (True, 603)
    assert wire.assert_equal(300, "telemetry") == 603


def test_a_file_that_comes_while_a_paused_source_is_read_has_it_compared(wire: Wire) -> None:
    wire.write(*rows(300))
    came = list[Seen]()

    def late(seen: Seen) -> Answer:
        if b'\\"v\\"' in seen.body and not came:
            came.append(seen)
            wire.write(*(f"telemetry,device=x v=1i {START + n * TEN_MINUTES}" for n in range(3)))
        return None

    wire.proxies[1].before = late
    stages = {told.stage for told in wire.pair.run(paused=True)}
    assert came
    assert "comparing" in stages
    assert wire.assert_equal(300, "telemetry") == 603


def asked(proxy: Proxy) -> list[str]:
    seen = (each for each in proxy.seen if each.path.endswith("/query_sql"))
    return [json.loads(each.body)["q"] for each in seen]


# Rows that read as old ones now and then ---------------------------------------------------------


def test_rows_that_read_as_old_ones_now_and_then_are_read_again(wire: Wire) -> None:
    """The server answers with what was overwritten, once; the next time it is right."""
    wire.write(*rows(2))
    told = wire.pair.all(paused=True)
    stale, pool = list[bytes](), Api(wire.servers[1].url)

    def old(seen: Seen) -> Answer:
        if b'\\"v\\"' not in seen.body or stale:
            return None
        stale.append(seen.body)
        right = pool.send("POST", seen.path, body=seen.body, headers={"Content-Type": JSON}).data
        return 200, "application/jsonl", right.replace(b'"v":1', b'"v":7')

    # When what was copied is read back.
    wire.pair.write(f"telemetry,device=d9 v=1i {START + 5}")
    wire.proxies[1].before = old
    assert wire.pair.all(progress=told.progress).done
    assert stale
    # And when only what is missing is copied.
    stale.clear()
    missing = wire.pair.all(only_missing=True)
    assert stale
    assert (missing.conflicts, missing.rows) == (0, 0)


JSON = "application/json"


# Tables that cannot be read ----------------------------------------------------------------------


def unreadable(table: str) -> Callable[[Seen], Answer]:
    """Return what a server says that cannot read one table, for good."""

    def answer(seen: Seen) -> Answer:
        if f'FROM \\"{table}\\"'.encode() in seen.body:
            return 500, "text/plain", b"External error: cannot make a record batch of it"
        return None

    return answer


def test_a_table_that_cannot_be_read_is_named_and_all_others_are_copied(wire: Wire) -> None:
    wire.write(*rows(3, table="bad"), *rows(3), *rows(3, table="zz"))
    wire.proxies[0].before = unreadable("bad")
    plan = wire.pair.all(dry_run=True)
    assert list(plan.unread) == ["bad"]
    assert plan.total == 12
    assert all(finding.severity is not Severity.ERROR for finding in plan.findings)
    *_, told = wire.pair.run()
    assert not told.done
    assert list(told.unread) == ["bad"]
    assert "record batch" in told.unread["bad"]
    assert wire.assert_equal(3, "telemetry", "zz") == 12
    # Each statement about it was sent once: it does not mend by asking again.
    statements = wire.touching("bad")
    assert len(statements) <= 2 + 5
    # It goes on from there, with all of it looked at again.
    assert not list(wire.pair.run(progress=told.progress))[-1].done
    left = wire.pair.all(progress=told.progress, without_tables=("bad",))
    (finding,) = left.findings
    assert "the table bad cannot be copied" in finding.message
    assert "it is left out" in finding.message
    planned = wire.pair.all(dry_run=True, without_tables=("bad",))
    assert [finding.message for finding in planned.findings] == [finding.message]
    assert wire.pair.all(only_missing=True, without_tables=("bad",)).done
    # What was left out on purpose is known to the one who only has the progress.
    assert wire.pair.all(only_missing=True, progress=left.progress).done
    # Once it can be read it is copied all the same.
    wire.proxies[0].before = lambda seen: None
    last = wire.pair.all(only_missing=True, progress=left.progress)
    assert (last.rows, dict(last.unread)) == (6, {})
    assert wire.assert_equal(3, "bad") == 6


@pytest.mark.parametrize("paused", [False, True])
def test_a_table_that_can_be_read_later_is_copied_from_its_beginning(
    wire: Wire, paused: bool
) -> None:
    wire.write(*rows(3, table="bad"), *rows(3))
    wire.proxies[0].before = unreadable("bad")
    *_, told = wire.pair.run(paused=paused)
    assert not told.done
    wire.proxies[0].before = lambda seen: None
    assert not wire.pair.all(progress=told.progress, paused=paused).unread
    assert wire.assert_equal(3, "bad", "telemetry") == 12


def test_a_copy_whose_table_cannot_be_read_back_is_not_done(wire: Wire) -> None:
    wire.write(*rows(3, table="bad"), *rows(3))
    wire.proxies[1].before = unreadable("bad")
    *_, told = wire.pair.run()
    assert not told.done
    assert list(told.unread) == ["bad"]


def test_an_unreadable_table_is_remembered_when_it_goes_on_after_it(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_STEP", 0.0)
    for module in (slices, backfill):
        monkeypatch.setattr(module, "MAX_ROWS", 5)
    wire.write(*rows(3, table="bad"), *rows(20))
    wire.proxies[0].before = unreadable("bad")
    # Ended while the table after it is compared: the pass goes on there.
    running = wire.pair.run()
    told = next(t for t in running if t.stage == "comparing" and '"table":"t' in t.progress)
    running.close()
    *_, last = wire.pair.run(progress=told.progress)
    assert not last.done
    assert list(last.unread) == ["bad"]


def test_a_table_without_a_time_column_holds_no_rows_and_stops_nothing(wire: Wire) -> None:
    wire.write(*rows(3))
    database = wire.pair.database
    for line in ("hollow,d=1 v=1,v=2 1", "empty v=1,v=2 1"):
        assert wire.servers[0].write(database, line).status == 400
    assert wire.servers[0].query(database, "SELECT MAX(time) FROM hollow").status == 500
    plan = wire.pair.all(dry_run=True)
    assert (plan.total, dict(plan.unread)) == (6, {})
    told = wire.pair.all()
    assert (told.done, dict(told.unread)) == (True, {})
    (finding,) = told.findings
    assert finding.severity is Severity.INFO
    assert "2 tables without a time column, left by a refused write: empty and hollow" in (
        finding.message
    )
    assert "hollow" not in tables(wire.servers[1], database)
    assert wire.pair.all(only_missing=True).done
    # No statement about its rows was sent: it would be refused.
    assert not wire.touching("hollow", "empty")
    # A good line makes it whole; from then on it is a table as any other.
    wire.write("hollow,d=1 v=1 1")
    assert wire.pair.all(only_missing=True).rows == 1
    assert "hollow" in tables(wire.servers[1], database)


def test_a_copy_whose_own_table_has_no_time_column_gets_its_rows(wire: Wire) -> None:
    wire.write(*rows(3))
    assert wire.servers[1].write(wire.pair.database, "telemetry,device=1 v=1i,v=2i 1").status == 400
    assert wire.pair.all().done
    assert wire.assert_equal(3, "telemetry") == 6


def tables(api: Api, database: str) -> set[str]:
    sql = f"SELECT table_name FROM system.tables WHERE database_name = '{database}'"
    return {row["table_name"] for row in api.sql("_internal", sql)}


# Slices ------------------------------------------------------------------------------------------


def test_slices_cover_all_of_time_and_have_as_many_files_as_may_be() -> None:
    files = [File(n * 10, n * 10 + 9, 100) for n in range(1_000)]
    found = divide([(files, 432)])
    assert found[0].start == FIRST
    assert found[-1].end == LAST + 1
    assert all(one.end == other.start for one, other in itertools.pairwise(found))
    assert len(found) == 3
    assert touched(files, found) == [405, 405, 190]
    assert divide([]) == [ALL]
    assert divide([([], 432)], Span(3, 9)) == [Span(3, 9)]


def test_slices_of_two_servers_fit_both() -> None:
    ours = [File(n * 10, n * 10 + 9, 1) for n in range(100)]
    theirs = [File(n * 5, n * 5 + 4, 1) for n in range(200)]
    found = divide([(ours, 30), (theirs, 16)])
    assert max(touched(ours, found)) <= 29
    assert max(touched(theirs, found)) <= 15


def test_slices_have_about_as_many_rows_as_may_be() -> None:
    files = [File(n * 10, n * 10 + 9, 1_000) for n in range(100)]
    assert touched(files, divide([(files, 432)], most_rows=10_000)) == [10] * 10
    # One that has more of them is a slice of its own.
    assert touched(files, divide([(files, 432)], most_rows=500)) == [1] * 100


def test_long_files_are_counted_in_each_slice_that_they_reach_into() -> None:
    files = [File(0, 1_000, 1), *(File(n * 10, n * 10 + 9, 1) for n in range(100))]
    found = divide([(files, 10)])
    assert max(touched(files, found)) <= 10


def test_a_slice_that_is_refused_is_divided_where_its_files_are() -> None:
    files = [File(5_000, 5_500 + n, 1) for n in range(500)]
    one, other = smaller(files, 432, Span(5_000, LAST + 1))
    assert 5_000 < one.end == other.start < 6_000
    assert smaller([], 432, Span(0, 4)) == [Span(0, 2), Span(2, 4)]
    assert smaller(None, 432, Span(0, 4)) == [Span(0, 2), Span(2, 4)]


def test_a_moment_that_is_in_too_many_files_keeps_its_table_and_no_other(wire: Wire) -> None:
    for proxy in wire.proxies:
        proxy.before = drop
    wire.write(*rows(3), *rows(3, table="zz"))

    def refuse(seen: Seen) -> Answer:
        if b'FROM \\"zz\\"' in seen.body:
            return (
                500,
                "text/plain",
                b"Query would scan 432 Parquet files, exceeding the file limit.",
            )
        return drop(seen)

    wire.proxies[0].before = refuse
    *_, told = wire.pair.run()
    assert not told.done
    assert list(told.unread) == ["zz"]
    assert wire.assert_equal(3, "telemetry") == 6


def touched(files: list[File], slices: list[Span]) -> list[int]:
    return [sum(f.first < s.end and f.last >= s.start for f in files) for s in slices]
