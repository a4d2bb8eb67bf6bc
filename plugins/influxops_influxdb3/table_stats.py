"""How much is in each table of a database, and when it was last written to.

Three queries a database, whatever its tables: their columns, their files, and one statement that
counts all of them. A server refuses a query that touches more than its limit of files, three days
of a table by default. So a table with more of them is not counted: its files tell how many rows it
has at most, and only what is newer than they are is asked of the table itself. A table without a
column `time`, which a refused write leaves behind, holds no rows and cannot be asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from influxops.plugin import Context, TableStats, summarize, truncate
from influxops_influxdb3.copy_lines import format_time, literal, quoted
from influxops_influxdb3.errors import (
    AccessRefused,
    BadRequest,
    ConnectionFailed,
    InfluxDBError,
    QueryFileLimit,
    ServerFailed,
)
from influxops_influxdb3.target import read_timestamp
from influxops_influxdb3.time_bounds import most_files

if TYPE_CHECKING:
    from influxops_influxdb3.client import Client

_COLUMNS = (
    "SELECT table_name, SUM(CASE WHEN column_name = 'time' THEN 1 ELSE 0 END) AS times "
    "FROM information_schema.columns WHERE table_schema = 'iox' GROUP BY table_name"
)
_FILES = (
    "SELECT table_name, COUNT(*) AS files, SUM(row_count) AS rows, MAX(max_time) AS last "
    "FROM system.parquet_files GROUP BY table_name"
)
_TOO_MANY_FILES = "more files than this server's query-file-limit lets one query read: not counted"
_NO_TABLE = re.compile(r"table '.*' not found", re.IGNORECASE)
#: A statement asks for no more tables.
MOST_TABLES = 50
#: Where nothing tells of a table's files, and all of it is too much, its rows of so long are asked.
_PROBED = timedelta(days=1)
_NANOSECONDS = 1_000_000_000


class Contents(Struct, frozen=True):
    """What is in a database."""

    tables: Mapping[str, TableStats]  # by name, the marker's among them
    trouble: str = ""  # why something is not known


class _Files(Struct, frozen=True):
    """What a table's files tell; zeros where there are none, or nothing tells of them."""

    count: int = 0
    rows: int = 0  # a row that is in two of them is counted twice
    last: int = 0  # the newest time of a row, in nanoseconds since 1970


class _Part(Struct, frozen=True):
    """What one statement asks of one table."""

    table: str
    files: _Files
    after: int | None = None  # only rows that are newer, in nanoseconds since 1970; None: all

    @property
    def sql(self) -> str:
        bound = "" if self.after is None else f" WHERE time > '{format_time(self.after)}'"
        return (
            f"SELECT {literal(self.table)} AS name, COUNT(*) AS count, MAX(time) AS last "
            f"FROM {quoted(self.table)}{bound}"
        )


def table_names(client: Client, context: Context, database: str) -> dict[str, bool]:
    """Return the names of a database's tables, each with whether it has a column `time`.

    Raises:
        NotFound: When there is no such database.
    """
    rows = client.query(context, database, _COLUMNS)
    return {str(row["table_name"]): bool(row.get("times")) for row in rows}


def read_contents(client: Client, context: Context, database: str) -> Contents:
    """Count the rows of each table of a database.

    Args:
        client: The server.
        context: The run.
        database: The database's name.

    Raises:
        NotFound: When there is no such database.
        TargetError: When the server does not answer as it should.
    """
    return _Reading(client, context, database).read()


class _Reading:
    """One reading of one database."""

    def __init__(self, client: Client, context: Context, database: str) -> None:
        self._client, self._context, self._database = client, context, database
        self._trouble: dict[str, list[str]] = {}

    def read(self) -> Contents:
        names = table_names(self._client, self._context, self._database)
        found = {name: TableStats(name, 0) for name, has_time in names.items() if not has_time}
        asked = sorted(name for name, has_time in names.items() if has_time)
        files = self._files() if asked else {}
        most = most_files(self._client.file_limit)
        parts = [_part(name, files.get(name, _Files()), most) for name in asked]
        for batch in _batches(parts, most):
            found |= self._count(batch)
        reasons = (f"{summarize(names)}: {why}" for why, names in self._trouble.items())
        return Contents(found, "; ".join(reasons))

    def _files(self) -> dict[str, _Files]:
        """Return what the files tell, by table; nothing where the server does not answer that."""
        try:
            rows = self._client.query(self._context, self._database, _FILES, retries=1)
        except (AccessRefused, BadRequest, ConnectionFailed, ServerFailed) as error:
            self._context.log.debug("%s: its files are not known: %s", self._database, error.reason)
            return {}
        return {
            str(row["table_name"]): _Files(int(row["files"]), int(row["rows"]), int(row["last"]))
            for row in rows
        }

    def _count(self, parts: Sequence[_Part]) -> dict[str, TableStats]:
        """Count tables by one statement; by several where one of them hinders it."""
        sql = " UNION ALL ".join(part.sql for part in parts)
        try:
            # What one table hinders is soon asked again, without it.
            tries = 0 if len(parts) > 1 else 1
            rows = self._client.query(self._context, self._database, sql, retries=tries)
        except (BadRequest, QueryFileLimit, ServerFailed) as error:
            if len(parts) == 1:
                return {parts[0].table: self._without(parts[0], error)}
            middle = len(parts) // 2
            return self._count(parts[:middle]) | self._count(parts[middle:])
        told = {str(row["name"]): row for row in rows}
        return {part.table: self._stats(part, told.get(part.table, {})) for part in parts}

    def _without(self, part: _Part, error: InfluxDBError) -> TableStats:
        """Return what is known of a table that cannot be counted.

        Raises:
            ServerFailed: When it is no fault of the table's.
        """
        if isinstance(error, QueryFileLimit) and part.after is None:
            after = part.files.last if part.files.count else _a_while_ago()
            return self._count([replace(part, after=after)])[part.table]
        if isinstance(error, ServerFailed) and error.status != 500:
            raise error
        if isinstance(error, BadRequest) and _NO_TABLE.search(error.server_message):
            return TableStats(part.table, 0)  # it was dropped meanwhile
        why = _TOO_MANY_FILES if isinstance(error, QueryFileLimit) else error.reason
        self._trouble.setdefault(why, []).append(truncate(part.table))
        return TableStats(part.table)

    def _stats(self, part: _Part, row: Mapping[str, Any]) -> TableStats:
        rows, last = int(row.get("count", 0)), read_timestamp(row.get("last"))
        if part.after is None:
            return TableStats(part.table, rows, last_write=last)
        if not part.files.count:
            self._trouble.setdefault(_TOO_MANY_FILES, []).append(truncate(part.table))
            return TableStats(part.table, last_write=last)
        newest = last or _moment(part.files.last)
        return TableStats(part.table, part.files.rows + rows, at_most=True, last_write=newest)


def _part(name: str, files: _Files, most: int) -> _Part:
    return _Part(name, files, files.last if files.count > most else None)


def _a_while_ago() -> int:
    return int((datetime.now(UTC) - _PROBED).timestamp()) * _NANOSECONDS


def _batches(parts: Iterable[_Part], most: int) -> Iterator[list[_Part]]:
    """Divide what is asked into statements, each with few tables and so many files at most."""
    batch: list[_Part] = []
    files = 0
    for part in parts:
        touched = part.files.count if part.after is None else 0
        if batch and (len(batch) == MOST_TABLES or files + touched > most):
            yield batch
            batch, files = [], 0
        batch.append(part)
        files += touched
    if batch:
        yield batch


def _moment(nanoseconds: int) -> datetime:
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)
