"""What the console's pages read from the database: one query a part of a page.

Tenants are those of the service's table and those that only the ledger knows, which a registry
has for instance. All queries are bounded by what a page shows, but the list's: it counts what it
found, which is linear in the tenants.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from influxops.domain.record import Entry, Event, State
from influxops_web.place import Place

#: Rows of a page.
TENANTS_A_PAGE = 50
RUNS_A_PAGE = 20
ENTRIES_A_PAGE = 100
#: Entries of the history on a tenant's page, and tenants that wait on the fleet's.
ENTRIES_SHOWN = 50
DEVICES_SHOWN = 20
WAITING_SHOWN = 50

#: What the list can be filtered by beside the ledger's states.
UNRECORDED = "unrecorded"
STATUSES = ("active", "suspended")
STATES = (*(state.value for state in State), UNRECORDED)


class Names(Struct, frozen=True):
    """Where the tables are."""

    place: Place  # of the service's tables
    ledger: str  # the schema of the ledger
    namespace: str  # whose tenants are meant


class Asked(Struct, frozen=True):
    """Which tenants are wanted."""

    search: str = ""  # a part of an id or a name; empty for all
    state: str = ""  # a state of the ledger, or `unrecorded`; empty for all
    status: str = ""  # `active` or `suspended`; empty for all
    target: str = ""  # the name of a target; empty for all
    page: int = 1


class Row(Struct, frozen=True):
    """One tenant, as the tables have it."""

    tenant: str
    name: str | None = None  # None where the service's table has no such tenant, or no name
    status: str | None = None  # None where the service's table has no such tenant
    created_at: datetime | None = None
    state: str | None = None  # of its record; None without one
    target: str | None = None
    database: str | None = None
    other: str | None = None  # the target that it moves to, or that it left
    due: datetime | None = None  # when what is to be dropped may be dropped
    since: datetime | None = None
    made: datetime | None = None
    confirmed: datetime | None = None
    error: str | None = None  # why the last try failed; empty after a good one
    tries: int | None = None


class Listed(Struct, frozen=True):
    """One page of the list."""

    rows: list[Row]
    total: int  # how many there are on all pages
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // TENANTS_A_PAGE))


class Device(Struct, frozen=True):
    """One device of a tenant; what the table of devices has no column for is None."""

    device: str
    name: str | None
    status: str | None
    last_seen_at: datetime | None


class Devices(Struct, frozen=True):
    """The devices of a tenant."""

    total: int
    active: int | None  # None where the table does not tell
    last_seen_at: datetime | None
    first: list[Device]  # the first of them


class Line(Struct, frozen=True):
    """One line of the history."""

    id: int
    entry: Entry


class Run(Struct, frozen=True):
    """One run, and what it wrote into the history."""

    run: str
    first: int  # the ids of its oldest and newest entry
    last: int
    began: datetime
    ended: datetime
    who: str
    tenants: int  # how many tenants it changed something of
    events: Mapping[str, int]  # how often what happened
    failed: int  # how many entries did not end well


class Held(Struct, frozen=True):
    """What the ledger has recorded of one target."""

    target: str
    states: Mapping[str, int]  # how many tenants, by their state
    coming: int  # how many are on their way to it
    identity: str | None = None  # of the server that was read last
    read: datetime | None = None  # when it was last read in full

    @property
    def tenants(self) -> int:
        """How many databases it should hold."""
        return sum(self.states.values()) + self.coming


class Waiting(Struct, frozen=True):
    """A tenant that waits for its database."""

    tenant: str
    state: str
    target: str | None
    since: datetime | None
    error: str
    tries: int


# A page beyond the end has no rows, and still the number of all.
_LIST = """
WITH found AS (
    SELECT coalesce(t.tenant_id, r.tenant) COLLATE "C" AS tenant, t.name, t.status, t.created_at,
           r.state, r.target, r.database, r.other, r.due, r.since, r.made, r.confirmed, r.error,
           r.tries
      FROM {tenants} AS t
      FULL JOIN (SELECT * FROM {records} WHERE namespace = %(namespace)s) AS r
        ON r.tenant = t.tenant_id COLLATE "C"
     WHERE (%(state)s = '' OR coalesce(r.state, 'unrecorded') = %(state)s)
       AND (%(status)s = '' OR t.status = %(status)s)
       AND (%(target)s = '' OR (%(target)s IN (r.target, r.other) AND r.state <> 'retired'))
       AND (%(like)s = '' OR coalesce(t.tenant_id, r.tenant) COLLATE "default" ILIKE %(like)s
            OR t.name ILIKE %(like)s)
), shown AS (
    SELECT * FROM found ORDER BY tenant LIMIT %(most)s OFFSET %(skipped)s
)
SELECT (SELECT count(*) FROM found) AS total, shown.*
  FROM (SELECT) AS always LEFT JOIN shown ON true
 ORDER BY shown.tenant
"""

_ONE = """
SELECT coalesce(t.tenant_id, r.tenant) COLLATE "C" AS tenant, t.name, t.status, t.created_at,
       r.state, r.target, r.database, r.other, r.due, r.since, r.made, r.confirmed, r.error, r.tries
  FROM (SELECT * FROM {tenants} WHERE tenant_id = %(tenant)s) AS t
  FULL JOIN (SELECT * FROM {records} WHERE namespace = %(namespace)s AND tenant = %(tenant)s) AS r
    ON true
"""

# Columns that the table of devices does not have are NULL there.
_DEVICES = """
WITH own AS (
    SELECT {device_id}::text AS device, {name_of} AS name, {status_of} AS status,
           {seen_of} AS last_seen_at
      FROM {devices} WHERE {tenant_id} = %(tenant)s
)
SELECT (SELECT count(*) FROM own) AS total,
       (SELECT count(*) FROM own WHERE status = 'active') AS active,
       (SELECT max(last_seen_at) FROM own) AS newest, own.*
  FROM (SELECT) AS always
  LEFT JOIN (SELECT * FROM own ORDER BY device COLLATE "C" LIMIT %(most)s) AS own ON true
 ORDER BY own.device COLLATE "C"
"""

_LINES = "id, at, run, who, event, tenant, target, database, before, after, ended, message"
_HISTORY = f"""
SELECT {_LINES} FROM {{history}} WHERE namespace = %(namespace)s AND tenant = %(tenant)s
 ORDER BY id DESC LIMIT %(most)s
"""
_OF_RUN = f"""
SELECT {_LINES} FROM {{history}} WHERE namespace = %(namespace)s AND run = %(run)s
   AND id > %(after)s ORDER BY id LIMIT %(most)s
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
     WHERE cardinality(newest.seen) < %(most)s
)
SELECT newest.run, min(e.id) AS first, max(e.id) AS last, min(e.at) AS began, max(e.at) AS ended,
       max(e.who) AS who, count(DISTINCT e.tenant) AS tenants,
       count(*) FILTER (WHERE e.ended <> 'done') AS failed,
       (SELECT json_object_agg(event, times) FROM (
           SELECT event, count(*) AS times FROM {history}
            WHERE run = newest.run AND namespace = %(namespace)s GROUP BY event ORDER BY event
       ) AS counted) AS events
  FROM newest JOIN {history} AS e ON e.run = newest.run AND e.namespace = %(namespace)s
 GROUP BY newest.run ORDER BY last DESC
"""

_HELD = """
WITH counted AS (
    SELECT target, state, count(*) AS number FROM {records}
     WHERE namespace = %(namespace)s AND target IS NOT NULL AND state NOT IN ('wanted', 'retired')
     GROUP BY target, state
), coming AS (
    SELECT other AS target, count(*) AS number FROM {records}
     WHERE namespace = %(namespace)s AND other IS NOT NULL AND state NOT IN ('wanted', 'retired')
     GROUP BY other
), servers AS (SELECT * FROM {servers} WHERE namespace = %(namespace)s)
SELECT names.target,
       coalesce((SELECT json_object_agg(state, number ORDER BY state) FROM counted
                  WHERE counted.target = names.target), '{{}}'::json) AS states,
       coalesce((SELECT number FROM coming WHERE coming.target = names.target), 0) AS coming,
       servers.identity, servers.read
  FROM (SELECT target FROM counted UNION SELECT target FROM coming
        UNION SELECT target FROM servers) AS names
  LEFT JOIN servers ON servers.target = names.target
 ORDER BY names.target COLLATE "C"
"""

_WAITING = """
SELECT tenant, state, target, since, error, tries, count(*) OVER () AS total FROM {records}
 WHERE namespace = %(namespace)s AND (state IN ('wanted', 'reserved', 'unconfirmed', 'lost')
       OR error <> '')
 ORDER BY since, tenant LIMIT %(most)s
"""

Connection = AsyncConnection[Any]


async def tenants(connection: Connection, names: Names, asked: Asked) -> Listed:
    """Read one page of the list.

    Args:
        connection: To the database of registry and ledger.
        names: Where the tables are.
        asked: Which tenants.
    """
    pattern = "".join(f"\\{c}" if c in "\\%_" else c for c in asked.search.strip())
    values = {
        "state": asked.state,
        "status": asked.status,
        "target": asked.target,
        "like": f"%{pattern}%" if pattern else "",
        "most": TENANTS_A_PAGE,
        "skipped": (asked.page - 1) * TENANTS_A_PAGE,
    }
    rows = await _rows(connection, names, _LIST, values)
    total = rows[0]["total"] if rows else 0
    found = [Row(**_without(row, "total")) for row in rows if row["tenant"] is not None]
    return Listed(found, total, asked.page)


async def tenant(connection: Connection, names: Names, id_: str) -> Row | None:
    """Read one tenant; None where neither the table nor the ledger knows it."""
    rows = await _rows(connection, names, _ONE, {"tenant": id_})
    return Row(**rows[0]) if rows else None


async def devices(
    connection: Connection, names: Names, id_: str, present: Collection[str]
) -> Devices:
    """Read the devices of a tenant, the first of them each.

    Args:
        connection: To the database of the registry.
        names: Where the tables are.
        id_: The tenant's id.
        present: Which of the columns that the service knows the table has.
    """
    columns = names.place.columns
    parts = {
        part: sql.SQL("{}::{}").format(sql.Identifier(columns[name]), sql.SQL(kind))
        if name in present
        else sql.SQL(f"NULL::{kind}")
        for part, name, kind in (
            ("name_of", "name", "text"),
            ("status_of", "status", "text"),
            ("seen_of", "last_seen_at", "timestamptz"),
        )
    }
    values = {"tenant": id_, "most": DEVICES_SHOWN}
    rows = await _rows(connection, names, _DEVICES, values, **parts)
    shown = (_without(row, "total", "active", "newest") for row in rows)
    return Devices(
        rows[0]["total"],
        rows[0]["active"] if "status" in present else None,
        rows[0]["newest"],
        [Device(**row) for row in shown if row["device"] is not None],
    )


async def history(connection: Connection, names: Names, id_: str) -> list[Line]:
    """Read the newest entries about a tenant, the newest first."""
    values = {"tenant": id_, "most": ENTRIES_SHOWN}
    return [_line(row) for row in await _rows(connection, names, _HISTORY, values)]


async def runs(connection: Connection, names: Names, before: int | None) -> list[Run]:
    """Read the newest runs that changed something, the newest first.

    Args:
        connection: To the database of the ledger.
        names: Where the tables are.
        before: The id of an entry: only runs that were over before it; None for the newest.
    """
    values = {"before": before, "most": RUNS_A_PAGE}
    return [Run(**row) for row in await _rows(connection, names, _RUNS, values)]


async def run(connection: Connection, names: Names, id_: str, after: int) -> list[Line]:
    """Read what a run did, the oldest first.

    Args:
        connection: To the database of the ledger.
        names: Where the tables are.
        id_: The run's id.
        after: The id of the entry after which the page begins; 0 for the first page.
    """
    values = {"run": id_, "after": after, "most": ENTRIES_A_PAGE + 1}
    return [_line(row) for row in await _rows(connection, names, _OF_RUN, values)]


async def held(connection: Connection, names: Names) -> list[Held]:
    """Read what is recorded on each target."""
    return [Held(**row) for row in await _rows(connection, names, _HELD, {})]


async def waiting(connection: Connection, names: Names) -> tuple[list[Waiting], int]:
    """Read the tenants that wait for a database or cannot get one, those first that wait longest.

    Returns:
        The first of them, and how many there are.
    """
    rows = await _rows(connection, names, _WAITING, {"most": WAITING_SHOWN})
    total = rows[0]["total"] if rows else 0
    return [Waiting(**_without(row, "total")) for row in rows], total


def _line(row: Mapping[str, Any]) -> Line:
    values = _without(row, "id")
    return Line(row["id"], Entry(**{**values, "event": Event(row["event"])}))


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}


async def _rows(
    connection: Connection,
    names: Names,
    query: str,
    values: Mapping[str, Any],
    **parts: sql.Composable,
) -> list[dict[str, Any]]:
    tables: dict[str, sql.Composable] = {
        "records": sql.Identifier(names.ledger, "tenants"),
        "history": sql.Identifier(names.ledger, "history"),
        "servers": sql.Identifier(names.ledger, "servers"),
    }
    statement = names.place.sql(query, **tables, **parts)
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, {**values, "namespace": names.namespace})
        return await cursor.fetchall()
