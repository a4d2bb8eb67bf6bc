"""The write-ahead log: rows wait for its next flush, which makes them durable and visible.

There is one log for the whole server. A flush takes everything that came before it, so a write
that waits for a flush is a barrier for all writes before it that did not.
"""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from influxops_demo.standin.catalog import Database
from influxops_demo.standin.line_protocol import Value
from influxops_demo.standin.storage import Change, Storage

Row = tuple[int, dict[str, str], dict[str, Value]]
"""Time in nanoseconds since 1970, tags, fields."""


@dataclass(slots=True)
class TableRows:
    """The rows of one table that can be queried, by time and series."""

    rows: dict[str, Row] = field(default_factory=dict)
    version: int = 0

    def add(self, row: Row) -> tuple[str, Row]:
        """Add a row, and return it with its key.

        A point that is written again adds none: its fields replace those that are there.
        """
        moment, tags, fields = row
        key = json.dumps([moment, *sorted(tags.items())])
        known = self.rows.get(key)
        if known is not None:
            # A new row, never a changed one: a query may be reading the old one.
            row = (moment, tags, {**known[2], **fields})
        self.rows[key] = row
        self.version += 1
        return key, row


class WriteAheadLog:
    """Buffers rows and flushes them at every tick of its interval.

    Args:
        storage: Where flushed rows are kept.
        interval: Seconds between two flushes.
    """

    def __init__(self, storage: Storage, interval: float) -> None:
        self._storage = storage
        self._interval = interval
        self._tables: dict[tuple[int, int], TableRows] = {}
        # By the name of the database, with the id that it had when the first row came in. So does
        # the server: in a database that is deleted and made again between two flushes, new rows go
        # to the deleted one, and are lost.
        self._buffer: dict[str, tuple[int, list[tuple[int, Row]]]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        for database, table, moment, tags, fields in storage.load("row"):
            self.rows(database, table).add((moment, tags, fields))

    def rows(self, database: int, table: int) -> TableRows:
        """Return the rows of a table, by the ids of the two."""
        return self._tables.setdefault((database, table), TableRows())

    async def write(self, database: Database, rows: Mapping[int, list[Row]], *, wait: bool) -> None:
        """Take rows by the id of their table.

        Args:
            database: Where they belong.
            rows: The rows.
            wait: Whether to return only when they are durable and can be queried.

        Raises:
            sqlite3.Error: They cannot be made durable.
        """
        _, buffered = self._buffer.setdefault(database.name, (database.id, []))
        buffered += ((table, row) for table, added in rows.items() for row in added)
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
        """Make all rows so far durable and visible, and let go who waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        failure: sqlite3.Error | None = None
        try:
            self._storage.save(list(self._flushed()))
        except sqlite3.Error as error:
            failure = error
        for flushed in waiting:
            if flushed.cancelled():
                continue
            if failure is None:
                flushed.set_result(None)
            else:
                flushed.set_exception(failure)

    def _flushed(self) -> Iterator[Change]:
        buffer, self._buffer = self._buffer, {}
        for database, rows in buffer.values():
            for table, row in rows:
                key, merged = self.rows(database, table).add(row)
                yield "row", f"{database}/{table}/{key}", [database, table, *merged]
