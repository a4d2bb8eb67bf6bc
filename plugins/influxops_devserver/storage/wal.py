"""The write-ahead log: rows wait for its next flush, which makes them durable and visible.

There is one log for the whole server. A flush takes everything that came before it, so a write
that waits for a flush is a barrier for all writes before it that did not. After a number of flushes
the server takes a snapshot: it writes what is in the log into files, by table and time.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Mapping
from typing import Any

from influxops_devserver.storage.catalog import Catalog, Database
from influxops_devserver.storage.documents import Change, DocumentStore
from influxops_devserver.storage.files import Files
from influxops_devserver.storage.rows import Row, TableRows

_Flush = list[tuple[int, int, list[Row]]]
"""Rows by the ids of their database and table."""


class WriteAheadLog:
    """Buffers rows and flushes them at every tick of its interval, in seconds."""

    def __init__(
        self, storage: DocumentStore, catalog: Catalog, interval: float, files: Files
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._interval = interval
        self._tables: dict[tuple[int, int], TableRows] = {}
        # By the name of the database, with the id that it had when the first row came in. So does
        # the server: where a database is deleted and created again between two flushes, new rows
        # go to the deleted one, and are lost.
        self._buffer: dict[str, tuple[int, dict[int, list[Row]]]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushes = 0
        self.files = files
        for flushed in storage.load("rows", _Flush):
            self._flushes += 1
            for database, table, rows in flushed:
                self._add(database, table, rows)
            self.files.flushed()

    def batches(self, database: Database, table: int) -> list[Any]:
        """Return the rows of a table as record batches."""
        columns = _columns(database, table)
        found = self._tables.get((database.id, table))
        return found.batches(columns) if found and columns else []

    async def write(self, database: Database, rows: Mapping[int, list[Row]], *, wait: bool) -> None:
        """Take rows by the id of their table; with `wait`, until they are durable and visible."""
        _, buffered = self._buffer.setdefault(database.name, (database.id, {}))
        for table, added in rows.items():
            buffered.setdefault(table, []).extend(added)
        loop = asyncio.get_running_loop()
        if self._timer is None:
            # The next tick of a clock that ticks whether or not there is something to flush.
            tick = math.floor(loop.time() / self._interval + 1) * self._interval
            self._timer = loop.call_at(tick, self.flush)
        if wait:
            flushed: asyncio.Future[None] = loop.create_future()
            self._waiting.append(flushed)
            await flushed

    def flush(self) -> None:
        """Make all rows so far durable and visible, and release the writes that wait for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        failure: sqlite3.Error | None = None
        changes = self._flushed()
        try:
            self._storage.save(changes)
        except sqlite3.Error as error:
            # Its number is the next one's: after a restart they are counted, and a count that is
            # lower than the last number would write over what was kept.
            self._flushes -= len(changes)
            failure = error
        for flushed in waiting:
            if flushed.cancelled():
                continue
            if failure is None:
                flushed.set_result(None)
            else:
                flushed.set_exception(failure)

    def _flushed(self) -> list[Change]:
        """Make the rows visible, and return what is to be saved of them."""
        buffer, self._buffer = self._buffer, {}
        flushed = [
            (database, table, rows)
            for database, tables in buffer.values()
            for table, rows in tables.items()
        ]
        if not flushed:
            return []
        for database, table, rows in flushed:
            self._add(database, table, rows)
        self._flushes += 1
        self.files.flushed()
        return [("rows", str(self._flushes), flushed)] if self._storage.keeps else []

    def _add(self, database: int, table: int, rows: list[Row]) -> None:
        found = self._catalog.databases.get(database)
        columns = _columns(found, table) if found else {}
        known = self._tables.setdefault((database, table), TableRows())
        known.add(rows, columns)
        self.files.add(database, table, rows)


def _columns(database: Database, table: int) -> dict[str, Any]:
    """Return the columns of a table by its id; a table that was deleted keeps its id."""
    return next((t.columns for t in database.tables.values() if t.id == table), {})
