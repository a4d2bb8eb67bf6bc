"""What copying a database would take, and what stands in the way: nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator

from influxops.plugin import (
    ConfigError,
    Context,
    Copied,
    CopyOrder,
    Finding,
    Interrupted,
    TargetError,
)
from influxops_influxdb3.client import Client
from influxops_influxdb3.copy_lines import Lines
from influxops_influxdb3.copy_sides import Side
from influxops_influxdb3.copy_slices import slices
from influxops_influxdb3.copy_tables import Tables

#: So many rows, and so many seconds of reading, tell how fast rows can be copied.
_SAMPLE, _SAMPLING = 50_000, 3.0
#: Each row is read about so often: to copy it, and on both sides to compare it, for what is missing
#: after the cut-over, and once more when nobody can write to the old place any more.
_READ = 7


def plan(
    source: Client, target: Client, section: str, order: CopyOrder, context: Context
) -> Iterator[Copied]:
    """Yield one value: tables, rows, about how many bytes, and findings.

    Args:
        source: The server that holds the database.
        target: The server that would get it.
        section: The name of the target that would get it.
        order: What would be copied.
        context: The run.

    Raises:
        TargetError: When the source cannot be read.
        Interrupted: When the run is over.
    """
    ours, theirs = Side(source, context, order.database), Side(target, context, order.database)
    tables = Tables(ours, theirs, context, section)
    ours.meet()
    ours.retention()
    tables.read(copy_is_there=False)
    findings = list(_in_the_way(ours, theirs, tables))
    rows, size, most, largest = 0, 0.0, 0, ""
    for name in tables.keys:
        context.check()
        found = ours.total(name)
        rows += found
        if found > most:
            most, largest = found, name
        size += found * tables.line_bytes(name) if found else 0
    yield Copied(
        stage="planning",
        total=rows,
        tables=len(tables.keys),
        bytes=round(size),
        rate=_rate(ours, largest, context) if most else 0.0,
        findings=tuple(findings),
    )


def _rate(source: Side, name: str, context: Context) -> float:
    """Return how many rows a second can be copied, by reading some and making lines of them."""
    table = source.table(name)
    lines, read, began = Lines(table), 0, time.monotonic()
    for span, _ in slices(source, name):
        for rows in source.rows(table, span):
            lines.of(rows)
            read += len(rows)
            context.check()
            if read >= _SAMPLE or time.monotonic() - began >= _SAMPLING:
                return read / (time.monotonic() - began) / _READ
    return read / (time.monotonic() - began) / _READ


def _in_the_way(source: Side, copy: Side, tables: Tables) -> Iterator[Finding]:
    """Yield what would be refused, as far as that can be known."""
    try:
        copy.meet()
        if copy.uuid and copy.uuid == source.uuid:
            yield tables.finding(f"it is the server that holds {copy.database}", error=True)
            return
        there = copy.exists()
        tables.read(copy_is_there=there)
        if there:
            yield from filter(None, tables.conflicts())
        limit = tables.limit()
        if limit is not None:
            yield limit
    except Interrupted:
        raise
    except (TargetError, ConfigError) as error:
        yield tables.refusal(error)
