"""Reads which Parquet files tables have: how many rows, and of which times.

A server refuses a query that touches more files than its limit. What is only in the write-ahead log
is in no file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from influxops.plugin import RunContext
from influxops_influxdb3 import queries
from influxops_influxdb3.errors import InfluxDBError, NotFound, WrongServer

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client

_T = TypeVar("_T")


class File(Struct, frozen=True):
    """One file of a table; times are nanoseconds since 1970."""

    first: int  # the time of its first row
    last: int  # the time of its last row
    rows: int  # its rows; one that is in several files is counted in each of them


class FileTotals(Struct, frozen=True):
    """All files of a table; zeros where it has none, or they are not known."""

    count: int = 0
    rows: int = 0  # a row that is in two of them is counted twice
    last: int = 0  # the newest time of a row, in nanoseconds since 1970


def files_by_table(
    client: Client,
    context: RunContext,
    database: str,
    tables: Collection[str],
    *,
    most: int | None = None,
) -> dict[str, list[File]] | None:
    """Return the files of tables, by name; None where they are not known, or more than that."""

    def read() -> dict[str, list[File]] | None:
        found: dict[str, list[File]] = {name: [] for name in tables}
        number = 0
        for sql in map(queries.files_of, queries.in_batches(tables)):
            for rows in client.rows(context, database, sql, retries=1):
                number += len(rows)
                if most is not None and number > most:
                    return None
                for row in rows:
                    found[str(row["table_name"])].append(_file(row))
        return found

    return _unless_unknown(context, database, read)


def fingerprint(client: Client, context: RunContext, database: str, tables: Collection[str]) -> str:
    """Return what changes with the files of tables; empty where they are not known.

    One question tells it of many tables; a server that refuses that is asked about each.
    """

    def read(named: Sequence[str]) -> tuple[int, int]:
        number = total = 0
        for rows in client.rows(context, database, queries.files_of(named), retries=1):
            for name, file in ((str(row["table_name"]), _file(row)) for row in rows):
                text = repr((name, file.first, file.last, file.rows)).encode()
                total += int.from_bytes(blake2b(text, digest_size=16).digest())
                number += 1
        return number, total

    known = []
    for some in queries.in_batches(sorted(tables)):
        for named in (some, *([name] for name in some)):
            one = _unless_unknown(context, database, partial(read, named))
            if one is not None:
                known.append(one)
                if named is some:
                    break
            elif len(named) == 1:
                return ""
    number = sum(number for number, _ in known)
    return f"{number} {sum(total for _, total in known) % (1 << 128):032x}"


def file_totals(
    client: Client, context: RunContext, database: str, tables: Collection[str]
) -> dict[str, FileTotals]:
    """Return what the files of each table tell, by name; nothing where they are not known."""

    def read() -> dict[str, FileTotals]:
        found = {}
        for sql in map(queries.file_totals, queries.in_batches(tables)):
            for row in client.query(context, database, sql, retries=1):
                numbers = (int(row.get(each, 0)) for each in ("files", "rows", "last"))
                found[str(row["name"])] = FileTotals(*numbers)
        return found

    return _unless_unknown(context, database, read) or {}


def usable_limit(limit: int) -> int:
    """Return how many files a query is to touch: some may come before it is sent."""
    return max(limit - limit // 16, 1)


def _file(row: Mapping[str, Any]) -> File:
    return File(int(row["min_time"]), int(row["max_time"]), int(row["row_count"]))


def _unless_unknown(context: RunContext, database: str, read: Callable[[], _T]) -> _T | None:
    """Return what is read of the files of a database; None where the server does not tell."""
    try:
        return read()
    except (NotFound, WrongServer):
        raise
    except (InfluxDBError, LookupError, TypeError, ValueError) as error:
        # It may even end its connection without an answer: that says nothing of other queries.
        context.check()
        context.log.debug("the files in %s are not known: %s", database, error)
        return None
