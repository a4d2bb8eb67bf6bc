"""What copying would take, and what a copy has beyond its source: nothing is written."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator

from influxops.plugin import (
    ConfigError,
    CopyProgress,
    CopyRequest,
    Finding,
    FindingKind,
    Interrupted,
    RunContext,
    Severity,
    TargetError,
    pluralize,
)
from influxops_influxdb3.copy.backfill import Backfill
from influxops_influxdb3.copy.endpoints import CopyEndpoint
from influxops_influxdb3.copy.interface import Endpoint, oldest_kept, shared_retention
from influxops_influxdb3.copy.line_protocol import LineEncoder
from influxops_influxdb3.copy.progress import REPORT_INTERVAL
from influxops_influxdb3.copy.slices import slices
from influxops_influxdb3.copy.tables import TableSync, UnreadableTables
from influxops_influxdb3.errors import InfluxDBError
from influxops_influxdb3.naming_rules import CORE_TABLES
from influxops_influxdb3.queries import LAST, TABLE_COUNT, Span, number_of

#: So many rows, or so many seconds of reading, tell how fast rows can be copied. They are of so
#: many slices at most, each of which takes a query.
_SAMPLE, _SAMPLING, _SLICES = 50_000, 3.0, 4
#: Rows that are sampled for the length of a table's lines.
_LENGTHS = 100
#: Each row is read about so often: to copy it, and on both sides to compare it, and when nobody can
#: write to the old target any more.
_READ = 5


def estimate(
    source: CopyEndpoint, copy: CopyEndpoint, target: str, order: CopyRequest, context: RunContext
) -> Iterator[CopyProgress]:
    """Yield one value: tables, rows, and findings about `target`.

    A dry run is also told about how many bytes and how fast, which rows are read for.
    """
    tables = TableSync(source, copy, context, target)
    source.handshake()
    source.retention()
    tables.read(copy_is_there=False)
    findings = list(_blockers(source, copy, tables))
    findings += tables.without_time_findings()
    unread = UnreadableTables()
    for name, reason in tables.uncopyable.items():
        unread.add(name, reason)
    rows, size, most, largest, at_most = 0, 0.0, 0, "", False
    for name in tables.series_keys:
        context.check()
        with unread.table(name):
            found, is_bound = source.total(name, exactly=context.dry_run)
            if found and context.dry_run:
                size += found * _line_bytes(source, name)
            rows, at_most = rows + found, at_most or is_bound
            if found > most:
                most, largest = found, name
    findings += tables.unread(unread.reasons, order.without_tables)
    yield CopyProgress(
        stage="planning",
        total=rows,
        at_most=at_most,
        tables=len(tables.series_keys.keys() - unread.reasons.keys()),
        bytes=round(size),
        rate=_rate(source, largest, context) if most and context.dry_run else 0.0,
        unread=unread.reasons,
        findings=tuple(findings),
    )


def _line_bytes(source: CopyEndpoint, name: str) -> float:
    """Return about how many bytes the lines of a table have."""
    table = source.table(name)
    lines = LineEncoder(table).of(source.sample(table, _LENGTHS))
    return sum(len(line) + 1 for line in lines) / len(lines) if lines else 0.0


def _rate(source: CopyEndpoint, name: str, context: RunContext) -> float:
    """Return how many rows a second can be copied, by reading some and making lines of them."""
    table = source.table(name)
    lines, read, began = LineEncoder(table), 0, time.monotonic()
    # More than one slice: the first may have few rows, which say nothing of the others.
    spans = itertools.islice(slices(source, name), _SLICES)
    for rows in (rows for span in spans for rows in source.rows(table, span)):
        lines.of(rows)
        read += len(rows)
        context.check()
        if read >= _SAMPLE or time.monotonic() - began >= _SAMPLING:
            break
    return read / (time.monotonic() - began) / _READ


def _blockers(source: CopyEndpoint, copy: CopyEndpoint, tables: TableSync) -> Iterator[Finding]:
    try:
        copy.handshake()
        if copy.uuid and copy.uuid == source.uuid:
            yield tables.finding(
                f"it is the server that holds {copy.database}", severity=Severity.ERROR
            )
            return
        there = copy.exists()
        tables.read(copy_is_there=there)
        if there:
            yield from filter(None, tables.conflicts())
        yield from _over_limit(copy, tables)
    except Interrupted:
        raise
    except (TargetError, ConfigError) as error:
        reason = error.reason if isinstance(error, InfluxDBError) else error.message
        yield tables.finding(
            reason, error.remedy, kind=FindingKind.REFUSED, severity=Severity.ERROR
        )


def _over_limit(copy: CopyEndpoint, tables: TableSync) -> Iterator[Finding]:
    """Yield what stands in the way of so many tables, as far as it is known."""
    rows = copy.client.query(tables.context, "_internal", TABLE_COUNT)
    held, wanted = number_of(rows[0] if rows else {}, "n"), len(tables.missing)
    if copy.edition == "Core" and held + wanted > CORE_TABLES:
        yield tables.finding(
            f"it holds {pluralize(held, 'table')} and would get {wanted} more; InfluxDB 3 Core "
            f"holds {CORE_TABLES:,} by default",
            "drop tables there, raise the server's limit, or choose another target",
            kind=FindingKind.OVER_CAPACITY,
            severity=Severity.ERROR,
        )


class _Counter:
    """Counts the lines that are to be written, and writes none."""

    size = 0

    def __init__(self) -> None:
        self.rows = 0

    @property
    def added(self) -> int:
        return self.rows

    def add(self, lines: Iterable[bytes]) -> None:
        self.rows += sum(1 for _ in lines)

    def barrier(self) -> bool:
        return True

    def begin(self, *_: object) -> None: ...

    end = reset = begin

    def leave(self) -> bool:
        return False


def ahead(source: Endpoint, copy: Endpoint, context: RunContext) -> Iterator[CopyProgress]:
    """Count the rows that the copy has, and the source lacks or has with other values.

    A move that is taken up again begins with it: a ledger that was restored says that a move is
    under way which has ended since, and whose tenant writes to the copy.
    """
    source.handshake()
    copy.handshake()
    # What is about to expire, on one side before the other, is left out.
    oldest = oldest_kept(copy, shared_retention(source, copy, may_be_shorter=True))
    tables = copy.tables()
    counter, conflicts, reported_at = _Counter(), 0, time.monotonic()
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
                        if time.monotonic() - reported_at >= REPORT_INTERVAL:
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
