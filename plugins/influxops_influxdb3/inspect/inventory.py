"""Databases as the inventory query has them, when deleted ones were deleted, and markers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from influxops.plugin import UNKNOWN, Database, Marker, RunContext, Unknown
from influxops_influxdb3 import queries
from influxops_influxdb3.errors import (
    AccessRefused,
    BadRequest,
    NotFound,
    QueryFileLimit,
    Unreadable,
)
from influxops_influxdb3.http.thread_map import in_flight
from influxops_influxdb3.naming_rules import MARKER_TABLE, marker_time
from influxops_influxdb3.queries import read_timestamp

if TYPE_CHECKING:
    from influxops_influxdb3.http.client import Client

#: What a deleted database is called: its name, and when it was deleted, in UTC.
_DELETED = re.compile(r"(.+)-(\d{8}T\d{6})(?:-\d+)?")
#: For so long, and a second for the fraction that a name lacks, a database of the same name may
#: lose what is written to it.
_FRESHLY_DELETED = timedelta(seconds=11)
_NANOSECONDS = 1_000_000_000
#: Queries under way at once, where each database is asked.
QUERIES = 4


def is_internal(name: str) -> bool:
    """Return whether a database is the server's own: no tenant's may begin with an underscore."""
    return name.startswith("_")


def read_inventory(rows: Iterable[dict[str, object]]) -> dict[str, Database]:
    """Read the inventory query's rows: one a database and table, null fields left out."""
    found: dict[str, Database] = {}
    # Of a hundred thousand databases few differ in what is known of them.
    alike: dict[tuple[int | None, bool, bool], Database] = {}
    for row in rows:
        name = row.get("database_name", "")
        name = name if isinstance(name, str) else str(name)
        if not name or is_internal(name) or row.get("deleted"):
            continue
        period, table = row.get("retention_period_ns"), row.get("table_name")
        retention = period // _NANOSECONDS if isinstance(period, int) else None
        is_marked, is_used = table == MARKER_TABLE, table not in (None, MARKER_TABLE)
        if (known := found.get(name)) is not None:
            retention = None if known.retention is UNKNOWN else known.retention
            is_marked = is_marked or known.complete is True
            is_used = is_used or known.in_use is True
        key = retention, is_marked, is_used
        found[name] = alike.get(key) or alike.setdefault(key, Database(*key))
    return found


def count_tables(rows: Iterable[dict[str, object]]) -> int:
    """Return how many tables the inventory query's databases have together."""
    counts = (row.get("tables") for row in rows if not row.get("deleted"))
    return sum(count for count in counts if isinstance(count, int))


class Deleted(Struct, frozen=True):
    """The newest deleted database of a name."""

    at: datetime  # when it was deleted, to the second
    until: datetime | None  # when its data goes; None for never

    def is_fresh(self, now: datetime) -> bool:
        """Return whether it was deleted moments ago.

        What is written to a database of the same name may be lost with what the deleted one still
        had in the server's memory, although every answer is good.
        """
        return now - self.at < _FRESHLY_DELETED


def read_deleted(rows: Iterable[dict[str, object]]) -> dict[str, Deleted]:
    """Read the inventory query's rows of deleted databases, by their former names."""
    found: dict[str, Deleted] = {}
    for row in rows:
        if not row.get("deleted"):
            continue
        match = _DELETED.fullmatch(str(row.get("database_name")))
        at = read_timestamp(match[2]) if match is not None else None
        if match is not None and at is not None:
            each = Deleted(at, read_timestamp(row.get("hard_deletion_time")))
            found[match[1]] = max(each, found.get(match[1], each), key=lambda each: each.at)
    return found


class MarkerCheck:
    """Looks for markers in one run, which has sent those of the databases `sent`."""

    def __init__(self, client: Client, context: RunContext, sent: Collection[str]) -> None:
        self._client, self._context, self._sent = client, context, sent

    def verify(self, databases: dict[str, Database], names: Collection[str]) -> None:
        """Read the markers of some databases themselves, where their table is not missing."""
        asked = [name for name in names if name in databases and databases[name].complete]

        def read(name: str) -> bool | Unknown:
            return self.is_complete(name, databases[name])

        for name, is_complete in in_flight(asked, read, limit=QUERIES):
            # The table stays as long as the database, even where the row does not.
            marked = databases[name].complete
            databases[name] = replace(databases[name], complete=is_complete, marked=marked)

    def is_complete(self, name: str, database: Database) -> bool | Unknown:
        """Return whether a database holds the row of its marker, and what it proves if not."""
        try:
            if self._client.query(self._context, name, queries.MARKER):
                return True
        except (NotFound, AccessRefused, QueryFileLimit):
            return UNKNOWN
        except BadRequest as error:
            return False if queries.NO_MARKER_TABLE.search(error.server_message) else UNKNOWN
        except Unreadable as error:
            # A refused line has left a table without rows, which a good one completes; what else
            # hinders reading may hide the marker.
            return False if queries.NO_TIME.search(error.server_message) else UNKNOWN
        return self.without_row(name, database)

    def without_row(self, name: str, database: Database) -> bool | Unknown:
        """Return what it proves that the row of a marker is not there, where its table is.

        A retention period takes the row away and leaves its table. Only where this run has sent
        it, and it cannot be that old, was it lost.
        """
        if isinstance(database.retention, int) and name in self._sent:
            age = datetime.now(UTC) - marker_time(self._context.started)
            return False if age < timedelta(seconds=database.retention) else UNKNOWN
        return False if database.retention is None else UNKNOWN


def oldest_marker(client: Client, context: RunContext, name: str) -> Marker | None:
    """Read the oldest marker of a database; return None where none of ours can be read."""
    try:
        # Another program's table of that name may have other columns.
        rows = client.query(context, name, queries.OLDEST_MARKER)
    except (NotFound, AccessRefused, BadRequest, QueryFileLimit, Unreadable):
        return None
    row = rows[0] if rows else {}
    at = read_timestamp(row.get("time"))
    if at is None or row.get("source") != "provisioning":
        return None
    return Marker(str(row.get("tenant", "")), at)
