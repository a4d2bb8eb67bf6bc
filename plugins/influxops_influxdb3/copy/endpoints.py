"""One side of a copy: a database on a server, and what is asked of it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from influxops.plugin import RunContext, TargetError
from influxops_influxdb3 import queries
from influxops_influxdb3.copy.interface import Extent, Fingerprint
from influxops_influxdb3.copy.line_protocol import LineEncoder, Parts, Table, as_rows, table_of
from influxops_influxdb3.copy.line_writer import LineWriter
from influxops_influxdb3.copy.slices import in_slices, smaller
from influxops_influxdb3.errors import (
    AlreadyExists,
    ConnectionFailed,
    InfluxDBError,
    QueryFileLimit,
    ServerFailed,
)
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.http.thread_map import read_ahead
from influxops_influxdb3.inspect.parquet_files import (
    File,
    files_by_table,
    fingerprint,
    usable_limit,
)
from influxops_influxdb3.naming_rules import MARKER_TABLE
from influxops_influxdb3.queries import ALL, FIRST, LAST, Span, number_of, parse_time, text_of

_SECOND = 1_000_000_000
#: Seconds for which it is believed what one question told of the files and rows of all tables, and
#: how many files are remembered: with more, each table is asked about.
_FRESH, _MOST_FILES = 60.0, 20_000
#: Parts of an answer, of 64 KiB, that are fetched while the one before is worked on.
_READ_AHEAD = 8


class CopyEndpoint:
    """A database on a server."""

    def __init__(self, client: Client, context: RunContext, database: str) -> None:
        self.client = client
        self.database = database
        self._context = context
        self.uuid = ""
        self.process: str | None = None
        self.edition: str | None = None
        #: The server's clock is ahead of this machine's by so many nanoseconds.
        self._ahead = 0
        self._columns: dict[str, list[tuple[str, str]]] | None = None
        #: False once `system.parquet_files` did not answer: it is not asked again.
        self._lists_files = True
        # What one question told of all tables, and when. It only spares further questions: what
        # comes after it is in the slices all the same, and what has become too much is divided.
        self._all_files: dict[str, list[File]] | None = None
        self._counts: Mapping[str, Extent] | None = None
        self._asked_at = -math.inf
        self._alone = set[str]()  # tables that are each asked about, since one of them is broken

    @property
    def name(self) -> str:
        """The database and where it is."""
        return f"{self.database} on {self.client.url}"

    @property
    def place(self) -> str:
        """Where it is."""
        return self.client.url

    @property
    def file_limit(self) -> int:
        """How many files one query may touch."""
        return self.client.file_limit

    def writer(self) -> LineWriter:
        """Return what writes to it."""
        return LineWriter(self.client, self._context, self.database, self._was_restarted)

    def _was_restarted(self) -> bool:
        """Ask which process answers by now, and return whether it is another one than before."""
        process = self.process
        self.handshake()
        return self.process != process

    def handshake(self) -> None:
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
        """Return the retention period in nanoseconds, None where data is kept for ever."""
        rows = self._read_database()
        if not rows:
            raise TargetError(f"there is no database {self.name}")
        period = rows[0].get("retention_period_ns")
        return period if isinstance(period, int) else None

    def exists(self) -> bool:
        """Return whether the database is there."""
        return bool(self._read_database())

    def _read_database(self) -> list[dict[str, Any]]:
        return self.client.query(self._context, "_internal", queries.retention_of(self.database))

    def tables(self) -> dict[str, str]:
        """Return the series key of each table, by name; without the marker's."""
        rows = self.client.query(self._context, "_internal", queries.tables_of(self.database))
        found = {text_of(r, "table_name"): str(r.get("series_key_columns", "")) for r in rows}
        found.pop(MARKER_TABLE, None)
        self._asked_at = -math.inf
        # A table that was dropped keeps its columns, under another name.
        columns = self._read_columns(queries.COLUMNS)
        self._columns = {name: columns[name] for name in found if name in columns}
        return dict(sorted(found.items()))

    def _read_columns(self, sql: str) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = {}
        for rows in self.client.rows(self._context, self.database, sql):
            for row in rows:
                columns = found.setdefault(text_of(row, "table_name"), [])
                columns.append((text_of(row, "column_name"), text_of(row, "data_type")))
        found.pop(MARKER_TABLE, None)
        return found

    def table(self, name: str, *, refresh: bool = False) -> Table:
        """Return the columns of a table, as `tables` read them unless they are to be refreshed."""
        if self._columns is not None and refresh:
            found = self._read_columns(queries.columns_of(name))
            self._columns[name] = found.get(name, [])
        return table_of(name, self._read_all_columns().get(name, ()))

    def _read_all_columns(self) -> dict[str, list[tuple[str, str]]]:
        if self._columns is None:
            self._columns = self._read_columns(queries.COLUMNS)
        return self._columns

    def like(self, table: Table) -> Table:
        """Return this side's own table of that name, read again where it lacked columns."""
        known = self.table(table.name)
        if known.may_have_rows and table.columns.keys() <= known.columns.keys():
            return known
        return self.table(table.name, refresh=True)

    def make_table(self, table: Table, tags: Sequence[str] | None) -> None:
        """Make a table, with its tags in this order.

        One without tags is made by its first row, and so is one whose order is not known.
        """
        if tags:
            with contextlib.suppress(AlreadyExists):
                database = self.database
                self.client.create_table(self._context, database, table.name, tags, table.fields)
            # They are read again when they are asked for: once for all tables that are made.
            self._columns = None

    def files(self, table: str, *, refresh: bool = False) -> list[File] | None:
        """Return the files of a table; None where they are not known."""
        if not self._lists_files:
            return None
        if time.monotonic() - self._asked_at > _FRESH:
            names = sorted({table, *self._read_all_columns()})
            found = files_by_table(
                self.client, self._context, self.database, names, most=_MOST_FILES
            )
            self._all_files, self._counts, self._asked_at = found, None, time.monotonic()
        if self._all_files is not None and table in self._all_files and not refresh:
            return self._all_files[table]
        found = files_by_table(self.client, self._context, self.database, [table])
        self._lists_files = found is not None
        return None if found is None else found[table]

    def fingerprint(self, tables: Iterable[str]) -> Fingerprint | None:
        """Return what changes with the files and rows of tables; None where it is not known."""
        names = frozenset(tables)
        files = fingerprint(self.client, self._context, self.database, names)
        return Fingerprint(files, self._extents(names)) if files else None

    def _extents(self, names: frozenset[str]) -> dict[str, Extent]:
        """Count the rows of tables, without those that cannot be read."""
        found = self._count_tables(sorted(names))
        for name in sorted(names - found.keys()):
            try:
                ask = partial(self.extent, name)
                parts = [e for e in in_slices(self.client, self.files(name), ask) if e.count]
            except (ConnectionFailed, ServerFailed, QueryFileLimit) as error:
                if isinstance(error, ConnectionFailed) and not error.is_of_query:
                    raise
                continue
            last = max((extent.last for extent in parts), default=0)
            found[name] = Extent(sum(extent.count for extent in parts), last=last)
        return found

    def known_count(self, table: str) -> int | None:
        """Return how many rows a table had that is in no file, where one question tells of many.

        One question that counts many tables spares one for each of them.
        """
        if self.files(table) != [] or self._all_files is None:
            return None
        if self._counts is None:
            self._counts = self._count_tables(self._without_files())
        found = self._counts.get(table)
        return None if found is None else found.count

    def _without_files(self) -> list[str]:
        return [
            name
            for name, columns in sorted((self._columns or {}).items())
            if not (self._all_files or {}).get(name)
            and any(column == "time" for column, _ in columns)
        ]

    def _count_tables(self, names: Iterable[str]) -> dict[str, Extent]:
        """Count the rows of tables that have few files, and tell their last time."""
        found: dict[str, Extent] = {}
        for some in self._batches(names):
            self._context.check()
            try:
                sql = queries.counts(some)
                rows = self.client.query(self._context, self.database, sql, retries=0)
            except InfluxDBError:
                # One of them that cannot be read is the end of the question.
                self._alone.update(some)
                continue
            for row in rows:
                number = number_of(row, "count")
                last = parse_time(row.get("last")) if number else 0
                found[text_of(row, "name")] = Extent(number, last=last)
        return found

    def _batches(self, names: Iterable[str]) -> Iterator[list[str]]:
        """Divide tables into those that one question may touch; leave out those of many files."""
        some, touched, most = list[str](), 0, usable_limit(self.client.file_limit)
        for name in names:
            files = self.files(name)
            if files is None or len(files) > most or name in self._alone:
                continue
            if some and (len(some) == queries.MAX_TABLES or touched + len(files) > most):
                yield some
                some, touched = [], 0
            some.append(name)
            touched += len(files)
        if some:
            yield some

    def extent(self, table: str, span: Span) -> Extent:
        """Count the rows of a table in a range of time."""
        rows = self.client.query(self._context, self.database, queries.extent(table, span))
        row = rows[0] if rows else {}
        if not (number := number_of(row, "n")):
            return Extent()
        return Extent(number, parse_time(row.get("first")), parse_time(row.get("last")))

    def count(self, table: str, span: Span, files: Sequence[File] | None = None) -> int:
        """Count the rows of a table in a range of time, in as many queries as it takes."""
        found = in_slices(self.client, files, partial(self.extent, table), span)
        return sum(extent.count for extent in found)

    def total(self, table: str, *, exactly: bool = True) -> tuple[int, bool]:
        """Return how many rows a table has, in few queries whatever its files, or only at most.

        Files count a row twice that was written twice. With `exactly`, what is in no file, before
        and after all of them, is counted too.
        """
        files = self.files(table)
        if not files:
            known = self.known_count(table)
            return self.count(table, ALL) if known is None else known, False
        rows = sum(file.rows for file in files)
        if exactly:
            first, last = min(file.first for file in files), max(file.last for file in files)
            for span in (Span(FIRST, first), Span(last + 1, LAST + 1)):
                rows += self.count(table, span) if span.start < span.end else 0
        return rows, True

    def sample(self, table: Table, limit: int) -> list[dict[str, Any]]:
        """Return some rows of a table, at most `limit`: of its newest file, if it has one."""
        files = self.files(table.name)
        newest = max(files, key=lambda file: file.last, default=None) if files else None
        span = ALL if newest is None else Span(newest.first, newest.last + 1)

        def read(part: Span) -> list[dict[str, Any]]:
            sql = f"{table.select(part)} LIMIT {limit}"
            return self.client.query(self._context, self.database, sql)

        return next(filter(None, in_slices(self.client, files, read, span)), [])

    def rows(
        self, table: Table, span: Span, decode: Callable[[bytes], list[Any]] = as_rows
    ) -> Iterator[list[Any]]:
        """Yield the rows of a table in a range of time, some at a time, in no order.

        They are on their way from now on, before the first is taken.

        Raises:
            ConnectionFailed: Also when they break off.
            QueryFileLimit: When a single moment is in too many files for the server.
        """
        return read_ahead(self._rows(table, span, decode), _READ_AHEAD)

    def _rows(
        self, table: Table, span: Span, decode: Callable[[bytes], list[Any]]
    ) -> Generator[list[Any]]:
        todo = [span] if table.may_have_rows else []
        while todo:
            part = todo.pop()
            try:
                # What is refused is refused before a row comes.
                sql = table.select(part)
                answer = self.client.rows(self._context, self.database, sql, decode=decode)
                for rows in answer:
                    self._context.check()
                    yield rows
            except QueryFileLimit:
                if part.is_moment:
                    raise
                files = self.files(table.name, refresh=True)
                todo += reversed(smaller(files, self.client.file_limit, part))

    def lines(self, encoder: LineEncoder, span: Span) -> Iterator[list[bytes]]:
        """Yield the lines of the rows of a table in a range of time, some at a time."""
        return map(encoder.lines, self.rows(encoder.table, span, encoder.decode))

    def parts(self, encoder: LineEncoder, span: Span) -> Iterator[list[Parts]]:
        """Yield the same as parts of lines."""
        return ([*map(encoder.parts, rows)] for rows in self.rows(encoder.table, span))
