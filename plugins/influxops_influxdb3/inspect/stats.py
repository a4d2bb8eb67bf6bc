"""How much is in each table of a database, and when it was last written to.

One query a database that counts all of its tables; their names come from one query for all
databases. Where that is refused, columns and files are read first. A server refuses a query that
touches more than its limit of files, three days of a table by default: a table with more of them
is not counted, its files tell how many rows it has at most, and only what is newer than they are
is asked of the table itself. A table without a column `time`, which a refused write leaves behind,
holds no rows and cannot be asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from influxops.plugin import (
    UNKNOWN,
    DatabaseStats,
    InfluxopsError,
    RunContext,
    TableStats,
    Unknown,
    summarize,
    truncate,
)
from influxops_influxdb3 import queries
from influxops_influxdb3.errors import (
    BadRequest,
    ConnectionFailed,
    InfluxDBError,
    QueryFileLimit,
    ServerFailed,
)
from influxops_influxdb3.inspect.parquet_files import FileTotals, file_totals, usable_limit
from influxops_influxdb3.naming_rules import MARKER_TABLE
from influxops_influxdb3.queries import (
    MAX_TABLES,
    NO_TABLE,
    TABLES_WITH_TIME,
    TELEMETRY_TABLE,
    in_batches,
    number_of,
    read_timestamp,
    row_count,
    text_of,
)

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client

_TOO_MANY_FILES = "more files than this server's query-file-limit lets one query read: not counted"
_LEFT_OUT = "the server answered without it"
#: Where nothing tells of a table's files, and all of it is too much, its rows of so long are asked.
_PROBED = timedelta(days=1)
_NANOSECONDS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Part(Struct, frozen=True):
    """What one statement asks of one table."""

    table: str
    files: FileTotals
    after: int | None = None  # only rows that are newer, in nanoseconds since 1970; None: all

    @property
    def sql(self) -> str:
        return row_count(self.table, self.after)


def table_names(client: Client, context: RunContext, database: str) -> dict[str, bool]:
    """Return the names of a database's tables, each with whether it has a column `time`."""
    rows = client.query(context, database, TABLES_WITH_TIME)
    return {text_of(row, "table_name"): bool(row.get("times")) for row in rows}


def tables_by_database(
    client: Client, context: RunContext, databases: Collection[str]
) -> dict[str, list[str]]:
    """Return the names of the tables of some databases; nothing where a token may not read them."""
    found: dict[str, list[str]] = {}
    # Beyond that it asks for all of them.
    named = databases if len(databases) <= queries.MAX_DATABASES else None
    try:
        for rows in client.rows(context, "_internal", queries.table_names(named), retries=1):
            for row in rows:
                found.setdefault(str(row["database_name"]), []).append(str(row["table_name"]))
    except (InfluxopsError, LookupError) as error:
        context.log.debug("each database is asked for its tables: %s", error)
        return {}
    return found


def describe(
    client: Client,
    context: RunContext,
    name: str,
    without_row: bool | Unknown,
    telemetry: Collection[str] | None,
    tables: Collection[str] = (),
) -> DatabaseStats:
    """Describe a database with all its tables; those of telemetry are all, or those named.

    `without_row` is what it proves that its marker has a table and no row; `tables` are the names
    of its tables, where they are known.
    """
    reading = _Collector(client, context, name)
    found = reading.tables(sorted(tables))
    marker = found.pop(MARKER_TABLE, None)
    if marker is None or marker.rows is None:
        complete: bool | Unknown = UNKNOWN if marker else False
    else:
        complete = marker.rows > 0 or without_row
    shown = tuple(
        replace(table, is_telemetry=telemetry is None or table.name in telemetry)
        for _, table in sorted(found.items())
    )
    rows = found.get(TELEMETRY_TABLE)
    times = [table.last_write for table in shown if table.last_write is not None]
    return DatabaseStats(
        name,
        rows.rows if rows else 0,
        max(times, default=None) if all(table.is_known for table in shown) else None,
        complete,
        reading.problem,
        shown,
    )


class _Collector:
    """One reading of one database."""

    def __init__(self, client: Client, context: RunContext, database: str) -> None:
        self._client, self._context, self._database = client, context, database
        self._problems: dict[str, list[str]] = {}

    def tables(self, known: Sequence[str]) -> dict[str, TableStats]:
        names: dict[str, bool] = {}
        if known:
            try:
                return self._at_once(known)
            except QueryFileLimit:
                # It is known once all columns of the statement are known to be there.
                names = dict.fromkeys(known, True) if len(known) <= MAX_TABLES else {}
            except (BadRequest, ConnectionFailed, ServerFailed):
                pass  # each table is asked about
        names = names or table_names(self._client, self._context, self._database)
        if known:
            # A server lists the columns of a dropped table too, under a name of its own.
            names = {name: has_time for name, has_time in names.items() if name in known}
        found = {name: TableStats(name, 0) for name, has_time in names.items() if not has_time}
        asked = sorted(name for name, has_time in names.items() if has_time)
        files = file_totals(self._client, self._context, self._database, asked)
        limit = usable_limit(self._client.file_limit)
        parts = [_part(name, files.get(name, FileTotals()), limit) for name in asked]
        for batch in _batches(parts, limit):
            found |= self._count(batch)
        return found

    def _at_once(self, names: Sequence[str]) -> dict[str, TableStats]:
        found: dict[str, TableStats] = {}
        for some in in_batches(names):
            found |= self._ask([_Part(name, FileTotals()) for name in some], retries=0)
        return found

    @property
    def problem(self) -> str:
        """Why something is not known."""
        return "; ".join(f"{summarize(names)}: {why}" for why, names in self._problems.items())

    def _count(self, parts: Sequence[_Part]) -> dict[str, TableStats]:
        """Count tables by one statement; by several where one of them hinders it."""
        try:
            # What one table hinders is soon asked again, without it.
            return self._ask(parts, retries=0 if len(parts) > 1 else 1)
        except (BadRequest, ConnectionFailed, QueryFileLimit, ServerFailed) as error:
            # What fails once the server has begun to answer ends the connection.
            if isinstance(error, ConnectionFailed) and (error.timed_out or not error.sent):
                raise
            if len(parts) == 1:
                return {parts[0].table: self._without(parts[0], error)}
            middle = len(parts) // 2
            return self._count(parts[:middle]) | self._count(parts[middle:])

    def _ask(self, parts: Sequence[_Part], retries: int) -> dict[str, TableStats]:
        sql = " UNION ALL ".join(part.sql for part in parts)
        rows = self._client.query(self._context, self._database, sql, retries=retries)
        told = {text_of(row, "name"): row for row in rows}
        return {part.table: self._stats(part, told.get(part.table)) for part in parts}

    def _without(self, part: _Part, error: InfluxDBError) -> TableStats:
        if isinstance(error, QueryFileLimit) and part.after is None:
            probed = int((datetime.now(UTC) - _PROBED).timestamp()) * _NANOSECONDS
            after = part.files.last if part.files.count else probed
            return self._count([replace(part, after=after)])[part.table]
        if isinstance(error, ServerFailed) and error.status != 500:
            raise error
        if isinstance(error, BadRequest) and NO_TABLE.search(error.server_message):
            return TableStats(part.table, 0)  # it was dropped in the meantime
        why = _TOO_MANY_FILES if isinstance(error, QueryFileLimit) else error.reason
        self._problems.setdefault(why, []).append(truncate(part.table))
        return TableStats(part.table)

    def _stats(self, part: _Part, row: Mapping[str, Any] | None) -> TableStats:
        if row is None:
            self._problems.setdefault(_LEFT_OUT, []).append(truncate(part.table))
            return TableStats(part.table)
        rows, last = number_of(row, "count"), read_timestamp(row.get("last"))
        if part.after is None:
            return TableStats(part.table, rows, last_write=last)
        if not part.files.count:
            self._problems.setdefault(_TOO_MANY_FILES, []).append(truncate(part.table))
            return TableStats(part.table, last_write=last)
        newest = last or _EPOCH + timedelta(microseconds=part.files.last // 1000)
        return TableStats(part.table, part.files.rows + rows, at_most=True, last_write=newest)


def _part(name: str, files: FileTotals, limit: int) -> _Part:
    return _Part(name, files, files.last if files.count > limit else None)


def _batches(parts: Iterable[_Part], limit: int) -> Iterator[list[_Part]]:
    """Divide what is asked into statements, each with few tables and so many files at most."""
    batch: list[_Part] = []
    files = 0
    for part in parts:
        touched = part.files.count if part.after is None else 0
        if batch and (len(batch) == MAX_TABLES or files + touched > limit):
            yield batch
            batch, files = [], 0
        batch.append(part)
        files += touched
    if batch:
        yield batch
