"""One connection, one read-only transaction: as few round trips as there are questions."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from msgspec import Struct
from psycopg import sql
from psycopg.rows import dict_row

from influxops.plugin import Context, Ending, LateAnswer, Remedy, SourceError
from influxops_postgres.connection.conninfo import resolve
from influxops_postgres.connection.errors import NoAnswer, connection_error, query_error
from influxops_postgres.connection.settings import (
    LONGEST_STATEMENT,
    ConnectionSettings,
    PostgresSettings,
)

Row = dict[str, Any]

#: Seconds that the server has to take note of a cancellation, and then to act on it.
_CANCEL, _CANCELLED = 1.0, 0.25
#: Seconds for which a kept connection is used again; what stands between forgets it later.
_KEPT = 60.0
#: Seconds that a kept connection may take to show that it still works.
_WORKS = 3.0
#: The type char(n), whose padding is no part of the value.
_CHAR = 1042
_INTERVAL = 1186
# As the IntervalStyle `postgres` writes it. Months and years have no match, for they have no
# length: such a text is left as it is, and the engine holds the one tenant that has it.
_FIXED_INTERVAL = re.compile(r"(?=.)(?:(\d+) days?)?(?:(?:^| )(\d+):(\d\d):(\d\d))?", re.ASCII)


class Connection(psycopg.Connection[Row]):
    """A connection whose waits all end with the run, or after some seconds each.

    The server keeps `statement_timeout` by itself, but one that fell silent keeps nothing, and
    neither does a pooler that has no connection to it to lend.
    """

    _context: Context | None = None
    _seconds: float | None = None

    def limit(self, context: Context, seconds: float | None) -> None:
        """Let waits end with a run.

        Args:
            context: The run.
            seconds: The seconds that each wait may take; None for as many as the run has.
        """
        self._context, self._seconds = context, seconds

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for what psycopg is at.

        Raises:
            NoAnswer: When the server says nothing for so long.
            psycopg.Error: What psycopg raises, also when the run is over.
        """
        if self._context is None:
            return super().wait(gen, *args, **kwargs)
        with _ending(self._context, self, self._seconds) as ending:
            try:
                return super().wait(gen, *args, **kwargs)
            except psycopg.Error as error:
                if self._seconds is not None and isinstance(ending.error, LateAnswer):
                    raise NoAnswer(f"no answer within {self._seconds:g} s") from error
                raise


def connect(settings: ConnectionSettings, context: Context) -> Connection:
    """Connect, as long as the run may take.

    Raises:
        SourceError: When that fails; the message says why.
        ConfigError: When the password cannot be read.
        Interrupted: When the run is over.
    """
    parameters = resolve(settings)
    timeout = context.remaining(settings.connect_timeout or None)
    keywords = settings.keywords()
    if timeout is not None:
        keywords["connect_timeout"] = min(math.ceil(timeout), LONGEST_STATEMENT)
    try:
        connection = _dial(keywords, context)
    except psycopg.Error as error:
        context.check()
        raise connection_error(error, parameters.text, timeout, settings) from error
    connection.limit(context, settings.longest_wait)
    return connection


def _dial(keywords: Mapping[str, Any], context: Context) -> Connection:
    """Connect in a thread that is left behind with the run: nothing ends a silent name server."""
    made: list[Connection] = []
    deciding, left_behind = threading.Lock(), threading.Event()

    def dial() -> Connection:
        # No prepared statements: a pooler between us and the server may not keep them.
        connection = Connection.connect(
            **keywords, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )
        with deciding:
            made.append(connection)
            if left_behind.is_set():
                connection.close()
        return connection

    try:
        return context.detached(dial)
    except BaseException:
        with deciding:
            left_behind.set()
            for connection in made:
                connection.close()
        raise


class Texts(Struct, frozen=True):
    """What a query gave, as text."""

    names: list[str]  # of its columns
    rows: Iterator[tuple[str | None, ...]]
    after: Row  # of the query that ran right after it


class Session(Struct, frozen=True):
    """A read-only transaction in which every statement sees the same data."""

    connection: Connection
    settings: PostgresSettings
    context: Context
    place: str  # who reads where, for messages

    def row(self, query: sql.Composed | sql.SQL, values: Mapping[str, Any] | None = None) -> Row:
        """Return the one row of a query."""
        return self.rows(query, values)[0]

    def rows(
        self, query: sql.Composed | sql.SQL, values: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Return the rows of a query, with values of Python's types."""
        self.context.check()
        return self.connection.execute(query, values).fetchall()

    def texts(self, query: sql.Composed | bytes, after: sql.SQL) -> Texts:
        """Run a query whose values are wanted as PostgreSQL writes them, whatever their types.

        But for an `interval` without months, which becomes whole seconds as `2592000s`, the way
        that influxops reads durations.

        Args:
            query: The query.
            after: A query that gives one row; it runs right after in the same round trip.

        Raises:
            SourceError: When it gives no rows, not even none, or text that is not UTF-8.
        """
        self.context.check()
        # A pipeline sends it by the extended protocol, which takes one statement only: a second
        # one could end the read-only transaction before its result is looked at.
        with self.connection.pipeline():
            cursor = self.connection.execute(query)
            following = self.connection.execute(after)
        result = cursor.pgresult
        if result is None or result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise SourceError(
                f"{self.place}: the query gives no rows",
                hint=Remedy.setting("query", "write one SELECT in {}"),
            )
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        types = [result.ftype(column) for column in range(result.nfields)]

        def read() -> Iterator[tuple[str | None, ...]]:
            for row in range(result.ntuples):
                yield tuple(
                    self._text(result.get_value(row, column), type_)
                    for column, type_ in enumerate(types)
                )

        row = following.fetchone()
        assert row is not None, "it gives one row"
        return Texts(names, read(), row)

    def _text(self, value: bytes | None, type_: int) -> str | None:
        if value is None:
            return None
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise SourceError(
                f"{self.place}: {value!r} is not UTF-8",
                hint="the database is SQL_ASCII, so PostgreSQL converts nothing: correct the row",
            ) from None
        if type_ == _CHAR:
            return text.rstrip(" ")
        return _seconds(text) if type_ == _INTERVAL else text


def _seconds(interval: str) -> str:
    """Return an interval as whole seconds; one that has months or fractions stays as it is."""
    match = _FIXED_INTERVAL.fullmatch(interval)
    if match is None:
        return interval
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return f"{86_400 * days + 3_600 * hours + 60 * minutes + seconds}s"


class Kept:
    """Connections that are kept for the next transactions of the same instance."""

    def __init__(self) -> None:
        # One operation on it at a time needs no lock.
        self._idle: deque[tuple[Connection, float]] = deque()
        self._closed = False

    def take(self, settings: ConnectionSettings, context: Context) -> Connection | None:
        """Return a connection that works; None where there is none.

        Args:
            settings: What it leads to.
            context: The run that takes it.
        """
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                break
            try:
                if time.monotonic() - since < _KEPT:
                    connection.limit(context, _WORKS)
                    connection.execute("SELECT 1")
                    connection.limit(context, settings.longest_wait)
                    return connection
            except psycopg.Error as error:  # the server has closed it meanwhile, perhaps
                connection.close()
                context.check()
                if isinstance(error, NoAnswer):
                    self._close_all()  # the others would be waited for one after the other
            except BaseException:
                connection.close()
                raise
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        """Keep a connection whose transaction has ended well."""
        self._idle.append((connection, time.monotonic()))
        if self._closed:
            self.close()

    def close(self) -> None:
        """Let go of them."""
        self._closed = True
        self._close_all()

    def _close_all(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[0].close()


@contextlib.contextmanager
def connected(
    settings: ConnectionSettings, context: Context, kept: Kept | None = None
) -> Iterator[Connection]:
    """Connect for as long as the block and the run last.

    Args:
        settings: Where.
        context: The run.
        kept: Has connections, and keeps this one if the block ends well.

    Raises:
        SourceError: When that fails; the message says why.
        Interrupted: When the run is over.
    """
    connection = kept.take(settings, context) if kept is not None else None
    if connection is None:
        connection = connect(settings, context)
    ended_well = False
    try:
        yield connection
        idle = psycopg.pq.TransactionStatus.IDLE
        ended_well = connection.info.transaction_status == idle
    finally:
        if ended_well and kept is not None:
            kept.keep(connection)
        else:
            connection.close()


@contextlib.contextmanager
def reading(
    settings: PostgresSettings, context: Context, kept: Kept | None = None
) -> Iterator[Session]:
    """Open a read-only transaction on a connection of its own.

    Args:
        settings: Where.
        context: The run.
        kept: Has connections, and keeps this one, where there are any to be kept.

    Raises:
        SourceError: When the server cannot be reached or fails; the message says why.
        Interrupted: When the run is over.
    """
    place = resolve(settings).text
    with connected(settings, context, kept) as connection:
        try:
            connection.execute(_begin(settings, context))
            yield Session(connection, settings, context, place)
            connection.execute("COMMIT")
        except psycopg.Error as error:
            context.check()
            raise query_error(error, place, settings) from error


def _begin(settings: PostgresSettings, context: Context) -> sql.Composed:
    """Return what opens the transaction and limits it, in one round trip.

    Not by connection options: those would replace PGOPTIONS, and poolers refuse them.
    """
    limit = context.remaining(settings.statement_timeout or None)
    return sql.SQL(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL intervalstyle = postgres; "
        "SET LOCAL statement_timeout = {}"
    ).format(math.ceil(1000 * min(limit or 0, LONGEST_STATEMENT)))


@contextlib.contextmanager
def _ending(context: Context, connection: Connection, seconds: float | None) -> Iterator[Ending]:
    """End what the connection is at when its time is up, whether the server answers or not.

    What waits for the server then gets a `psycopg.Error`.
    """
    done = threading.Event()
    cutting = threading.Lock()

    def abort() -> None:
        # So that the server stops working on it. An older libpq cannot give this up in time.
        if not done.is_set() and psycopg.capabilities.has_cancel_safe():
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL)
        if not done.wait(_CANCELLED):
            with cutting:
                if not done.is_set():
                    cut(connection)

    with context.ends(abort, within=seconds) as ending:
        try:
            yield ending
        finally:
            with cutting:  # the connection's number may soon be another's
                done.set()


def cut(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Break a connection under what waits for it."""
    with (
        contextlib.suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
