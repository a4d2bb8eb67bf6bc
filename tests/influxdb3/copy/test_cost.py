"""What a copy costs, in requests, rows and writes that are waited for: no clock decides."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from influxops.plugin import TargetError
from influxops_influxdb3.copy import job
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair, contents
from tests.influxdb3.counts import Counts, reads_rows
from tests.integration.proxy import Answer, Seen, running_proxy
from tests.line_proxy import line_proxy

pytestmark = pytest.mark.stand_in

LATER = time.time_ns() - 3600 * 10**9


@pytest.fixture
def counts(two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    """What two servers are asked; one step is as long as a pass."""
    monkeypatch.setattr(job, "_STEP", 3600.0)
    monkeypatch.setattr(job, "_FLUSH", 0.05)
    monkeypatch.setattr(job, "_FLUSHES", 0.05)
    with contextlib.ExitStack() as stack:
        yield Counts(*(stack.enter_context(running_proxy(api.url)) for api in two_servers))


def filled(counts: Counts, two_servers: tuple[Api, Api], tables: int, rows: int) -> Pair:
    pair = Pair(*two_servers)
    pair.make()
    for table in range(tables):
        name = f"t{table:02}"
        pair.write(*(f"{name},device=d{n % 7} v={n}i,f={n / 7} {LATER - n}" for n in range(rows)))
    pair.source, pair.copy = Api(counts.source.url), Api(counts.copy.url)
    return pair


@pytest.mark.parametrize(
    ("order", "requests", "barriers", "read"),
    [({"paused": True}, 75, 1, 1), ({}, 130, 1, 2)],
    ids=["writers paused", "in use"],
)
def test_many_small_tables_share_questions_and_one_barrier(
    counts: Counts,
    two_servers: tuple[Api, Api],
    order: dict[str, Any],
    requests: int,
    barriers: int,
    read: int,
) -> None:
    """Each has a request to be made, and one for each time that its rows are read."""
    pair = filled(counts, two_servers, tables=18, rows=160)
    told = pair.all(**order)
    found = counts.now()
    print(found)  # noqa: T201
    assert told.rows == found.rows_written == 18 * 160
    assert found.barriers == barriers
    assert found.rows_read == read * told.rows
    assert found.rows_read_back == told.rows
    assert found.requests <= requests
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_with_writers_paused_each_row_is_read_written_and_read_back_once(
    counts: Counts, two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influxops_influxdb3.copy.slices.MAX_ROWS", 2_000)
    monkeypatch.setattr("influxops_influxdb3.copy.line_writer._BODY", 50_000)
    pair = filled(counts, two_servers, tables=3, rows=5_000)
    told = pair.all(paused=True)
    found = counts.now()
    print(found)  # noqa: T201
    assert told.rows == 15_000
    assert (found.rows_read, found.rows_written, found.rows_read_back) == (told.rows,) * 3
    assert found.bytes_written <= 1.01 * told.bytes
    assert found.barriers == 1


def test_a_table_that_cannot_be_read_costs_the_others_no_more_than_a_question_each(
    counts: Counts, two_servers: tuple[Api, Api]
) -> None:
    pair = filled(counts, two_servers, tables=4, rows=20)
    refused = list[str]()

    def refuse(seen: Seen) -> Answer:
        if b"UNION ALL" in seen.body and b"system.parquet_files" not in seen.body:
            refused.append(json.loads(seen.body)["q"])
            return 500, "application/json", b'{"error":"record batch is broken"}'
        return None

    counts.source.before = refuse
    assert pair.all(paused=True).rows == 80
    assert len(refused) == 1
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_a_body_is_on_its_way_while_further_rows_are_read(
    counts: Counts, two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("influxops_influxdb3.copy.slices.MAX_ROWS", 500)
    monkeypatch.setattr("influxops_influxdb3.copy.line_writer._BODY", 20_000)
    pair = filled(counts, two_servers, tables=1, rows=3_000)
    trace, is_writing, is_read = list[str](), threading.Event(), threading.Event()

    def reads(seen: Seen) -> Answer:
        if is_writing.is_set() and reads_rows(seen):
            trace.append("read")
            is_read.set()
        return None

    def writes(seen: Seen) -> Answer:
        if "no_sync=true" in seen.path:
            trace.append("write")
            is_writing.set()
            is_read.wait(20)
            trace.append("written")
        return None

    counts.source.before, counts.copy.before = reads, writes
    assert pair.all(paused=True).rows == 3_000
    assert trace[:3] == ["write", "read", "written"]
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_what_is_read_of_one_answer_is_on_its_way_before_the_answer_has_come_to_its_end(
    counts: Counts, two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading, making lines of rows, and writing overlap: each waits here for the others."""
    monkeypatch.setattr("influxops_influxdb3.copy.line_writer._BODY", 20_000)
    pair = filled(counts, two_servers, tables=1, rows=20_000)
    passed, at_write, is_writing = [0], list[int](), threading.Event()

    def on_answer(data: bytes) -> None:
        if passed[0] > 600_000:
            is_writing.wait(20)
        passed[0] += len(data)

    def writes(seen: Seen) -> Answer:
        if "no_sync=true" in seen.path and not is_writing.is_set():
            at_write.append(passed[0])
            is_writing.set()
        return None

    counts.copy.before = writes
    with line_proxy(urllib3.util.parse_url(two_servers[0].url).port or 0) as proxy:
        proxy.on_answer = on_answer
        pair.source = Api(f"http://127.0.0.1:{proxy.port}")
        assert pair.all(paused=True).rows == 20_000
    print(f"the first write began after {at_write[0]:,} of {passed[0]:,} bytes")  # noqa: T201
    assert at_write[0] < passed[0] / 2
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)


def test_a_copy_that_ends_tells_of_a_write_that_may_still_arrive(
    counts: Counts, two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something else ended it than that write, which another thread waits for."""
    monkeypatch.setattr("influxops_influxdb3.copy.slices.MAX_ROWS", 500)
    monkeypatch.setattr("influxops_influxdb3.copy.line_writer._BODY", 20_000)
    pair = filled(counts, two_servers, tables=1, rows=3_000)
    pair.settings = {"read_timeout": 2, "retries": 0}
    is_writing, is_over = threading.Event(), threading.Event()

    def reads(seen: Seen) -> Answer:
        if reads_rows(seen) and is_writing.is_set():
            return 401, "application/json", b'{"error": "the token was revoked"}'
        return None

    def writes(seen: Seen) -> Answer:
        if "no_sync=true" in seen.path:
            is_writing.set()
            is_over.wait(20)
        return None

    counts.source.before, counts.copy.before = reads, writes
    try:
        with pytest.raises(TargetError) as raised:
            pair.all()
    finally:
        is_over.set()
    assert raised.value.abandoned


def test_a_server_that_lists_files_of_one_table_at_a_time_has_its_rows_read_once_as_well(
    counts: Counts, two_servers: tuple[Api, Api]
) -> None:
    pair = filled(counts, two_servers, tables=4, rows=20)
    refused = list[str]()

    def refuse(seen: Seen) -> Answer:
        sql = json.loads(seen.body).get("q", "") if seen.body.startswith(b"{") else ""
        if sql.count("FROM system.parquet_files") > 1:
            refused.append(sql)
            return 400, "application/json", b'{"error":"too much is asked"}'
        return None

    counts.source.before = refuse
    assert pair.all(paused=True).rows == 80
    found = counts.now()
    assert refused
    assert (found.rows_read, found.rows_read_back) == (80, 80)
