"""Divides a table's rows by time into slices that a server can answer at once.

Where its files are known, a slice has as many of them as the servers' limits and the number of rows
allow. Where they are not, or there are none, rows are found by probing: what is too much is halved.
"""

from __future__ import annotations

from collections.abc import Iterator

from influxops_influxdb3.copy.endpoints import CopyEndpoint
from influxops_influxdb3.copy.time_bounds import divide
from influxops_influxdb3.errors import QueryFileLimit
from influxops_influxdb3.queries import ALL, FIRST, LAST, Span

#: A slice has about so many rows at most, unless they all have one time.
MAX_ROWS = 100_000


def slices(
    side: CopyEndpoint, table: str, start: int = FIRST, *, other: CopyEndpoint | None = None
) -> Iterator[Span]:
    """Yield ranges of time that follow upon each other, up to the end of time.

    Rows that come in the meantime are in one of them too, unless their time has been passed.

    Where `other` is asked for the same slices, they keep within its limit, too.

    Raises:
        QueryFileLimit: When a single moment is in too many files for the server.
    """
    rest = Span(start, LAST + 1)
    if start > LAST:
        return
    files = side.files(table)
    if not files:
        yield from (span for span, _ in probed(side, table, rest))
        return
    sides = [(files, side.client.file_limit)]
    if other is not None:
        sides.append((other.files(table) or [], other.client.file_limit))
    yield from divide(sides, rest, MAX_ROWS)


def probed(side: CopyEndpoint, table: str, span: Span = ALL) -> Iterator[tuple[Span, int]]:
    """Yield slices of a range of time by asking how many rows there are, and how many each has.

    Only one whose rows all have one time has more than `MAX_ROWS`. They follow upon each other:
    a gap belongs to the slice after it, or to the last one.

    Raises:
        QueryFileLimit: When a single moment is in too many files for the server.
    """
    begin, held = span.start, 0
    spans, found = [span], Span(span.start, span.start)
    while spans:
        part = spans.pop()
        try:
            extent = side.extent(table, part)
        except QueryFileLimit:
            if part.is_moment:
                raise
            spans += reversed(part.halves())
            continue
        if not extent.count:
            continue
        rows = Span(extent.first, extent.last + 1)
        if extent.count > MAX_ROWS and not rows.is_moment:
            spans += reversed(rows.halves())
            continue
        if held:
            yield Span(begin, found.end), held
            begin = found.end
        found, held = rows, extent.count
    yield Span(begin, span.end), held
