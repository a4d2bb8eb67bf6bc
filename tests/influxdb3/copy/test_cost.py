"""What a copy costs, in requests, rows and writes that are waited for: no clock decides."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from influxops_influxdb3.copy import job
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair, contents
from tests.influxdb3.counts import Counts
from tests.integration.proxy import running_proxy

pytestmark = pytest.mark.stand_in

LATER = time.time_ns() - 3600 * 10**9


@pytest.fixture
def counts(two_servers: tuple[Api, Api], monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    """What two servers are asked; one step is as long as a pass."""
    monkeypatch.setattr(job, "_STEP", 3600.0)
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
    monkeypatch.setattr("influxops_influxdb3.copy.endpoints._BODY", 50_000)
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

    def refuse(seen: Any) -> tuple[int, str, bytes] | None:
        if b"UNION ALL" in seen.body:
            refused.append(json.loads(seen.body)["q"])
            return 500, "application/json", b'{"error":"record batch is broken"}'
        return None

    counts.source.before = refuse
    assert pair.all(paused=True).rows == 80
    assert len(refused) == 1
    assert contents(two_servers[1], pair.database) == contents(two_servers[0], pair.database)
