"""The write-ahead log: rows wait for its next flush, which makes them durable and visible.

There is one log for the whole server. A flush takes everything that came before it, so a write
that waits for a flush is a barrier for all writes before it that did not.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Container

from influxops_demo.standin.journal import Journal
from influxops_demo.standin.rows import Batch, Rows


class WriteAheadLog:
    """Collects rows and flushes them at every tick of its interval.

    Args:
        journal: where flushed rows are kept.
        interval: seconds between two flushes.
        tables: database and table of what still exists; rows of anything else are forgotten.
    """

    def __init__(
        self, journal: Journal, interval: float, tables: Container[tuple[int, int]]
    ) -> None:
        self.rows = Rows()
        self._journal = journal
        self._interval = interval
        self._pending: list[Batch] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        useless = total = 0
        for database, table, rows in journal.read():
            total += len(rows)
            if (database, table) in tables:
                useless += self.rows.add([(database, table, rows)])
            else:
                useless += len(rows)
        # Rewriting costs as much as reading: it is worth it once half of the file is of no use.
        if useless * 2 > total:
            journal.rewrite(self.rows.batches())
        else:
            journal.resume()

    async def write(self, batches: list[Batch], *, wait: bool) -> None:
        """Takes rows, and where asked waits until they are durable and can be queried."""
        self._pending.extend(batches)
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
        """Makes all rows so far durable and visible, and lets go who waits for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending, self._pending = self._pending, []
        waiting, self._waiting = self._waiting, []
        failure: OSError | None = None
        try:
            self._journal.append(pending)
            self.rows.add(pending)
        except OSError as error:
            failure = error
        for flushed in waiting:
            if flushed.cancelled():
                continue
            if failure is None:
                flushed.set_result(None)
            else:
                flushed.set_exception(failure)

    def close(self) -> None:
        """Flushes what is there and closes the journal."""
        self.flush()
        self._journal.close()
