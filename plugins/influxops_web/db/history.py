"""The history of the ledger: what happened to a tenant, and what runs changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from influxops.domain.record import Event, HistoryEntry
from influxops_web.db.connect import Database

#: Rows of a page, and entries on a tenant's page.
RUNS_A_PAGE = 20
ENTRIES_A_PAGE = 100
ENTRIES_SHOWN = 50


class Line(Struct, frozen=True):
    """One line of the history."""

    id: int
    entry: HistoryEntry


class Run(Struct, frozen=True):
    """One run, and what it wrote into the history."""

    run: str
    last: int  # the id of its newest entry
    began: datetime
    who: str  # all who asked for what it did
    doors: str
    tenants: int  # how many tenants it changed something of
    events: Mapping[str, int]  # how often each event happened, and ended well
    failed: int  # how many entries did not end well


_LINES = (
    "id, at, run, who, door, event, tenant, target, database, before, after, outcome, message, "
    "times, last_at"
)
_HISTORY = f"""
SELECT {_LINES} FROM {{history}} WHERE namespace = %(namespace)s AND tenant = %(tenant)s
 ORDER BY id DESC LIMIT %(limit)s
"""
_OF_RUN = f"""
SELECT {_LINES} FROM {{history}} WHERE namespace = %(namespace)s AND run = %(run)s
   AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""

# From one entry to the newest one before it that is of none of the runs seen so far: what is read
# are the entries of the runs that are shown. One that goes on before the page is not shown again.
_RUNS = """
WITH RECURSIVE newest AS (
    (SELECT id, run, ARRAY[run] AS seen FROM {history} AS h
      WHERE namespace = %(namespace)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
        AND NOT EXISTS (SELECT FROM {history} WHERE run = h.run AND id >= %(before)s)
      ORDER BY id DESC LIMIT 1)
    UNION ALL
    SELECT h.id, h.run, newest.seen || h.run
      FROM newest CROSS JOIN LATERAL (
           SELECT id, run FROM {history} AS h
            WHERE namespace = %(namespace)s AND id < newest.id AND run <> ALL (newest.seen)
              AND NOT EXISTS (SELECT FROM {history} WHERE run = h.run AND id >= %(before)s)
            ORDER BY id DESC LIMIT 1) AS h
     WHERE cardinality(newest.seen) < %(limit)s
)
SELECT newest.run, max(e.id) AS last, min(e.at) AS began,
       coalesce(string_agg(DISTINCT nullif(e.who, ''), ', '), '') AS who,
       coalesce(string_agg(DISTINCT nullif(e.door, ''), ', '), '') AS doors,
       count(DISTINCT e.tenant) AS tenants,
       count(*) FILTER (WHERE e.outcome <> 'done') AS failed,
       coalesce((SELECT json_object_agg(event, times) FROM (
           SELECT event, count(*) AS times FROM {history}
            WHERE run = newest.run AND namespace = %(namespace)s AND outcome = 'done'
            GROUP BY event ORDER BY event
       ) AS counted), '{{}}'::json) AS events
  FROM newest JOIN {history} AS e ON e.run = newest.run AND e.namespace = %(namespace)s
 GROUP BY newest.run ORDER BY last DESC
"""


# The newest first, of one tenant or all.
_AUDITED = """
SELECT id, at, who, role, via, method, path, tenant, status, address FROM {operator_audit_log}
 WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
   AND (%(tenant)s = '' OR tenant = %(tenant)s)
 ORDER BY id DESC LIMIT %(limit)s
"""


async def audited(database: Database, tenant: str, before: int | None) -> list[dict[str, Any]]:
    """Read the newest lines of the audit log, of one tenant or all, `before` the id of one."""
    values = {"tenant": tenant, "before": before, "limit": ENTRIES_A_PAGE}
    return await database.rows(_AUDITED, values)


async def history(database: Database, tenant: str) -> list[Line]:
    """Read the newest entries about a tenant, the newest first."""
    values = {"tenant": tenant, "limit": ENTRIES_SHOWN}
    return [_line(row) for row in await database.rows(_HISTORY, values)]


async def runs(database: Database, before: int | None) -> list[Run]:
    """Read the newest runs that changed something, the newest first.

    With the id of an entry: only runs that were over `before` it.
    """
    values = {"before": before, "limit": RUNS_A_PAGE}
    return [Run(**row) for row in await database.rows(_RUNS, values)]


async def run(database: Database, id_: str, after: int) -> list[Line]:
    """Read what a run did `after` an entry (0 for the first page), the oldest first."""
    values = {"run": id_, "after": after, "limit": ENTRIES_A_PAGE + 1}
    return [_line(row) for row in await database.rows(_OF_RUN, values)]


def _line(row: Mapping[str, Any]) -> Line:
    values = {key: value for key, value in row.items() if key != "id"}
    return Line(row["id"], HistoryEntry(**{**values, "event": Event(row["event"])}))
