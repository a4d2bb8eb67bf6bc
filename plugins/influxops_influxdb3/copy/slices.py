"""Divides time into slices that a server can answer at once, whatever the files of a table.

A server refuses a query that touches more files than its limit. Where the files are known, a slice
has as many of them as the servers' limits and the number of rows allow. Where they are not, or
there are none, rows are found by probing: what is too much is halved. What is only in the
write-ahead log is in no file and may have any time, so slices cover all of time, without gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from influxops_influxdb3.copy.interface import Endpoint
from influxops_influxdb3.errors import QueryFileLimit
from influxops_influxdb3.inspect.parquet_files import File, usable_limit
from influxops_influxdb3.queries import ALL, FIRST, LAST, Span

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client

_T = TypeVar("_T")

#: A slice has about so many rows at most, unless they all have one time.
MAX_ROWS = 100_000


def slices(
    side: Endpoint, table: str, start: int = FIRST, *, other: Endpoint | None = None
) -> Iterator[Span]:
    """Yield ranges of time that follow upon each other, up to the end of time.

    Rows that come in the meantime are in one of them too, unless their time has been passed.

    Where `other` is asked for the same slices, they keep within its limit, too.
    """
    rest = Span(start, LAST + 1)
    if start > LAST:
        return
    files = side.files(table)
    if not files:
        known = side.known_count(table)
        if known is None or known > MAX_ROWS:
            yield from (span for span, _ in probed(side, table, rest))
        else:
            yield rest
        return
    sides = [(files, side.file_limit)]
    if other is not None:
        sides.append((other.files(table) or [], other.file_limit))
    yield from divide(sides, rest, MAX_ROWS)


def probed(side: Endpoint, table: str, span: Span = ALL) -> Iterator[tuple[Span, int]]:
    """Yield slices of a range of time by asking how many rows there are, and how many each has.

    Only one whose rows all have one time has more than `MAX_ROWS`. They follow upon each other:
    a gap belongs to the slice after it, or to the last one.
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


def divide(
    sides: Sequence[tuple[Sequence[File], int]], span: Span = ALL, most_rows: int | None = None
) -> list[Span]:
    """Divide a range of time into slices that follow upon each other, as few as possible.

    A side is a server's files and its limit (`Client.file_limit`). Where many files overlap, or one
    has more than about `most_rows`, a slice may still be too large.
    """
    coming = [
        (number, file)
        for number, (files, _) in enumerate(sides)
        for file in files
        if file.first < span.end and file.last >= span.start
    ]
    coming.sort(key=lambda each: each[1].first)
    touched = [_Touched(usable_limit(limit), most_rows) for _, limit in sides]
    found, begin = list[Span](), span.start
    for number, file in coming:
        first = file.first
        if first > begin and not touched[number].takes(file):
            found.append(Span(begin, first))
            begin = first
            for each in touched:
                each.begin(first)
        touched[number].add(file)
    return [*found, Span(begin, span.end)]


def in_slices(
    client: Client, files: Sequence[File] | None, ask: Callable[[Span], _T], span: Span = ALL
) -> Iterator[_T]:
    """Ask about a range of time in as many statements as the server's limit wants, in order."""
    todo = [span] if files is None else divide([(files, client.file_limit)], span)
    todo.reverse()
    while todo:
        part = todo.pop()
        try:
            answer = ask(part)
        except QueryFileLimit:
            if part.is_moment:
                raise
            todo += reversed(smaller(files, client.file_limit, part))
        else:
            yield answer


def smaller(files: Sequence[File] | None, limit: int, span: Span) -> list[Span]:
    """Divide a slice that the server has refused, and that is more than a moment."""
    parts = divide([(files or (), limit)], span)
    if len(parts) > 1:
        return parts
    touched = [file for file in files or () if file.first < span.end and file.last >= span.start]
    if touched:
        first = max(span.start, min(file.first for file in touched))
        end = min(span.end, max(file.last for file in touched) + 1)
        if span.start < (middle := (first + end) // 2) < span.end:
            return [Span(span.start, middle), Span(middle, span.end)]
    return [*span.halves()]


class _Touched:
    """The files on one server that the open slice touches."""

    def __init__(self, most_files: int, most_rows: int | None) -> None:
        self._most_files, self._most_rows = most_files, most_rows
        self._files: list[File] = []
        self._rows = 0

    def takes(self, file: File) -> bool:
        """Return whether the slice may touch a further file."""
        if not self._files:
            return True
        is_small = self._most_rows is None or self._rows + file.rows <= self._most_rows
        return len(self._files) < self._most_files and is_small

    def add(self, file: File) -> None:
        """Note that the slice touches a file."""
        self._files.append(file)
        self._rows += file.rows

    def begin(self, time: int) -> None:
        """Begin another slice, which touches what has not ended yet."""
        self._files = [file for file in self._files if file.last >= time]
        self._rows = sum(file.rows for file in self._files)
