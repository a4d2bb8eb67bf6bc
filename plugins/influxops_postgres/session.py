"""One connection, one read-only transaction: as few round trips as there are questions."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from influxops import Interrupted, Run, SourceError
from influxops_postgres.errors import connection_error, query_error
from influxops_postgres.parameters import password, resolve
from influxops_postgres.settings import PostgresSettings

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

#: Seconds between two looks at whether the run is over.
_WATCH = 0.1
#: Seconds that the server has to take note of a cancellation, and then to act on it.
_CANCEL, _CANCELLED = 1.0, 0.25
#: The type char(n), whose padding is no part of the value.
_CHAR = 1042
_INTERVAL = 1186
# As the IntervalStyle `postgres` writes it. Months and years have no match, for they have no
# length: such a text is left as it is, and the engine holds the one tenant that has it.
_FIXED_INTERVAL = re.compile(r"(?=.)(?:(\d+) days?)?(?:(?:^| )(\d+):(\d\d):(\d\d))?", re.ASCII)


def connect(settings: PostgresSettings, run: Run) -> Connection:
    """Connect, as long as the run may take.

    Raises:
        SourceError: When that fails; the message says why.
        ConfigError: When the password cannot be read.
        Interrupted: When the run is over.
    """
    parameters = resolve(settings)
    timeout = run.remaining(settings.connect_timeout or None)
    keywords: dict[str, Any] = {**parameters.keywords, "client_encoding": "UTF8"}
    if timeout is not None:
        keywords["connect_timeout"] = math.ceil(timeout)
    secret = password(settings, parameters)
    if secret is not None:
        keywords["password"] = secret
    try:
        return _dial(keywords, run)
    except psycopg.Error as error:
        run.check()
        raise connection_error(error, parameters.text, timeout) from error


def _dial(keywords: Mapping[str, Any], run: Run) -> Connection:
    """Connect in a thread of its own: a silent server or name server may keep that, not the run."""
    dialled: Future[Connection] = Future()

    def dial() -> None:
        try:
            # No prepared statements: a pooler between us and the server may not keep them.
            connection = psycopg.connect(
                **keywords, autocommit=True, prepare_threshold=None, row_factory=dict_row
            )
        except BaseException as error:
            dialled.set_exception(error)
        else:
            dialled.set_result(connection)

    threading.Thread(target=dial, name="influxops-postgres-connect", daemon=True).start()
    while not wait([dialled], _WATCH).done:
        try:
            run.check()
        except Interrupted:
            dialled.add_done_callback(_hang_up)
            raise
    return dialled.result()


def _hang_up(dialled: Future[Connection]) -> None:
    if dialled.exception() is None:
        dialled.result().close()


@dataclass(frozen=True, slots=True)
class Session:
    """A read-only transaction in which every statement sees the same data.

    Args:
        connection: The connection that it runs on.
        settings: The section's settings.
        run: The run that it works for.
        place: Who reads where, for messages.
    """

    connection: Connection
    settings: PostgresSettings
    run: Run
    place: str

    def row(self, query: sql.Composed | sql.SQL, values: Mapping[str, Any] | None = None) -> Row:
        """Run a query that gives one row."""
        return self.rows(query, values)[0]

    def rows(
        self, query: sql.Composed | sql.SQL, values: Mapping[str, Any] | None = None
    ) -> list[Row]:
        """Run a query whose values arrive as Python's."""
        self.run.check()
        return self.connection.execute(query, values).fetchall()

    def texts(
        self, query: sql.Composed | bytes
    ) -> tuple[list[str], Iterator[tuple[str | None, ...]]]:
        """Run a query whose values are wanted as PostgreSQL writes them, whatever their types.

        But for an `interval` without months, which becomes whole seconds as `2592000s`, the way
        that influxops reads durations.

        Returns:
            The names of the columns, and the rows.

        Raises:
            SourceError: When it gives no rows, not even none, or text that is not UTF-8.
        """
        self.run.check()
        # A pipeline sends it by the extended protocol, which takes one statement only: a second
        # one could end the read-only transaction before its result is looked at.
        with self.connection.pipeline():
            cursor = self.connection.execute(query)
        result = cursor.pgresult
        if result is None or result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise SourceError(
                f"{self.place}: the query gives no rows", hint="write one SELECT in `query`"
            )
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        types = [result.ftype(column) for column in range(result.nfields)]

        def read() -> Iterator[tuple[str | None, ...]]:
            for row in range(result.ntuples):
                yield tuple(
                    self._text(result.get_value(row, column), type_)
                    for column, type_ in enumerate(types)
                )

        return names, read()

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
    """Write an interval as whole seconds; one that has months or fractions stays as it is."""
    match = _FIXED_INTERVAL.fullmatch(interval)
    if match is None:
        return interval
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return f"{86_400 * days + 3_600 * hours + 60 * minutes + seconds}s"


@contextlib.contextmanager
def reading(settings: PostgresSettings, run: Run) -> Iterator[Session]:
    """Open a read-only transaction on a connection of its own.

    Raises:
        SourceError: When the server cannot be reached or fails; the message says why.
        Interrupted: When the run is over.
    """
    place = resolve(settings).text
    with contextlib.closing(connect(settings, run)) as connection, watched(connection, run):
        try:
            connection.execute(_begin(settings, run))
            yield Session(connection, settings, run, place)
            connection.execute("COMMIT")
        except psycopg.Error as error:
            run.check()
            raise query_error(error, place, settings) from error


def _begin(settings: PostgresSettings, run: Run) -> sql.Composed:
    """Open the transaction and limit it, in one round trip.

    Not by connection options: those would replace PGOPTIONS, and poolers refuse them.
    """
    limit = run.remaining(settings.statement_timeout or None)
    return sql.SQL(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL intervalstyle = postgres; "
        "SET LOCAL statement_timeout = {}"
    ).format(math.ceil(1000 * (limit or 0)))


@contextlib.contextmanager
def watched(connection: Connection, run: Run) -> Iterator[None]:
    """End what the connection is at as soon as the run is over, whether the server answers or not.

    Whoever waits for the server then gets a `psycopg.Error`.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH):
            if _is_over(run):
                break
        else:
            return
        # So that the server stops working on it. An older libpq cannot give this up in time.
        if psycopg.capabilities.has_cancel_safe():
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=_CANCEL)
        if not done.wait(_CANCELLED):
            _cut(connection)

    thread = threading.Thread(target=watch, name="influxops-postgres-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_over(run: Run) -> bool:
    try:
        run.check()
    except Interrupted:
        return True
    return False


def _cut(connection: Connection) -> None:
    """Break a connection under whoever waits for it in another thread."""
    with (
        contextlib.suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(connection.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)
