"""The files that a server would have written: who asks sees them listed, and limited.

The rows themselves stay where they are; only what `system.parquet_files` tells is kept, and how
many files a query would have to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from influxops_demo.standin.errors import ApiError
from influxops_demo.standin.rows import Row

#: A file has the rows of so many nanoseconds: ten minutes.
_SPAN = 600 * 10**9
_TABLE = re.compile(r'\bFROM\s+(?:iox\.)?("(?:[^"]|"")+"|\w+)', re.IGNORECASE)
_BOUND = re.compile(r"\btime\s*(>=|>|<=|<)\s*'([^']+)'", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class File:
    """A file of a table, times in nanoseconds since 1970."""

    path: str
    rows: int
    first: int
    last: int


class Files:
    """All files, by the ids of database and table.

    Args:
        snapshot_size: After so many flushes of the log, what was flushed is in files.
    """

    def __init__(self, snapshot_size: int) -> None:
        self._snapshot_size = snapshot_size
        self._flushes = 0
        self._files: dict[tuple[int, int], list[File]] = {}
        # What is to be in files: how many rows, the first and the last time, by table and span.
        self._coming: dict[tuple[int, int, int], list[int]] = {}

    def add(self, database: int, table: int, rows: Iterable[Row]) -> None:
        """Take note of rows that were flushed."""
        for moment, _, _ in rows:
            known = self._coming.get(key := (database, table, moment // _SPAN))
            if known is None:
                self._coming[key] = [1, moment, moment]
            else:
                known[0] += 1
                if moment < known[1]:
                    known[1] = moment
                elif moment > known[2]:
                    known[2] = moment

    def flushed(self) -> None:
        """Count a flush; every so often, what was flushed goes into files."""
        self._flushes += 1
        if self._flushes % self._snapshot_size:
            return
        coming, self._coming = self._coming, {}
        for (database, table, span), (rows, first, last) in coming.items():
            files = self._files.setdefault((database, table), [])
            path = f"n1/dbs/{database}/{table}/{span}/{self._flushes:010}.parquet"
            files.append(File(path, rows, first, last))

    def of(self, database: int, table: int) -> list[File]:
        """Return the files of a table."""
        return self._files.get((database, table), [])


def check_limit(sql: str, files: dict[str, list[File]], limit: int) -> None:
    """Refuse a query that would read more files than it may.

    The server looks at what it knows of the times that a query asks for. Here these are the
    literals that it holds the time against.

    Args:
        sql: The query.
        files: The files of each table of its database, by name.
        limit: How many it may read.

    Raises:
        ApiError: It would read more.
    """
    start, end = -(2**63), 2**63
    for comparison, text in _BOUND.findall(sql):
        try:
            moment = _nanoseconds(text)
        except ValueError:
            continue
        if comparison.startswith(">"):
            start = max(start, moment + (comparison == ">"))
        else:
            end = min(end, moment + (comparison == "<="))
    for named in _TABLE.findall(sql):
        name = named[1:-1].replace('""', '"') if named.startswith('"') else named.lower()
        found = sum(file.first < end and file.last >= start for file in files.get(name, ()))
        if found > limit:
            raise ApiError(
                500,
                f"External error: Query would scan {found} Parquet files, exceeding the file "
                "limit. InfluxDB 3 Core caps file access to prevent performance degradation and "
                "memory issues. Use a narrower time range, or increase the limit with "
                "--query-file-limit (this may cause slower queries or instability).",
            )


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.fromisoformat(seconds).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)
