"""What a copy with writers paused calls done: what was read back, and was not changed since."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from influxops.plugin import RunContext
from influxops_influxdb3.copy import job, line_writer, slices
from influxops_influxdb3.copy.interface import Extent, Fingerprint
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair, contents
from tests.influxdb3.counts import Counts
from tests.integration.proxy import Answer, Seen, running_proxy

pytestmark = pytest.mark.stand_in

HOUR_AGO = time.time_ns() - 3600 * 10**9


@pytest.fixture
def counts(two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    monkeypatch.setattr(job, "_FLUSH", 0.05)
    monkeypatch.setattr(job, "_FLUSHES", 0.05)
    with contextlib.ExitStack() as stack:
        yield Counts(*(stack.enter_context(running_proxy(api.url)) for api in two_servers))


def between(counts: Counts, two_servers: tuple[Api, Api], retention: str | None = None) -> Pair:
    pair = Pair(*two_servers)
    pair.make(retention)
    pair.source, pair.copy = Api(counts.source.url), Api(counts.copy.url)
    return pair


@pytest.mark.parametrize("rows", [100, 3_000])
def test_rows_are_read_back_where_there_is_a_retention_period(
    counts: Counts, two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(slices, "MAX_ROWS", 1_000)
    monkeypatch.setattr(line_writer, "_BODY", 1_000)
    pair = between(counts, two_servers, "30d")
    pair.write(*(f"t00,device=d{n % 7} v={n}i {HOUR_AGO - n}" for n in range(rows)))
    lost = list[Seen]()

    def lose(seen: Seen) -> Answer:
        if "no_sync=true" in seen.path and seen.body.startswith(b"t00") and not lost:
            lost.append(seen)
            return 204, "text/plain", b""
        return None

    counts.copy.before = lose
    pair.all(paused=True)
    assert lost
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_rows_about_to_expire_are_told_where_writers_are_paused(
    counts: Counts, two_servers: tuple[Api, Api]
) -> None:
    """They are copied, and not compared."""
    pair = between(counts, two_servers, "2h")
    now = time.time_ns()
    for seconds, rows in ((7_000, 10), (2_000, 90)):
        at = now - seconds * 10**9
        pair.write(*(f"t00,device=d v={n}i {at + n}" for n in range(rows)))
    told = pair.all(paused=True)
    assert (told.rows, told.expiring, told.total) == (100, 10, 100)
    assert counts.now().rows_read_back == 90
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_a_copy_that_another_run_goes_on_with_is_compared(
    counts: Counts, two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its clients wrote in between: a value of an old row changes no file and no number of rows."""
    monkeypatch.setattr(job, "_STEP", 0.0)
    monkeypatch.setattr(slices, "MAX_ROWS", 100)
    pair = between(counts, two_servers)
    pair.write(*(f"t00,device=d v={n}i {HOUR_AGO + n}" for n in range(400)))
    progress = ""
    running = pair.run(paused=True)
    for told in running:
        progress = told.progress
        if told.rows >= 200:
            break
    running.close()
    assert not told.done
    pair.write(f"t00,device=d v=-1i {HOUR_AGO}")
    pair.all(paused=True, progress=progress)
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_a_copy_that_was_done_is_compared_by_another_run(
    counts: Counts, two_servers: tuple[Api, Api]
) -> None:
    pair = between(counts, two_servers)
    pair.write(*(f"t00,device=d v={n}i {HOUR_AGO + n}" for n in range(100)))
    context = RunContext()
    told = pair.all(context, paused=True)
    counts.source.answers.clear()
    told = pair.all(context, paused=True, progress=told.progress)
    assert counts.now().rows_read == 0
    pair.write(f"t00,device=d v=-1i {HOUR_AGO}")
    pair.all(paused=True, progress=told.progress)
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


@pytest.mark.parametrize("asked", [b"time FROM", b"FROM"], ids=["its rows", "all of it"])
@pytest.mark.parametrize(
    ("side", "paused"), [("source", False), ("source", True), ("copy", False), ("copy", True)]
)
def test_a_table_whose_answers_break_off_each_time_is_named_and_the_others_are_copied(
    counts: Counts,
    two_servers: tuple[Api, Api],
    monkeypatch: pytest.MonkeyPatch,
    side: str,
    paused: bool,
    asked: bytes,
) -> None:
    """What fails while it is read ends the connection: the server had answered 200 before."""
    monkeypatch.setattr(RunContext, "sleep", lambda *_: None)
    pair = between(counts, two_servers)
    for name in ("t00", "t01", "t02"):
        pair.write(*(f"{name},device=d v={n}i {HOUR_AGO + n}" for n in range(50)))
    proxy = counts.source if side == "source" else counts.copy
    proxy.breaks = lambda seen: asked + b' \\"t01\\"' in seen.body
    *_, told = pair.run(paused=paused)
    assert (told.done, list(told.unread)) == (False, ["t01"])
    assert "connection" in told.unread["t01"]
    ours, theirs = (contents(api, pair.database) for api in two_servers)
    assert [ours[name] == theirs[name] for name in ("t00", "t02")] == [True, True]
    assert pair.all(paused=paused, progress=told.progress, without_tables=("t01",)).unread
    proxy.breaks = lambda seen: False
    pair.all(paused=paused, progress=told.progress)
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_a_row_that_comes_as_another_one_expires_is_told() -> None:
    """The number of rows is the same."""
    one, other = (Fingerprint("", {"t00": Extent(5, last=last)}) for last in (1, 2))
    assert one.text != other.text
