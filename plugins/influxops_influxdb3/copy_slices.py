"""Divides a table's rows by time into slices that a server can answer at once.

Where there are rows is told by `system.parquet_files`, and by probes at both ends: what was written
of late is in no file. A slice with too many files for the server, or too many rows, is halved.
"""

from __future__ import annotations

from collections.abc import Iterator

from influxops_influxdb3.copy_lines import FIRST, LAST, Span
from influxops_influxdb3.copy_sides import Side
from influxops_influxdb3.errors import QueryFileLimit

#: A slice has no more rows than that, unless they all have one time.
MOST_ROWS = 100_000
#: So many files are asked for at once; a server lets a query read 432 of them by default.
_MOST_FILES = 100


def slices(side: Side, table: str, start: int = FIRST) -> Iterator[tuple[Span, int]]:
    """Yield ranges of time that follow upon each other, up to the end of time, with their rows.

    Rows that come meanwhile are in one of them too, unless their time has been passed. The last
    one is what comes after the last row, and seemed empty.

    Args:
        side: The database.
        table: The table's name.
        start: Where to begin, in nanoseconds since 1970.

    Raises:
        QueryFileLimit: When a single moment is in too many files for the server.
    """
    begin = start
    # All of them at first, so that no answer waits half read: few numbers, whatever the files.
    for chunk in list(_chunks(side, table, start)):
        for end, count in _divided(side, table, chunk):
            yield Span(begin, end), count
            begin = end
    if begin <= LAST:
        yield Span(begin, LAST + 1), 0


def _chunks(side: Side, table: str, start: int) -> Iterator[Span]:
    """Yield ranges that follow upon each other, each with few files."""
    begin, first, last = start, None, FIRST
    files = rows = 0
    for file in side.files(table):
        if file.last < start:
            continue
        if first is None:
            # What is before the first file is in none.
            first = max(file.first, start)
            if first > start:
                yield Span(start, first)
            begin = first
        last = max(last, file.last)
        if (files >= _MOST_FILES or rows >= MOST_ROWS) and file.first > begin:
            yield Span(begin, file.first)
            begin, files, rows = file.first, 0, 0
        files += 1
        rows += file.rows
    if first is not None:
        yield Span(begin, last + 1)
        begin = last + 1
    if begin <= LAST:
        yield Span(begin, LAST + 1)


def _divided(side: Side, table: str, chunk: Span) -> Iterator[tuple[int, int]]:
    """Yield where each slice of a chunk ends, and how many rows it has; nothing where it is empty.

    Each slice begins where the one before it ends, so that a gap belongs to what comes after it.
    """
    spans = [chunk]
    while spans:
        span = spans.pop()
        try:
            extent = side.extent(table, span)
        except QueryFileLimit:
            if span.is_moment:
                raise
            spans += reversed(span.halves())
            continue
        found = Span(extent.first, extent.last + 1)
        if not extent.count:
            continue
        if extent.count <= MOST_ROWS or found.is_moment:
            yield found.end, extent.count
        else:
            spans += reversed(found.halves())
