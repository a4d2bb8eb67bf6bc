"""One connection to PostgreSQL whose waits end with the run."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from influxops.plugin import CancelToken, RunContext, WaitTimeout
from influxops_postgres.connection.errors import NoAnswer, connection_error
from influxops_postgres.connection.settings import LONGEST_STATEMENT, ConnectionSettings

Row = dict[str, Any]

#: Seconds that the server has to take note of a cancellation, and then to act on it.
_CANCEL, _CANCELLED = 1.0, 0.25
#: Seconds to connect where no run says how long that may take.
_CONNECT = 5


class Connection(psycopg.Connection[Row]):
    """A connection whose waits all end with the run, or after some seconds each.

    The server keeps `statement_timeout` by itself, but one that fell silent keeps nothing, and
    neither does a pooler that has no connection to it to lend.
    """

    _context: RunContext | None = None
    _seconds: float | None = None

    def limit(self, context: RunContext, seconds: float | None) -> None:
        """Let waits end with a run, and after so many seconds each; None for any time."""
        self._context, self._seconds = context, seconds

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for what psycopg is doing, which raises its errors also when the run is over."""
        if self._context is None:
            return super().wait(gen, *args, **kwargs)
        with _ending(self._context, self, self._seconds) as ending:
            try:
                return super().wait(gen, *args, **kwargs)
            except psycopg.Error as error:
                if self._seconds is not None and isinstance(ending.error, WaitTimeout):
                    raise NoAnswer(f"no answer within {self._seconds:g} s") from error
                raise


def connect(settings: ConnectionSettings, context: RunContext) -> Connection:
    """Connect, as long as the run may take, in autocommit mode."""
    timeout = context.time_left(settings.connect_timeout or None)
    keywords = settings.keywords()
    if timeout is not None:
        keywords["connect_timeout"] = min(math.ceil(timeout), LONGEST_STATEMENT)
    try:
        connection = _dial(keywords, context)
    except psycopg.Error as error:
        context.check()
        raise connection_error(error, timeout, settings) from error
    connection.limit(context, settings.longest_wait)
    return connection


def statement_limit(settings: ConnectionSettings, context: RunContext) -> int:
    """Return what a transaction's statement_timeout is, in milliseconds; 0 for none.

    It is set in the transaction and not by a connection's options: those would replace PGOPTIONS,
    and poolers refuse them.
    """
    limit = context.time_left(settings.statement_timeout or None)
    return math.ceil(1000 * min(limit or 0, LONGEST_STATEMENT))


def async_keywords(settings: ConnectionSettings) -> dict[str, Any]:
    """Return what psycopg takes for an asynchronous connection, the password included."""
    # No prepared statements: a pooler in between may not keep them.
    return {"connect_timeout": _CONNECT, **settings.keywords(), "prepare_threshold": None}


def _dial(keywords: Mapping[str, Any], context: RunContext) -> Connection:
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
        return context.run_abandonable(dial)
    except BaseException:
        with deciding:
            left_behind.set()
            for connection in made:
                connection.close()
        raise


@contextlib.contextmanager
def _ending(
    context: RunContext, connection: Connection, seconds: float | None
) -> Iterator[CancelToken]:
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

    with context.on_end(abort, within=seconds) as ending:
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
