"""What a whole move with writers paused asks and waits for: no clock decides."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from influxops.config.load import parse_config
from influxops.domain.record import Record
from influxops.engine.engine import Engine
from influxops.engine.operations import Drain, Ensure, Move, Operation
from influxops.plugin import ExitCode, Report
from influxops.plugin_host.discovery import installed
from influxops.reconcile.move import backfill
from influxops.runtime.context import RunContext
from influxops_devserver.testing import running_stand_in
from tests.bench import Bench
from tests.devserver.api import Api
from tests.fakes import KINDS
from tests.influxdb3.copies import Pair, contents, write
from tests.influxdb3.counts import Counts, reads_rows
from tests.integration.proxy import Answer, Seen, running_proxy

pytestmark = pytest.mark.stand_in

_numbers = itertools.count(1)
#: Rows of an hour ago: by their times nothing was written since.
HOUR_AGO = time.time_ns() - 3600 * 10**9


class Waiting(RunContext):
    """A run that keeps which waits it was asked for."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.waits = list[float]()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.waits.append(seconds)
        super().sleep(seconds)


@dataclass
class Fleet:
    """Tenants on one real server of two, with a registry and a ledger in memory."""

    bench: Bench
    servers: tuple[Api, Api]
    counts: Counts
    cache_ttl: str = "0s"
    last_pass: str = "10s"
    ids: tuple[str, ...] = ()
    waits: list[float] = field(default_factory=list)

    def made(self, number: int = 1) -> None:
        """Make tenants, with their databases on the first server."""
        self.ids = tuple(f"{os.getpid()}x{next(_numbers)}" for _ in range(number))
        self.bench.tenants(*self.ids)
        assert self.run(Ensure(), "eu1").exit_code is ExitCode.OK

    def run(self, operation: Operation, *names: str, scope: tuple[str, ...] = ()) -> Report:
        """Run with the targets of these names; keep its waits, and count from now on."""
        urls = {"eu1": self.counts.source.url, "eu2": self.counts.copy.url}
        data = self.bench.configuration() | {
            "targets": {name: {"kind": "influxdb3", "url": urls[name]} for name in names},
            "ledger": {
                "kind": "books",
                "world": self.bench.name,
                "cache_ttl": self.cache_ttl,
                "last_pass": self.last_pass,
            },
        }
        targets = frozenset(names[:1]) if isinstance(operation, Drain) else None
        context = Waiting(tenants=frozenset(scope) or None, targets=targets)
        for proxy in (self.counts.source, self.counts.copy):
            proxy.seen.clear()
            proxy.answers.clear()
        with Engine(parse_config(data), kinds={**installed(), **KINDS}) as engine:
            report = engine.run(operation, context)
        self.waits = context.waits
        return report

    def move(self, *, back: bool = False) -> Report:
        operation = Move(None if back else "eu2", back=back, writers_paused=True)
        report = self.run(operation, "eu1", "eu2", scope=self.ids)
        assert report.exit_code is ExitCode.OK
        return report

    def record(self, tenant: str = "") -> Record:
        return self.bench.world.books.records[tenant or self.ids[0]]

    def database(self, tenant: str = "") -> str:
        return self.record(tenant).database

    def write(self, *lines: str, tenant: str = "") -> None:
        write(self.servers[0], self.database(tenant), *lines)

    def fill(self, tables: int, rows: int, tenant: str = "") -> None:
        for table in range(tables):
            each = rows // tables
            lines = (f"t{table:02},d=d{n % 7} v={n}i,f={n / 7} {HOUR_AGO - n}" for n in range(each))
            self.write(*lines, tenant=tenant)

    def assert_equal(self) -> None:
        for tenant in self.ids:
            name = self.database(tenant)
            assert contents(self.servers[1], name) == contents(self.servers[0], name)


@contextlib.contextmanager
def fleet_on(bench: Bench, servers: tuple[Api, Api]) -> Iterator[Fleet]:
    with running_proxy(servers[0].url) as one, running_proxy(servers[1].url) as other:
        yield Fleet(bench, servers, Counts(one, other))


@pytest.fixture
def fleet(bench: Bench, two_servers: tuple[Api, Api]) -> Iterator[Fleet]:
    with fleet_on(bench, two_servers) as fleet:
        yield fleet


@pytest.mark.parametrize(("tables", "rows"), [(1, 3_000), (18, 3_006), (3, 12_000)])
def test_a_whole_move_reads_writes_and_reads_back_each_row_once_and_waits_once_for_all_tables(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tables: int, rows: int
) -> None:
    monkeypatch.setattr("influxops_influxdb3.copy.slices.MAX_ROWS", 2_000)
    fleet.made()
    fleet.fill(tables, rows)
    fleet.move()
    found = fleet.counts.now()
    print(found, fleet.waits)  # noqa: T201
    assert found.rows_read <= 1.1 * rows
    assert found.rows_read_back == rows
    assert found.rows_written == rows + 1  # and the marker
    assert found.barriers == 2  # for the marker, and for all rows
    assert len(fleet.waits) <= 2
    assert sum(fleet.waits) <= 2.0
    fleet.assert_equal()


def test_the_bytes_that_a_move_reads_grow_with_its_rows_and_no_faster(fleet: Fleet) -> None:
    sizes, bare = [], []
    for rows in (1_000, 3_000):
        fleet.made()
        fleet.fill(1, rows)
        answer = fleet.servers[0].query(fleet.database(), "SELECT * FROM t00", format="jsonl")
        fleet.move()
        found = fleet.counts.now()
        assert found.bytes_read <= 1.1 * len(answer.data)
        assert found.bytes_read_back <= 1.1 * len(answer.data)
        proxies = (fleet.counts.source, fleet.counts.copy)
        sizes.append(sum(size for proxy in proxies for _, size, _ in proxy.answers))
        bare.append(len(answer.data))
    assert sizes[1] <= 3 * sizes[0]
    # Both ends are read once; what is asked beside the rows does not grow with them.
    assert sizes[1] - sizes[0] <= 2.1 * (bare[1] - bare[0])


def test_tenants_that_are_drained_share_the_wait(fleet: Fleet) -> None:
    fleet.made(5)
    for tenant in fleet.ids:
        fleet.fill(2, 40, tenant)
    report = fleet.run(Drain("eu1", writers_paused=True), "eu1", "eu2")
    assert report.exit_code is ExitCode.OK
    found = fleet.counts.now()
    assert sum(fleet.waits) <= 2.0
    assert (found.rows_read, found.rows_read_back) == (200, 200)
    fleet.assert_equal()


def test_a_move_back_compares_both_sides_and_waits_no_longer(fleet: Fleet) -> None:
    fleet.made()
    fleet.fill(2, 400)
    fleet.move()
    fleet.move(back=True)
    found = fleet.counts.now()
    assert sum(fleet.waits) <= 2.0
    # Once to find what differs, and once to see that nothing does.
    assert max(found.rows_read, found.rows_read_back) <= 2 * 400
    assert found.rows_written == 0


def test_what_was_acknowledged_right_before_a_move_is_in_the_copy(bench: Bench) -> None:
    """Although the server's answers have it a flush later, and it changes no number of rows."""
    with (
        running_stand_in(wal_flush_interval="1s") as one,
        running_stand_in(wal_flush_interval="20ms") as other,
        fleet_on(bench, (Api(one.url), Api(other.url))) as fleet,
    ):
        fleet.made()
        fleet.fill(1, 100)
        lines = "\n".join(f"t00,d=d{n % 7} v={-n}i {HOUR_AGO - n}" for n in range(100))
        path = f"/api/v3/write_lp?db={fleet.database()}&precision=nanosecond&no_sync=true"
        assert fleet.servers[0].send("POST", path, body=lines.encode()).status == 204
        fleet.move()
        rows = fleet.servers[1].sql(fleet.database(), "SELECT v FROM t00")
        assert sorted(row["v"] for row in rows) == list(range(-99, 1))


def when_cut_over(fleet: Fleet, then: Callable[[], None]) -> list[float]:
    """Do something before the first question to the source after the cut-over; tell when."""
    done = list[float]()

    def before(seen: Seen) -> Answer:
        if fleet.record().target == "eu2" and not done:
            done.append(time.monotonic())
            then()
        return None

    fleet.counts.source.before = before
    return done


def test_a_row_of_any_time_that_comes_before_the_cut_over_is_found_after_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though writers were said to be paused, and it is in no file; clients are waited for then."""
    monkeypatch.setattr(backfill, "_BETWEEN", 0.05)
    fleet.cache_ttl = "5s"
    fleet.made()
    fleet.fill(3, 300)
    done = when_cut_over(fleet, lambda: fleet.write(f"t01,d=new v=1i {HOUR_AGO - 10**15}"))
    report = fleet.move()
    assert time.monotonic() - done[0] > 4.5
    assert "its writers were not paused" in " ".join(f.message for f in report.findings)
    fleet.assert_equal()


def looks(fleet: Fleet) -> int:
    """Return how often the source was asked how many rows there are."""
    return sum(b"SELECT 't00' AS name" in seen.body for seen in fleet.counts.source.seen)


def test_where_the_times_of_rows_do_not_say_that_nobody_writes_it_is_looked_once_more(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_QUIET", 0.5)
    monkeypatch.setattr(backfill, "_BETWEEN_LOOKS", 0.2)
    fleet.made()
    fleet.fill(2, 200)
    fleet.move()
    at_once = looks(fleet)
    fleet.made()
    fleet.fill(2, 200)
    fleet.write(f"t00,d=ahead v=1i {time.time_ns() + 3600 * 10**9}")
    report = fleet.move()
    assert looks(fleet) > at_once
    assert "paused" not in " ".join(f.message for f in report.findings)
    fleet.assert_equal()


def test_where_writers_are_not_paused_the_passes_before_the_cut_over_look_at_what_is_young(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in any move: else they take as long as the whole copy, and it is never cut over."""
    monkeypatch.setattr(backfill, "_NOT_PAUSED", 0.0)
    monkeypatch.setattr(backfill, "_BETWEEN", 0.05)
    fleet.last_pass = "1s"
    fleet.made()
    fleet.fill(2, 400)
    fleet.write(f"t00,d=now v=1i {time.time_ns()}")
    read = list[str]()

    def slowly(seen: Seen) -> Answer:
        if reads_rows(seen) and fleet.record().target == "eu1":
            read.append(json.loads(seen.body)["q"])
            if len(read) == 1:
                time.sleep(1.2)  # the first pass takes longer than the last one may
        return None

    fleet.counts.source.before = slowly
    report = fleet.move()
    assert "its writers are not paused" in " ".join(f.message for f in report.findings)
    assert len(read) > 2  # once each, and what came since
    assert all("time >=" in sql for sql in read[-2:]), read
    fleet.assert_equal()


def test_a_copy_tells_for_how_long_nothing_was_written(pair: Pair) -> None:
    pair.make()
    pair.write(f"t00,d=old v=1i {HOUR_AGO}", f"t01,d=old v=1i {HOUR_AGO - 10**15}")
    quiet = pair.all(paused=True).quiet
    assert quiet is not None
    assert 3_598 <= quiet < 7_200
    pair.write(f"t00,d=now v=1i {time.time_ns() - 10**9}")
    assert 0 <= (pair.all(paused=True).quiet or 0) < 1_000
    pair.write(f"t00,d=ahead v=1i {time.time_ns() + 3600 * 10**9}")
    assert pair.all(paused=True).quiet is None
