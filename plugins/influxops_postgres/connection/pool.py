"""Connections that outlive one run, to be taken again by the next one."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator

import psycopg

from influxops.plugin import RunContext
from influxops_postgres.connection.connection import Connection, connect
from influxops_postgres.connection.errors import NoAnswer
from influxops_postgres.connection.settings import ConnectionSettings

#: Seconds for which an idle connection is used again; what is in between forgets it later.
_MAX_IDLE = 60.0
#: Seconds that an idle connection may take to show that it still works.
_PROBE = 3.0


class IdleConnections:
    """Connections that are kept for the next transactions of the same plugin instance."""

    def __init__(self) -> None:
        # One operation on it at a time needs no lock.
        self._idle: deque[tuple[Connection, float]] = deque()
        self._closed = False

    def take(self, settings: ConnectionSettings, context: RunContext) -> Connection | None:
        """Return a connection that works; None where there is none."""
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:
                break
            try:
                if time.monotonic() - since < _MAX_IDLE:
                    connection.limit(context, _PROBE)
                    connection.execute("SELECT 1")
                    connection.limit(context, settings.longest_wait)
                    return connection
            except psycopg.Error as error:  # the server may have closed it
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
        """Close them, and each that is still to be kept."""
        self._closed = True
        self._close_all()

    def _close_all(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[0].close()


@contextlib.contextmanager
def connected(
    settings: ConnectionSettings, context: RunContext, idle: IdleConnections | None = None
) -> Iterator[Connection]:
    """Connect for as long as the block and the run last.

    It is in autocommit mode, and its rows are dictionaries. One that `idle` lends goes back there
    if the block ends well and outside of a transaction. What fails is raised as `settings.error`.
    """
    connection = idle.take(settings, context) if idle is not None else None
    if connection is None:
        connection = connect(settings, context)
    ended_well = False
    try:
        yield connection
        status = connection.info.transaction_status
        ended_well = status == psycopg.pq.TransactionStatus.IDLE
    finally:
        if ended_well and idle is not None:
            idle.keep(connection)
        else:
            connection.close()
