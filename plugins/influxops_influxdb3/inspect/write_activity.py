"""How much a tenant wrote over time: few queries, whose answers do not grow with the rows.

Each has bounds of time that the server's limit of files allows: two days at a time, and less
where a server has more files of them than one query may read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from influxops.plugin import RunContext
from influxops_influxdb3.errors import QueryFileLimit
from influxops_influxdb3.http.thread_map import in_flight
from influxops_influxdb3.inspect.stats import table_names, tables_by_database
from influxops_influxdb3.naming_rules import MARKER_TABLE
from influxops_influxdb3.queries import in_batches, number_of, read_timestamp, rows_by_time

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client

#: A query begins with that much, of which there are 288 files by default; nothing is halved that
#: is shorter than one file.
_WIDEST, _SHORTEST = timedelta(days=2), timedelta(minutes=10)
#: Queries under way at once.
_QUERIES = 4

_Window = tuple[datetime, datetime]


def activity(
    client: Client, name: str, since: datetime, until: datetime, step: int, context: RunContext
) -> list[tuple[datetime, int]]:
    """Return the rows of all tables but the marker's, by the begin of each span that has any."""
    names = table_names(client, context, name)
    # Those that were dropped are named there too, and not here.
    living = tables_by_database(client, context, [name]).get(name, names)
    tables = sorted(t for t in living if names.get(t) and t != MARKER_TABLE)
    windows = _windows(since, until)
    asked = [(batch, window) for window in windows for batch in in_batches(tables)]

    def count(each: tuple[Sequence[str], _Window]) -> Counter[datetime]:
        batch, window = each
        return _count(client, name, batch, window, step, context)

    found: Counter[datetime] = Counter()
    for _, counted in in_flight(asked, count, limit=_QUERIES):
        found.update(counted)
    return sorted(found.items())


def _windows(since: datetime, until: datetime) -> Iterator[_Window]:
    while since < until:
        end = min(since + _WIDEST, until)
        yield since, end
        since = end


def _count(
    client: Client,
    name: str,
    tables: Sequence[str],
    window: _Window,
    step: int,
    context: RunContext,
) -> Counter[datetime]:
    """Count the rows of some tables in a window of time, by halves where that is too many files."""
    since, until = window
    try:
        rows = client.query(context, name, rows_by_time(tables, since, until, step))
    except QueryFileLimit:
        if until - since <= _SHORTEST:
            raise
        # To the second, as the bounds are written.
        middle = since + timedelta(seconds=(until - since).total_seconds() // 2)
        early = _count(client, name, tables, (since, middle), step, context)
        return early + _count(client, name, tables, (middle, until), step, context)
    found: Counter[datetime] = Counter()
    for row in rows:
        span = read_timestamp(row.get("span"))
        if span is not None:
            found[span] += number_of(row, "count")
    return found
