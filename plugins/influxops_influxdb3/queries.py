"""The SQL that servers are asked, and how SQL has names, texts and times."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct

from influxops.plugin import TargetError

#: The table that the tenant's devices fill.
TELEMETRY_TABLE: Final = "telemetry"
#: A statement names no more databases, or tables.
MAX_DATABASES: Final = 500
MAX_TABLES: Final = 50

#: The first and the last time that there is, in nanoseconds since 1970.
FIRST: Final = -(2**63)
LAST: Final = 2**63 - 1
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Databases, in `_internal` ---------------------------------------------------------------------

#: The column that says when the data of a deleted database goes: as releases call it, the newest
#: first. The oldest ones have none.
DELETION_COLUMNS = ("hard_deletion_time", "hard_deletion_date", "")
#: What a release answers that has no such column.
NO_DELETION_COLUMN = re.compile(r"no field named \S*hard_deletion_", re.IGNORECASE)
#: The tables of all databases.
TABLE_COUNT = "SELECT COUNT(*) AS n FROM system.tables WHERE deleted = false"


def inventory(deletion_column: str, names: Iterable[str] | None = None) -> str:
    """Ask for databases, their retention periods, and how many tables they have.

    Only valid `names` are asked for, with all deleted databases, whose names these may be. The
    `deletion_column` is one of `DELETION_COLUMNS`.
    """
    until = f"d.{deletion_column} AS hard_deletion_time, " if deletion_column else ""
    sql = (
        f"SELECT d.database_name, d.retention_period_ns, d.deleted, {until}t.table_name, t.tables "
        "FROM system.databases d LEFT JOIN (SELECT database_name, CASE table_name "
        "WHEN '_init' THEN '_init' ELSE 'others' END AS table_name, COUNT(*) AS tables "
        "FROM system.tables WHERE deleted = false GROUP BY 1, 2) t "
        "ON d.database_name = t.database_name"
    )
    if names is None:
        return f"{sql} ORDER BY d.database_name, t.table_name"
    named = ", ".join(f"'{name}'" for name in names)
    return f"{sql} WHERE d.database_name IN ({named}) OR d.deleted = true"


def retention_of(database: str) -> str:
    """Ask for the retention period of a database; no row where there is no such database."""
    return (
        "SELECT retention_period_ns FROM system.databases "
        f"WHERE deleted = false AND database_name = {literal(database)}"
    )


def tables_of(database: str) -> str:
    """Ask for the tables of a database, with the tags of their series keys."""
    return (
        "SELECT table_name, series_key_columns FROM system.tables "
        f"WHERE deleted = false AND database_name = {literal(database)}"
    )


def table_names(databases: Iterable[str] | None) -> str:
    """Ask for the tables of some databases, or of all."""
    sql = "SELECT database_name, table_name FROM system.tables WHERE deleted = false"
    if databases is None:
        return sql
    return f"{sql} AND database_name IN ({', '.join(map(literal, databases))})"


def in_batches(names: Iterable[str], most: int = MAX_TABLES) -> Iterator[list[str]]:
    """Divide names, of tables if nothing is said, into those that one statement has."""
    found = [*names]
    return (found[at : at + most] for at in range(0, len(found), most))


# What is in one database -----------------------------------------------------------------------

MARKER = "SELECT time FROM _init LIMIT 1"
OLDEST_MARKER = "SELECT * FROM _init ORDER BY time LIMIT 1"
NO_MARKER_TABLE = re.compile(r"table '[^']*\b_init' not found", re.IGNORECASE)
NO_TIME = re.compile(r"no field named time|should have a time column", re.IGNORECASE)
NO_TABLE = re.compile(r"table '.*' not found", re.IGNORECASE)

#: The tables, with how many columns `time` each has: one, or none.
TABLES_WITH_TIME = (
    "SELECT table_name, SUM(CASE WHEN column_name = 'time' THEN 1 ELSE 0 END) AS times "
    "FROM information_schema.columns WHERE table_schema = 'iox' GROUP BY table_name"
)
COLUMNS = (
    "SELECT table_name, column_name, data_type FROM information_schema.columns "
    "WHERE table_schema = 'iox'"
)


def columns_of(table: str) -> str:
    """Ask for the columns of one table."""
    return f"{COLUMNS} AND table_name = {literal(table)}"


# Where no table is named, a server tells a file once for each database that it has, under the name
# that a table with the same number has there. So each table is named, in a SELECT of its own.


def files_of(tables: Iterable[str]) -> str:
    """Ask for the files of some tables."""
    return " UNION ALL ".join(
        "SELECT table_name, min_time, max_time, row_count FROM system.parquet_files "
        f"WHERE table_name = {literal(table)}"
        for table in tables
    )


def file_totals(tables: Iterable[str]) -> str:
    """Ask how many files each of some tables has, and what they tell."""
    return " UNION ALL ".join(
        f"SELECT {literal(table)} AS name, COUNT(*) AS files, SUM(row_count) AS rows, "
        f"MAX(max_time) AS last FROM system.parquet_files WHERE table_name = {literal(table)}"
        for table in tables
    )


def row_count(table: str, after: int | None) -> str:
    """Ask for the number of rows, all or those after a time in nanoseconds, and the newest time."""
    bound = "" if after is None else f" WHERE time > '{format_time(after)}'"
    return (
        f"SELECT {literal(table)} AS name, COUNT(*) AS count, MAX(time) AS last "
        f"FROM {quoted(table)}{bound}"
    )


def extent(table: str, span: Span) -> str:
    """Ask for the number of rows in a range of time, and for their first and last time."""
    return (
        "SELECT COUNT(*) AS n, MIN(time) AS first, MAX(time) AS last "
        f"FROM {quoted(table)} WHERE {span.condition}"
    )


def counts(tables: Iterable[str]) -> str:
    """Ask for the number of rows of each of some tables, and their newest time, at once."""
    return " UNION ALL ".join(row_count(name, None) for name in tables)


def rows_by_time(tables: Iterable[str], since: datetime, until: datetime, step: int) -> str:
    """Ask for the number of rows in each span of time, a row a table and span.

    A span has `step` seconds, and begins at a multiple of that since 1970; `since` and `until`
    count to the second.
    """
    bounds = f"time >= '{_to_the_second(since)}' AND time < '{_to_the_second(until)}'"
    return " UNION ALL ".join(
        f"SELECT date_bin(INTERVAL '{int(step)} seconds', time) AS span, COUNT(*) AS count "
        f"FROM {quoted(table)} WHERE {bounds} GROUP BY 1"
        for table in tables
    )


def rows_of(table: str, columns: Collection[str], infinite: Mapping[str, str], span: Span) -> str:
    """Ask for the rows in a range of time; `infinite` is `Table.infinite`."""
    shown = [quoted(name) for name in columns]
    for alias, name in infinite.items():
        column = quoted(name)
        shown.append(
            f"CASE WHEN {column} = CAST('inf' AS DOUBLE) THEN 1 "
            f"WHEN {column} = CAST('-inf' AS DOUBLE) THEN -1 END AS {quoted(alias)}"
        )
    shown.append("time")
    return f"SELECT {', '.join(shown)} FROM {quoted(table)} WHERE {span.condition}"


# Names, texts and times ------------------------------------------------------------------------


class Span(Struct, frozen=True):
    """A half-open range of time, in nanoseconds since 1970; its end may be LAST + 1."""

    start: int
    end: int

    @property
    def condition(self) -> str:
        """The condition in SQL that is true for it."""
        bounds = []
        if self.start > FIRST:
            bounds.append(f"time >= '{format_time(self.start)}'")
        if self.end <= LAST:
            bounds.append(f"time < '{format_time(self.end)}'")
        return " AND ".join(bounds) or "true"

    def halves(self) -> tuple[Span, Span]:
        """Divide it in the middle."""
        middle = (self.start + self.end) // 2
        return Span(self.start, middle), Span(middle, self.end)

    @property
    def is_moment(self) -> bool:
        """Whether it cannot be divided."""
        return self.end - self.start <= 1


ALL: Final = Span(FIRST, LAST + 1)


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def format_time(time: int) -> str:
    """Return a time in nanoseconds since 1970 as SQL reads it."""
    seconds, rest = divmod(time, _SECOND)
    return f"{_second_text(seconds)}.{rest:09}Z"


def parse_time(text: Any) -> int:
    """Read a time as the server writes it, in UTC without saying so, in nanoseconds since 1970."""
    try:
        seconds = _second_number(text[:19])
        return seconds * _SECOND + int(text[20:].removesuffix("Z").ljust(9, "0") or 0)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise TargetError(f"the server gave {text!r} as the time of a row") from None


def text_of(row: Mapping[str, Any], column: str) -> str:
    """Return a text of a row; raise a TargetError where the server left the column out."""
    if row.get(column) is None:
        raise TargetError(f"the server gave a row without {column}")
    return str(row[column])


def number_of(row: Mapping[str, Any], column: str) -> int:
    """Return a whole number of a row; raise a TargetError where it is none."""
    found = row.get(column)
    if not isinstance(found, int):
        raise TargetError(f"the server gave a row whose {column} is no number")
    return found


def read_timestamp(text: object) -> datetime | None:
    """Read a time of the server: UTC without saying so, down to the nanosecond."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _to_the_second(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@lru_cache(maxsize=4096)
def _second_number(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    days = moment.toordinal() - _EPOCH.toordinal()
    return days * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    day = datetime.fromordinal(_EPOCH.toordinal() + days)
    return f"{day:%Y-%m-%d}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
