"""Divides a table's rows by time into slices that a server can answer at once.

Where its files are known, a slice has as many of them as the servers' limits and the number of rows
allow. Where they are not, or there are none, rows are found by probing: what is too much is halved.

What was copied is held against what was read of the source once it is durable.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

from msgspec import Struct

from influxops.plugin import RunContext, TargetError, one_line, pluralize
from influxops_influxdb3.copy.interface import Endpoint
from influxops_influxdb3.copy.line_protocol import Digest, Table
from influxops_influxdb3.copy.time_bounds import divide
from influxops_influxdb3.errors import QueryFileLimit
from influxops_influxdb3.queries import ALL, FIRST, LAST, Span

#: A slice has about so many rows at most, unless they all have one time.
MAX_ROWS = 100_000
#: Seconds before what differs is read again: rows that were overwritten while they are buffered
#: read as the old ones now and then.
_REREAD_AFTER = (0.2, 1.0)


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
        if known is not None and known <= MAX_ROWS:
            yield rest
            return
        yield from (span for span, _ in probed(side, table, rest))
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


class SliceCheck(Struct, frozen=True):
    """What was copied, to be read from the copy when it is durable."""

    table: Table
    span: Span
    digest: Digest

    def verify(
        self, source: Endpoint, copy: Endpoint, context: RunContext
    ) -> Generator[None, None, tuple[int, int]]:
        """Read the copy, and both sides again if they differ; refuse what the source has not.

        It returns how many rows are to be copied again, and how many of them were lost.
        """
        ours = self.digest
        theirs = yield from copy.digest(copy.like(self.table), self.span)
        for seconds in _REREAD_AFTER:
            if ours == theirs or theirs.count < ours.count:
                break
            context.sleep(seconds)
            ours = yield from source.digest(self.table, self.span)
            theirs = yield from copy.digest(copy.table(self.table.name, refresh=True), self.span)
        if ours == theirs:
            return 0, 0
        if ours != self.digest:
            return 1, 0  # the source has changed since: the next pass copies that
        if theirs.count >= ours.count:
            raise self._differs(theirs, source, copy)
        lost = ours.count - theirs.count
        return lost, lost

    def _differs(self, found: Digest, source: Endpoint, copy: Endpoint) -> TargetError:
        """Return what it means that a slice still differs after it was copied."""
        more = found.count - self.digest.count
        what = f"{pluralize(more, 'row')} more" if more else "other values"
        return TargetError(
            f"{copy.name} holds {what} than {source.name} in the table "
            f"{one_line(self.table.name)} ({self.span.condition})",
            hint="does a client write to the copy already, or is there an older copy? Look at "
            "it; drop that database only if you are sure, and start again",
        )
