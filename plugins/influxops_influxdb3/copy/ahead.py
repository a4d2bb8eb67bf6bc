"""Counts what a copy has and its source lacks: then the copy may be the newer of the two.

Nothing is written. A move that is taken up again begins with it: a ledger that was restored says
that a move is under way which has ended since, and whose tenant writes to the copy.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from influxops.plugin import Context, Copied, CopyOrder
from influxops_influxdb3.copy.backfill import Missing
from influxops_influxdb3.copy.endpoints import Side, Writer
from influxops_influxdb3.copy.slices import slices
from influxops_influxdb3.copy.unreadable import Unread
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.queries import FIRST, LAST, Span

#: Seconds between two words.
_WORD = 2.0
#: What a retention period is about to take away, on one side before the other, is left out.
_EXPIRING = 3600 * 1_000_000_000


class _Counter(Writer):
    """Counts the lines that are to be written, and writes none."""

    def add(self, lines: Iterable[bytes]) -> None:
        self.rows += sum(1 for _ in lines)


def ahead(source: Client, target: Client, order: CopyOrder, context: Context) -> Iterator[Copied]:
    """Count the rows that the copy has, and the source lacks or has with other values.

    Args:
        source: The server that holds the database.
        target: The server that gets it.
        order: Which database.
        context: The run.

    Raises:
        TargetError: When something cannot be read.
        Interrupted: When the run is over.
    """
    ours, theirs = Side(source, context, order.database), Side(target, context, order.database)
    ours.meet()
    theirs.meet()
    periods = [period for side in (ours, theirs) if (period := side.retention()) is not None]
    oldest = max(theirs.now() - min(periods) + _EXPIRING, FIRST) if periods else FIRST
    tables = theirs.tables()
    counter, conflicts, told_at = _Counter(ours, context), 0, time.monotonic()
    unread = Unread()
    for name in tables:
        with unread.table(name):
            in_source = ours.table(name)
            if in_source.columns:
                # The other way round: the source is what may lack rows.
                rows = Missing(theirs, ours, counter, theirs.table(name), in_source)
                for span in slices(theirs, name, oldest, other=ours):
                    seen = rows.seen
                    for _ in rows.copy(span):
                        if time.monotonic() - told_at >= _WORD:
                            told_at = time.monotonic()
                            yield Copied("looking at what is there", tables=len(tables))
                    context.on_progress(rows.seen - seen)
                conflicts += rows.conflicts
                continue
        # What the source lacks, or cannot be compared with.
        with unread.table(name):
            if theirs.table(name).may_have_rows:
                counter.rows += theirs.count(name, Span(oldest, LAST + 1), theirs.files(name))
    yield Copied(
        "looking at what is there",
        tables=len(tables),
        ahead=counter.rows,
        conflicts=conflicts,
        done=True,
    )
