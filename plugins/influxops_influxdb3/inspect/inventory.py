"""What the inventory query's rows say: databases, deleted ones, and when these were deleted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from influxops.plugin import Database
from influxops_influxdb3.queries import read_timestamp

#: What a deleted database is called: its name, and when it was deleted, in UTC.
_DELETED = re.compile(r"(.+)-(\d{8}T\d{6})(?:-\d+)?")
#: For so long, a database of the same name may lose what is written to it.
_FRESHLY_DELETED = timedelta(seconds=10)
_NANOSECONDS = 1_000_000_000


def is_internal(name: str) -> bool:
    """Return whether a database is the server's own: no tenant's may begin with an underscore."""
    return name.startswith("_")


def read_inventory(rows: Iterable[dict[str, object]]) -> dict[str, Database]:
    """Read the inventory query's rows: one a database and table, null fields left out."""
    found: dict[str, tuple[int | None, set[str]]] = {}
    for row in rows:
        name = str(row.get("database_name", ""))
        if not name or is_internal(name) or row.get("deleted"):
            continue
        period = row.get("retention_period_ns")
        retention = period // _NANOSECONDS if isinstance(period, int) else None
        _, tables = found.setdefault(name, (retention, set()))
        if "table_name" in row:
            tables.add(str(row["table_name"]))
    return {
        name: Database(name, retention, "_init" in tables, bool(tables - {"_init"}))
        for name, (retention, tables) in found.items()
    }


def read_deleted(rows: Iterable[dict[str, object]]) -> dict[str, datetime | None]:
    """Return when the data of the newest deleted database of each name goes; None for never."""
    # Sorted by when they were deleted, so that the newest one of a name is the one that stays.
    found = sorted(_deleted(rows), key=lambda each: each[1])
    return {name: read_timestamp(row.get("hard_deletion_time")) for name, _, row in found}


def read_deleted_ago(rows: Iterable[dict[str, object]], now: datetime) -> dict[str, float]:
    """Return how many seconds ago the newest deleted database of each name was deleted."""
    newest = {
        name: read_timestamp(at) for name, at in sorted((n, at) for n, at, _ in _deleted(rows))
    }
    return {name: (now - at).total_seconds() for name, at in newest.items() if at is not None}


def freshly_deleted(rows: Iterable[dict[str, object]], now: datetime) -> set[str]:
    """Return the names of databases that were deleted moments ago.

    What is written to a database of the same name may be lost with what the deleted one still
    had in the server's memory, although every answer is good.
    """
    since = f"{now - _FRESHLY_DELETED:%Y%m%dT%H%M%S}"
    return {name for name, at, _ in _deleted(rows) if at >= since}


def _deleted(rows: Iterable[dict[str, object]]) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield the former name of each deleted database, when it was deleted, and its row."""
    for row in rows:
        match = _DELETED.fullmatch(str(row.get("database_name"))) if row.get("deleted") else None
        if match is not None:
            yield match[1], match[2], row
