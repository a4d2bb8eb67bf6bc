"""The files that a server would have written: listed in SQL, and limited in number a query.

The rows themselves stay where they are; only what `system.parquet_files` lists is kept, for that
table and for the limit of files that a query may read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import dropwhile

from influxops_devserver.storage.rows import Row

_EARLIEST = -(2**63)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a table, times in nanoseconds since 1970."""

    path: str
    rows: int
    first: int
    last: int


class Files:
    """All files of so many nanoseconds (`span`), by the ids of databases and tables.

    With half as many flushes as `snapshot_size` again in the log, rows that are older than the span
    of the newest one leave it for files; with three times as many, all do.
    """

    def __init__(self, snapshot_size: int, span: int) -> None:
        self._snapshot_size = snapshot_size
        self._span = span
        self._flushes = 0
        # The last time of the rows of each flush that is in the log.
        self._log: list[int] = []
        self._last = _EARLIEST
        self._files: dict[tuple[int, int], list[File]] = {}
        # What is in the log alone: how many rows, the first and the last time, by table and span.
        self._coming: dict[tuple[int, int, int], list[int]] = {}

    def add(self, database: int, table: int, rows: Iterable[Row]) -> None:
        """Take note of rows of the flush under way."""
        for moment, _, _ in rows:
            known = self._coming.get(key := (database, table, moment // self._span))
            if known is None:
                self._coming[key] = [1, moment, moment]
            else:
                known[0] += 1
                if moment < known[1]:
                    known[1] = moment
                elif moment > known[2]:
                    known[2] = moment
            if moment > self._last:
                self._last = moment

    def flushed(self) -> None:
        """End a flush, and write files where enough of them are in the log."""
        self._flushes += 1
        self._log.append(self._last)
        self._last = _EARLIEST
        size = self._snapshot_size
        if len(self._log) >= 3 * size:
            end, kept = max(self._log) // self._span + 1, []
        elif len(self._log) >= size + size // 2:
            end = self._log[-1] // self._span
            kept = list(dropwhile(lambda last: last < end * self._span, self._log))
        else:
            return
        if len(kept) < len(self._log):
            self._log = kept
            self._write_files(end)

    def of(self, database: int, table: int) -> list[File]:
        """Return the files of a table."""
        return self._files.get((database, table), [])

    def _write_files(self, end: int) -> None:
        """Write what is in the log for spans before this one to files."""
        for key in [key for key in self._coming if key[2] < end]:
            database, table, span = key
            rows, first, last = self._coming.pop(key)
            path = f"n1/dbs/{database}/{table}/{span}/{self._flushes:010}.parquet"
            self._files.setdefault((database, table), []).append(File(path, rows, first, last))
