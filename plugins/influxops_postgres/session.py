"""One connection, one read-only transaction: as few round trips as there are questions."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from influxops import Run, SourceError
from influxops_postgres.errors import connection_error, query_error
from influxops_postgres.parameters import password, resolve
from influxops_postgres.settings import PostgresSettings

Row = dict[str, Any]
Connection = psycopg.Connection[Row]

#: Seconds between two looks at whether the run was cancelled.
_WATCH = 0.1
#: The type char(n), whose padding is no part of the value.
_CHAR = 1042


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
        # No prepared statements: a pooler between us and the server may not keep them.
        return psycopg.connect(
            **keywords, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )
    except psycopg.Error as error:
        run.check()
        raise connection_error(error, parameters.text, timeout) from error


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

        Returns:
            The names of the columns, and the rows.

        Raises:
            SourceError: When it gives no rows, not even none, or text that is not UTF-8.
        """
        self.run.check()
        result = self.connection.execute(query).pgresult
        if result is None or result.status != psycopg.pq.ExecStatus.TUPLES_OK:
            raise SourceError(
                f"{self.place}: the query gives no rows", hint="write one SELECT in `query`"
            )
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]

        padded = [result.ftype(column) == _CHAR for column in range(result.nfields)]

        def read() -> Iterator[tuple[str | None, ...]]:
            for row in range(result.ntuples):
                yield tuple(
                    self._text(result.get_value(row, column), pad)
                    for column, pad in enumerate(padded)
                )

        return names, read()

    def _text(self, value: bytes | None, padded: bool) -> str | None:
        try:
            text = None if value is None else value.decode()
            return text.rstrip(" ") if text and padded else text
        except UnicodeDecodeError:
            raise SourceError(
                f"{self.place}: {value!r} is not UTF-8",
                hint="the database is SQL_ASCII, so PostgreSQL converts nothing: correct the row",
            ) from None


@contextlib.contextmanager
def reading(settings: PostgresSettings, run: Run) -> Iterator[Session]:
    """Open a read-only transaction on a connection of its own.

    Raises:
        SourceError: When the server cannot be reached or fails; the message says why.
        Interrupted: When the run is over.
    """
    place = resolve(settings).text
    with contextlib.closing(connect(settings, run)) as connection, _watched(connection, run):
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
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {}"
    ).format(math.ceil(1000 * (limit or 0)))


@contextlib.contextmanager
def _watched(connection: Connection, run: Run) -> Iterator[None]:
    """Cancel what the connection is at, as soon as the run is cancelled."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH):
            if run.cancelled:
                with contextlib.suppress(psycopg.Error):
                    connection.cancel_safe(timeout=5)

    thread = threading.Thread(target=watch, name="influxops-postgres-cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
