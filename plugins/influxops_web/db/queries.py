"""What is read of tenants and of the ledger, and written: one query a part of an answer.

Tenants are those of the service's table, and for the console those that only the ledger knows,
which another source has for instance. All queries are bounded by what a page shows, but lists and
counts, which are linear in the tenants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from msgspec import Struct, field
from psycopg import sql

from influxops.domain.record import State, percent_of
from influxops_web.db.connect import Database

#: Tenants on a page of the console's list.
TENANTS_A_PAGE = 50

#: What the list can be filtered by beside the ledger's states.
UNRECORDED = "unrecorded"
STATUSES = ("active", "suspended")
STATES = (*(state.value for state in State), UNRECORDED)
#: States that say that a database is there.
THERE = frozenset({State.UNCONFIRMED, State.READY, State.MOVING, State.RETIRING})
#: States that a fault outranks.
HOPEFUL = THERE | {State.ALLOCATED}
#: The states of tenants whose database is not there yet, or no longer.
WAITING = (State.PENDING, State.ALLOCATED, State.UNCONFIRMED, State.LOST)
#: The order in which what needs attention comes first.
WORST_FIRST = (
    *("lost", UNRECORDED, "pending", "allocated", "unconfirmed", "moving", "retiring", "ready"),
    "retired",
)
#: What the list can be sorted by.
SORTS: Mapping[str, LiteralString] = {
    "tenant": 'coalesce(t.tenant_id, r.tenant) COLLATE "C"',
    "state": "CASE WHEN r.target = ANY (%(faulty)s::text[]) AND r.state <> 'lost' THEN 0 "
    "ELSE array_position(%(worst)s::text[], coalesce(r.state, 'unrecorded')) END",
    "server": "r.target",
    "since": "r.created_at",
    "due": "r.drop_after",
}


#: The databases that targets held, and until when what the ledger has of them is older.
Held = Mapping[str, tuple[Sequence[str], datetime]]


class Missing(Struct, frozen=True):
    """The tenants whose target lacked their database when it was read."""

    tenants: Sequence[str] = ()
    #: By target, until when what the ledger has is older than what it said.
    read: Mapping[str, datetime] = field(default_factory=dict)


class TenantFilter(Struct, frozen=True):
    """Which tenants are asked for."""

    search: str = ""  # a part of an id or a name; empty for all
    #: A state of the ledger, `unrecorded`, or a fault that outranks it; empty for all.
    state: str = ""
    status: str = ""  # `active` or `suspended`; empty for all
    target: str = ""  # the name of a target; empty for all
    page: int = 1
    sort: str = "tenant"  # a key of `SORTS`
    is_descending: bool = False
    #: What is wrong with targets whose tenants are in trouble, whatever their state, in a word.
    faults: Mapping[str, str] = field(default_factory=dict)
    missing: Missing = Missing()
    has_due: bool = False  # whether only those of whom something is to be dropped


class TenantRow(Struct, frozen=True):
    """One tenant, as the tables have it."""

    tenant: str
    name: str | None = None  # None where the service's table has no such tenant, or no name
    status: str | None = None  # None where the service's table has no such tenant
    created_at: datetime | None = None
    state: str | None = None  # of its record; None without one
    target: str | None = None
    database: str | None = None
    secondary_target: str | None = None  # the target that it moves to, or that it left
    drop_after: datetime | None = None  # when what is to be dropped may be dropped
    state_since: datetime | None = None
    database_created_at: datetime | None = None
    last_seen_at: datetime | None = None
    error: str | None = None  # why the last attempt failed; empty after a good one
    attempts: int | None = None
    progress: str | None = None  # how far a move is

    @property
    def copied(self) -> int | None:
        """How many percent its move has copied; None where that is not known."""
        return percent_of(self.progress or "")[0] if self.state == State.MOVING else None

    @property
    def record(self) -> TenantRow:
        """Its record in the ledger: some of these columns."""
        return self


class TenantPage(Struct, frozen=True):
    """One page of the list."""

    rows: list[TenantRow]
    total: int  # how many there are on all pages
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // TENANTS_A_PAGE))


class TargetSummary(Struct, frozen=True):
    """What the ledger has recorded of one target."""

    target: str
    states: Mapping[str, int]  # how many tenants, by their state
    coming: int  # how many are on their way to it
    read: datetime | None = None  # when it was last read in full
    identity: str | None = None  # of its server
    capacity: int | None = None  # its estimated number of databases, as a run read it
    unrecorded: int | None = None  # how many it held that the ledger did not count

    @property
    def tenants(self) -> int:
        """How many databases it should hold."""
        return sum(self.states.values()) + self.coming


class WaitingTenant(Struct, frozen=True):
    """A tenant that waits for its database."""

    tenant: str
    state: str
    target: str | None
    state_since: datetime | None
    error: str
    attempts: int


_COLUMNS = (
    "t.name, t.status, t.created_at, r.state, r.target, r.database, r.secondary_target, "
    "r.drop_after, r.state_since, "
    "r.created_at AS database_created_at, r.last_seen_at, r.error, r.attempts, r.progress"
)

_FITS = """
 WHERE (%(like)s = '' OR t.tenant_id COLLATE "default" ILIKE %(like)s OR t.name ILIKE %(like)s)
   AND (%(status)s = '' OR t.status = %(status)s)
"""
_REGISTERED = f"""
SELECT t.tenant_id AS tenant, {_COLUMNS}
  FROM (SELECT * FROM {{tenants}} AS t {_FITS}
         ORDER BY tenant_id LIMIT %(limit)s OFFSET %(skipped)s) AS t
  LEFT JOIN {{records}} AS r
    ON r.namespace = %(namespace)s AND r.tenant = t.tenant_id COLLATE "C"
 ORDER BY t.tenant_id
"""

_READ = """
read AS (SELECT * FROM unnest(%(read)s::text[], %(times)s::timestamptz[]) AS read (target, at))
"""
# What was noted after a server was read is newer than what it said.
_IS_OLDER = """
r.state = ANY (%(there)s) AND greatest(r.state_since, r.created_at, r.last_seen_at) <= read.at
"""
_IS_MISSING = f"{_IS_OLDER} AND r.tenant = ANY (%(missing)s::text[])"

# EXCEPT never compares each with each, however many the planner takes an array to have.
_GONE = f"""
WITH {_READ}, placed AS (
    SELECT r.tenant, r.target, r.database FROM {{records}} AS r JOIN read ON read.target = r.target
     WHERE namespace = %(namespace)s AND {_IS_OLDER}
)
SELECT tenant FROM placed JOIN (
    SELECT target, database FROM placed
    EXCEPT SELECT * FROM unnest(%(targets)s::text[], %(names)s::text[])
) AS gone USING (target, database)
"""

# All tenants in the order of their ids: not more than the pages so far is read, but to count them.
_ALL = """
found AS (
    (SELECT tenant_id COLLATE "C" AS tenant, NULL AS key FROM {tenants}
      ORDER BY 1 {direction} LIMIT %(limit)s + %(skipped)s)
    UNION
    (SELECT tenant COLLATE "C", NULL FROM {records} WHERE namespace = %(namespace)s
      ORDER BY 1 {direction} LIMIT %(limit)s + %(skipped)s)
), counted AS (
    SELECT (SELECT count(*) FROM {tenants}) + (
           SELECT count(*) FROM {records} AS r WHERE namespace = %(namespace)s
              AND NOT EXISTS (SELECT FROM {tenants} WHERE tenant_id = r.tenant COLLATE "C")
           ) AS total
)
"""
_FOUND = f"""
{_READ}, faulty AS (
    SELECT * FROM unnest(%(faulty)s::text[], %(words)s::text[]) AS faulty (target, word)
), found AS (
    SELECT coalesce(t.tenant_id, r.tenant) COLLATE "C" AS tenant, {{order}} AS key
      FROM {{tenants}} AS t
      FULL JOIN (SELECT * FROM {{records}} WHERE namespace = %(namespace)s) AS r
        ON r.tenant = t.tenant_id COLLATE "C"
      LEFT JOIN faulty ON faulty.target = r.target AND r.state = ANY (%(hopeful)s)
      LEFT JOIN read ON read.target = r.target
     WHERE (%(state)s = '' OR %(state)s = CASE
            WHEN faulty.word IS NOT NULL THEN faulty.word
            WHEN {_IS_MISSING} THEN 'missing'
            ELSE coalesce(r.state, 'unrecorded') END)
       AND (%(status)s = '' OR t.status = %(status)s)
       AND (%(target)s = '' OR (%(target)s IN (r.target, r.secondary_target) AND r.state <>
       'retired'))
       AND (r.drop_after IS NOT NULL OR NOT %(due)s)
       AND (%(like)s = '' OR coalesce(t.tenant_id, r.tenant) COLLATE "default" ILIKE %(like)s
            OR t.name ILIKE %(like)s)
), counted AS (SELECT count(*) AS total FROM found)
"""

# A page beyond the end has no rows, and still the number of all.
_PAGE = f"""
, shown AS (
    SELECT tenant, row_number() OVER (ORDER BY key {{direction}} NULLS LAST, tenant {{by_id}})
           AS place FROM found
     ORDER BY place LIMIT %(limit)s OFFSET %(skipped)s
)
SELECT counted.total, shown.place, shown.tenant, {_COLUMNS}
  FROM counted LEFT JOIN shown ON true
  LEFT JOIN {{tenants}} AS t ON t.tenant_id = shown.tenant COLLATE "C"
  LEFT JOIN {{records}} AS r ON r.namespace = %(namespace)s AND r.tenant = shown.tenant
 ORDER BY shown.place
"""

_ONE = f"""
SELECT coalesce(t.tenant_id, r.tenant) COLLATE "C" AS tenant, {_COLUMNS}
  FROM (SELECT * FROM {{tenants}} WHERE tenant_id = %(tenant)s) AS t
  FULL JOIN (SELECT * FROM {{records}} WHERE namespace = %(namespace)s AND tenant = %(tenant)s) AS r
    ON true
"""

_TARGETS = """
WITH counted AS (
    SELECT target, state, count(*) AS number FROM {records}
     WHERE namespace = %(namespace)s AND target IS NOT NULL AND state NOT IN ('pending', 'retired')
     GROUP BY target, state
), coming AS (
    SELECT secondary_target AS target, count(*) AS number FROM {records}
     WHERE namespace = %(namespace)s AND secondary_target IS NOT NULL AND state NOT IN ('pending',
     'retired')
     GROUP BY secondary_target
), servers AS (SELECT * FROM {servers} WHERE namespace = %(namespace)s)
SELECT names.target,
       coalesce((SELECT json_object_agg(state, number ORDER BY state) FROM counted
                  WHERE counted.target = names.target), '{{}}'::json) AS states,
       coalesce((SELECT number FROM coming WHERE coming.target = names.target), 0) AS coming,
       servers.read, servers.identity, servers.capacity, servers.unrecorded
  FROM (SELECT target FROM counted UNION SELECT target FROM coming
        UNION SELECT target FROM servers) AS names
  LEFT JOIN servers ON servers.target = names.target
 ORDER BY names.target COLLATE "C"
"""

_STATES = """
SELECT state, count(*) AS number FROM {records} WHERE namespace = %(namespace)s
 GROUP BY state ORDER BY state
"""

_MISSING = f"""
WITH {_READ}
SELECT r.target, state, count(*) AS number
  FROM {{records}} AS r JOIN read ON read.target = r.target
 WHERE namespace = %(namespace)s AND {_IS_MISSING}
 GROUP BY r.target, state
"""

_WAITING = """
SELECT tenant, state, target, state_since, error, attempts, count(*) OVER () AS total FROM {records}
 WHERE namespace = %(namespace)s AND (state = ANY (%(states)s) OR error <> '')
 ORDER BY state_since, tenant LIMIT %(limit)s
"""


# Tenants -----------------------------------------------------------------------------------------


async def tenant(database: Database, id_: str) -> TenantRow | None:
    """Read one tenant; None where neither the service's table nor the ledger knows it."""
    rows = await database.rows(_ONE, {"tenant": id_})
    return TenantRow(**rows[0]) if rows else None


async def tenants(database: Database, wanted: TenantFilter) -> TenantPage:
    """Read one page of the list of all tenants."""
    values = {
        "state": wanted.state,
        "status": wanted.status,
        "target": wanted.target,
        "like": _pattern(wanted.search.strip()),
        "limit": TENANTS_A_PAGE,
        "skipped": (wanted.page - 1) * TENANTS_A_PAGE,
        "due": wanted.has_due,
        "worst": [*WORST_FIRST],
        "faulty": [*wanted.faults],
        "words": [*wanted.faults.values()],
        "hopeful": [*HOPEFUL],
        **_missing(wanted.missing),
    }
    is_all = wanted == TenantFilter(
        page=wanted.page,
        is_descending=wanted.is_descending,
        faults=wanted.faults,
        missing=wanted.missing,
    )
    direction = sql.SQL("DESC" if wanted.is_descending else "")
    rows = await database.rows(
        f"WITH {_ALL if is_all else _FOUND} {_PAGE}",
        values,
        order=sql.SQL(SORTS[wanted.sort]),
        direction=direction,
        by_id=direction if is_all else sql.SQL(""),
    )
    found = [
        TenantRow(**_without(row, "total", "place")) for row in rows if row["tenant"] is not None
    ]
    return TenantPage(found, rows[0]["total"], wanted.page)


async def registered_tenants(
    database: Database, wanted: TenantFilter, per_page: int
) -> tuple[list[TenantRow], int]:
    """Read a page of the service's own tenants, and how many there are on all pages."""
    values = {
        "status": wanted.status,
        "like": _pattern(wanted.search),
        "limit": per_page,
        "skipped": (wanted.page - 1) * per_page,
    }
    (counted,) = await database.rows("SELECT count(*) AS total FROM {tenants} AS t" + _FITS, values)
    rows = await database.rows(_REGISTERED, values)
    return [TenantRow(**row) for row in rows], counted["total"]


async def add_tenant(database: Database, id_: str, name: str) -> bool:
    """Add a tenant; return whether there was none of that id."""
    query = "INSERT INTO {tenants} (tenant_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    return (await database.execute(query, [id_, name])).rowcount == 1


async def change_tenant(database: Database, id_: str, change: Mapping[str, str]) -> None:
    """Change a tenant's name or status, or both."""
    query = (
        "UPDATE {tenants} SET name = coalesce(%(name)s, name), "
        "status = coalesce(%(status)s, status) WHERE tenant_id = %(id)s"
    )
    values = {"id": id_, "name": change.get("name"), "status": change.get("status")}
    await database.execute(query, values)


# The fleet ---------------------------------------------------------------------------------------


async def targets(database: Database) -> dict[str, TargetSummary]:
    """Read what the ledger has recorded on each target, by its name."""
    rows = await database.rows(_TARGETS, {})
    return {row["target"]: TargetSummary(**row) for row in rows}


async def states(database: Database) -> dict[str, int]:
    """Count the tenants of the ledger by their state."""
    rows = await database.rows(_STATES, {})
    return {row["state"]: row["number"] for row in rows}


async def gone(database: Database, held: Held) -> Missing:
    """Find the tenants whose target lacks their database: all that it held is compared."""
    pairs = [(target, name) for target, (names, _) in held.items() for name in names]
    read = {target: at for target, (_, at) in held.items()}
    values = {
        **_missing(Missing((), read)),
        "targets": [target for target, _ in pairs],
        "names": [name for _, name in pairs],
    }
    return Missing([row["tenant"] for row in await database.rows(_GONE, values)], read)


async def missing(database: Database, found: Missing) -> list[tuple[str, str, int]]:
    """Count the tenants whose target lacks their database, by it and their state."""
    rows = await database.rows(_MISSING, _missing(found)) if found.tenants else []
    return [(row["target"], row["state"], row["number"]) for row in rows]


def _missing(found: Missing) -> dict[str, Any]:
    return {
        "missing": [*found.tenants],
        "read": [*found.read],
        "times": [*found.read.values()],
        "there": [state.value for state in (State.READY, State.MOVING, State.RETIRING)],
    }


async def waiting(database: Database, limit: int) -> tuple[list[WaitingTenant], int]:
    """Read the tenants that wait for a database, or whose last attempt failed, and count them.

    The longest waiting come first.
    """
    values: dict[str, Any] = {"states": [state.value for state in WAITING], "limit": limit}
    rows = await database.rows(_WAITING, values)
    total = rows[0]["total"] if rows else 0
    return [WaitingTenant(**_without(row, "total")) for row in rows], total


def _pattern(search: str) -> str:
    """Return a pattern for LIKE that finds a text anywhere; empty for an empty text."""
    escaped = "".join(f"\\{c}" if c in "\\%_" else c for c in search)
    return f"%{escaped}%" if escaped else ""


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}
