"""One side of a copy: a database on a server, and what is asked of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from influxops.plugin import Context, TargetError
from influxops_influxdb3.client import Client
from influxops_influxdb3.copy_lines import (
    ALL,
    FIRST,
    LAST,
    Digest,
    Lines,
    Span,
    Table,
    literal,
    parse_time,
    quoted,
    table_of,
)
from influxops_influxdb3.errors import QueryFileLimit
from influxops_influxdb3.marker import MARKER_TABLE

_DATABASE = (
    "SELECT retention_period_ns FROM system.databases WHERE deleted = false AND database_name = {}"
)
_TABLES = (
    "SELECT table_name, series_key_columns FROM system.tables "
    "WHERE deleted = false AND database_name = {}"
)
_TABLE_COUNT = "SELECT COUNT(*) AS n FROM system.tables WHERE deleted = false"
_COLUMNS = (
    "SELECT column_name, data_type FROM information_schema.columns "
    "WHERE table_schema = 'iox' AND table_name = {}"
)
_FILES = (
    "SELECT min_time, max_time, row_count FROM system.parquet_files "
    "WHERE table_name = {} ORDER BY min_time"
)
_SECOND = 1_000_000_000


class Extent(Struct, frozen=True):
    """How many rows there are, and the first and the last time of them; zeros without any."""

    count: int = 0
    first: int = 0
    last: int = 0


class File(Struct, frozen=True):
    """One file of a table."""

    first: int  # the time of its first row
    last: int  # the time of its last row
    rows: int


class Side:
    """A database on a server.

    Args:
        client: The server.
        context: The run.
        database: The database's name.
    """

    def __init__(self, client: Client, context: Context, database: str) -> None:
        self.client = client
        self.database = database
        self._context = context
        self.uuid = ""
        self.process: str | None = None
        self.edition: str | None = None
        #: The server's clock is ahead of this machine's by so many nanoseconds.
        self._ahead = 0

    @property
    def name(self) -> str:
        """The database and where it is."""
        return f"{self.database} on {self.client.url}"

    def meet(self) -> None:
        """Learn which server and process is there, and what its clock says."""
        ping = self.client.ping(self._context)
        self.uuid = self.client.cluster_uuid or ""
        self.process, self.edition = ping.process_id, ping.edition
        if ping.clock is not None:
            ahead = (ping.clock - datetime.now(UTC)).total_seconds()
            # The header has whole seconds.
            self._ahead = int(ahead * _SECOND) if abs(ahead) > 2 else 0

    def now(self) -> int:
        """Return the time by the server's clock."""
        return int(datetime.now(UTC).timestamp()) * _SECOND + self._ahead

    def retention(self) -> int | None:
        """Return the retention period in nanoseconds, None where data is kept for ever.

        Raises:
            TargetError: When there is no such database.
        """
        rows = self._read_database()
        if not rows:
            raise TargetError(f"there is no database {self.name}")
        period = rows[0].get("retention_period_ns")
        return period if isinstance(period, int) else None

    def exists(self) -> bool:
        """Return whether the database is there."""
        return bool(self._read_database())

    def _read_database(self) -> list[dict[str, Any]]:
        sql = _DATABASE.format(literal(self.database))
        return self.client.query(self._context, "_internal", sql)

    def tables(self) -> dict[str, str]:
        """Return the series key of each table, by name; without the marker's."""
        sql = _TABLES.format(literal(self.database))
        rows = self.client.query(self._context, "_internal", sql)
        found = {str(r["table_name"]): str(r.get("series_key_columns", "")) for r in rows}
        found.pop(MARKER_TABLE, None)
        return dict(sorted(found.items()))

    def table_count(self) -> int:
        """Return how many tables the server holds, in all databases."""
        return int(self.client.query(self._context, "_internal", _TABLE_COUNT)[0]["n"])

    def table(self, name: str) -> Table:
        """Return the columns of a table, none where it is not there."""
        sql = _COLUMNS.format(literal(name))
        rows = self.client.query(self._context, self.database, sql)
        return table_of(name, ((str(r["column_name"]), str(r["data_type"])) for r in rows))

    def files(self, table: str) -> Iterator[File]:
        """Yield the files of a table by the time of their first row."""
        for rows in self.client.rows(self._context, self.database, _FILES.format(literal(table))):
            for row in rows:
                yield File(int(row["min_time"]), int(row["max_time"]), int(row["row_count"]))

    def extent(self, table: str, span: Span) -> Extent:
        """Count the rows of a table in a range of time.

        Raises:
            QueryFileLimit: When these are too many files for the server.
        """
        sql = (
            "SELECT COUNT(*) AS n, MIN(time) AS first, MAX(time) AS last "
            f"FROM {quoted(table)} WHERE {span.condition}"
        )
        row = self.client.query(self._context, self.database, sql)[0]
        if not row.get("n"):
            return Extent()
        return Extent(int(row["n"]), parse_time(row["first"]), parse_time(row["last"]))

    def count(self, table: str, span: Span) -> int:
        """Count the rows of a table in a range of time, whatever the files it takes."""
        try:
            return self.extent(table, span).count
        except QueryFileLimit:
            if span.is_moment:
                raise
            return sum(self.count(table, half) for half in span.halves())

    def total(self, table: str) -> int:
        """Return about how many rows a table has, in few queries whatever its files."""
        first, last, rows = LAST, FIRST, 0
        for file in self.files(table):
            first, last, rows = min(first, file.first), max(last, file.last), rows + file.rows
        beyond = (Span(FIRST, first), Span(last + 1, LAST + 1)) if rows else (ALL,)
        return rows + sum(self.count(table, span) for span in beyond)

    def rows(self, table: Table, span: Span) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a table in a range of time, some at a time, in no order.

        Raises:
            ConnectionFailed: Also when they break off.
            QueryFileLimit: When a single moment is in too many files for the server.
        """
        try:
            for rows in self.client.rows(self._context, self.database, table.select(span)):
                self._context.check()
                yield rows
        except QueryFileLimit:
            if span.is_moment:
                raise
        else:
            return
        for half in span.halves():
            yield from self.rows(table, half)

    def digest(self, table: Table, span: Span) -> Generator[None, None, Digest]:
        """Read the rows of a table in a range of time, and return their digest.

        A table without columns is none.
        """
        digest = Digest()
        if table.columns:
            lines = Lines(table)
            for rows in self.rows(table, span):
                digest.add(lines.of(rows))
                yield
        return digest


#: Bytes of a request's body; the server takes 10 MiB, and each one is held in memory.
_BODY = 2 * 1024 * 1024


class Writer:
    """Writes lines to a database, without waiting until they are durable.

    The last body is kept back, for it to be the barrier that makes all before it durable.

    Args:
        side: Where to.
        context: The run.
    """

    def __init__(self, side: Side, context: Context) -> None:
        self._side = side
        self._context = context
        self._lines: list[bytes] = []
        self._size = 0
        self._restarted = False
        self.rows = 0
        self.bytes = 0

    @property
    def added(self) -> int:
        """How many rows were written, or are still to be sent."""
        return self.rows + len(self._lines)

    def add(self, lines: Iterable[bytes]) -> None:
        """Write lines, sooner or later."""
        for line in lines:
            if self._size + len(line) >= _BODY and self._lines:
                self._send(no_sync=True)
            self._lines.append(line)
            self._size += len(line) + 1

    def barrier(self) -> bool:
        """Write what is left and wait until all is durable.

        Returns:
            Whether it is; False where the server was started anew meanwhile, so that what was
            written may be lost.
        """
        if self._lines:
            self._send(no_sync=False)
            self._look()
        restarted, self._restarted = self._restarted, False
        return not restarted

    def forget(self) -> None:
        """Forget what is left."""
        self._lines, self._size = [], 0

    def _look(self) -> None:
        """See that it is still the same server, and whether it is the same process.

        Raises:
            WrongServer: When it is another one.
        """
        process = self._side.process
        self._side.meet()
        self._restarted |= self._side.process != process

    def _send(self, *, no_sync: bool) -> None:
        # A write would make the database on another server, before that one is known by its answer.
        self._look()
        side, lines = self._side, self._lines
        body = b"\n".join(lines)
        side.client.write(self._context, side.database, body, no_sync=no_sync, exact=True)
        self.rows += len(lines)
        self.bytes += len(body)
        self.forget()
