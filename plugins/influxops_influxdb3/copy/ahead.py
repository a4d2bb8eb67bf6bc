"""Counts what a copy has and its source lacks: then the copy may be the newer of the two.

Nothing is written. A move that is taken up again begins with it: a ledger that was restored says
that a move is under way which has ended since, and whose tenant writes to the copy.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from influxops.plugin import CopyProgress, RunContext
from influxops_influxdb3.copy.backfill import Backfill
from influxops_influxdb3.copy.endpoints import CopyEndpoint, LineWriter
from influxops_influxdb3.copy.slices import slices
from influxops_influxdb3.copy.unreadable import UnreadableTables
from influxops_influxdb3.queries import FIRST, LAST, Span

#: Seconds between two reports of progress.
_REPORT_INTERVAL = 2.0
#: What a retention period is about to take away, on one side before the other, is left out.
_EXPIRING = 3600 * 1_000_000_000


class _Counter(LineWriter):
    """Counts the lines that are to be written, and writes none."""

    def add(self, lines: Iterable[bytes]) -> None:
        self.rows += sum(1 for _ in lines)


def ahead(source: CopyEndpoint, copy: CopyEndpoint, context: RunContext) -> Iterator[CopyProgress]:
    """Count the rows that the copy has, and the source lacks or has with other values."""
    periods: list[int] = []
    for endpoint in (source, copy):
        endpoint.handshake()
        if (period := endpoint.retention()) is not None:
            periods.append(period)
    oldest = max(copy.now() - min(periods) + _EXPIRING, FIRST) if periods else FIRST
    tables = copy.tables()
    counter, conflicts, reported_at = _Counter(source, context), 0, time.monotonic()
    unread = UnreadableTables()
    for name in tables:
        with unread.table(name):
            in_source = source.table(name)
            if in_source.columns:
                # The other way round: the source is what may lack rows.
                backfill = Backfill(copy, source, counter, copy.table(name), in_source)
                for span in slices(copy, name, oldest, other=source):
                    seen = backfill.seen
                    for _ in backfill.copy(span):
                        if time.monotonic() - reported_at >= _REPORT_INTERVAL:
                            reported_at = time.monotonic()
                            yield CopyProgress("looking at what is there", tables=len(tables))
                    context.on_progress(backfill.seen - seen)
                conflicts += backfill.conflicts
                continue
        # What the source lacks, or cannot be compared with.
        with unread.table(name):
            if copy.table(name).may_have_rows:
                counter.rows += copy.count(name, Span(oldest, LAST + 1), copy.files(name))
    yield CopyProgress(
        "looking at what is there",
        tables=len(tables),
        ahead=counter.rows,
        conflicts=conflicts,
        done=True,
    )
