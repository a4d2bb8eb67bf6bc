"""What is read from the ledger's tables, and written to them: a fixed number of statements each.

Records go to the server as one JSON document: one parameter however many there are, and needing
no right to make temporary tables. A record is written only if the one that is there still has the
version that it is based on, and no other living run has claimed it. Rows are written in the order
of their tenants, so that two runs wait for each other rather than deadlock.
"""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from psycopg import Cursor, sql
from psycopg.rows import tuple_row

from influxops.plugin import (
    Event,
    HistoryEntry,
    HistoryQuery,
    LedgerError,
    LedgerSnapshot,
    LedgerUpdate,
    Record,
    Server,
    State,
    quote,
)
from influxops_postgres.connection.advisory_locks import HELD
from influxops_postgres.ledger.errors import RIGHTS
from influxops_postgres.ledger.liveness import run_key
from influxops_postgres.ledger.transaction import LedgerSession

#: The columns of a record that are read as they are, in the order of its fields.
_RECORD = (
    *(
        "tenant",
        "state",
        "database",
        "target",
        "identity",
        "secondary_target",
        "secondary_identity",
        "drop_after",
    ),
    *(
        "progress",
        "state_since",
        "created_at",
        "created_by",
        "last_seen_at",
        "error",
        "attempts",
        "claimed_by",
    ),
)
_COLUMNS = sql.SQL(", ").join(sql.Identifier("t", name) for name in _RECORD)

# On a standby, runs that live on the primary are not seen: what is claimed counts as held.
_IS_HELD = sql.SQL("""
t.claimed_by <> '' AND t.claimed_by <> %(me)s
AND (%(standby)s OR t.claim_key = ANY (ARRAY(SELECT key FROM held)))
""")

_READ = sql.SQL("""
WITH held AS MATERIALIZED ({held})
SELECT {columns}, {is_held}, t.version FROM {tenants} AS t
 WHERE t.namespace = %(namespace)s AND (%(tenants)s::text[] IS NULL OR t.tenant = ANY (%(tenants)s))
""")

_WRITE = sql.SQL("""
WITH held AS MATERIALIZED ({held}), clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
INSERT INTO {tenants} AS t (
       namespace, tenant, state, database, target, identity, secondary_target, secondary_identity,
       drop_after, progress,
       state_since, created_at, created_by, last_seen_at, error, attempts, claimed_by, claim_key,
       version)
SELECT %(namespace)s, r.tenant, r.state, coalesce(r.database, ''), r.target, r.identity,
r.secondary_target,
       r.secondary_identity, r.drop_after, coalesce(r.progress, ''),
       CASE WHEN r.state = old.state OR (r.state IN ('pending', 'allocated')
                 AND old.state IN ('pending', 'allocated')) THEN old.state_since
            WHEN r.state IN ('pending', 'allocated')
                 AND r.state_since IS DISTINCT FROM old.state_since THEN least(r.state_since, now)
            ELSE now END,
       r.created_at, coalesce(r.created_by, ''), r.last_seen_at,
       coalesce(r.error, ''), coalesce(r.attempts, 0), %(claimed_by)s, %(claim_key)s::bigint,
       coalesce(r.version, 0) + 1
  FROM clock CROSS JOIN json_to_recordset(%(records)s::json) AS r (
       tenant text, state text, database text, target text, identity text, secondary_target text,
       secondary_identity text, drop_after timestamptz, progress text, state_since timestamptz,
       created_at timestamptz,
       created_by text,
       last_seen_at timestamptz, error text, attempts integer, version bigint)
  LEFT JOIN {tenants} AS old ON old.namespace = %(namespace)s AND old.tenant = r.tenant COLLATE "C"
 WHERE coalesce(r.version, 0) = coalesce(old.version, 0)
 ORDER BY r.tenant COLLATE "C"
    ON CONFLICT (namespace, tenant) DO UPDATE SET
       state = excluded.state, database = excluded.database, target = excluded.target,
       identity = excluded.identity, secondary_target = excluded.secondary_target,
       secondary_identity = excluded.secondary_identity, drop_after = excluded.drop_after, progress
       = excluded.progress,
       state_since = excluded.state_since, created_at = excluded.created_at, created_by =
       excluded.created_by,
       last_seen_at = excluded.last_seen_at, error = excluded.error, attempts = excluded.attempts,
       claimed_by = excluded.claimed_by, claim_key = excluded.claim_key, version = excluded.version
 WHERE t.version = excluded.version - 1
   AND (t.claimed_by IN ('', %(me)s) OR t.claim_key <> ALL (ARRAY(SELECT key FROM held)))
RETURNING t.tenant, t.state_since, t.version
""")

_FORGET = sql.SQL("""
DELETE FROM {tenants} AS t USING json_to_recordset(%(forgotten)s::json) AS r (
       tenant text, version bigint)
 WHERE t.namespace = %(namespace)s AND t.tenant = r.tenant AND t.version = r.version
   AND (t.claimed_by IN ('', %(me)s) OR t.claim_key <> ALL (ARRAY({held})))
""")

_LIVES = sql.SQL("SELECT EXISTS (SELECT FROM ({held}) AS held WHERE key = {key}) AS lives")

#: The columns of a server, in the order of its fields.
_SERVER = sql.SQL(
    'target, identity, since, read, edition, capacity, unrecorded, "full", full_at, replaced_by'
)
_SERVERS = sql.SQL(
    'SELECT {server} FROM {servers} WHERE namespace = %(namespace)s ORDER BY target COLLATE "C"'
)
_SOURCES = sql.SQL("SELECT identity FROM {sources} WHERE namespace = %(namespace)s")
_CLOCK = sql.SQL("""
SELECT clock_timestamp(),
       coalesce((SELECT version FROM {routes} WHERE namespace = %(namespace)s), 0)
""")
#: Another server at a target leaves no route to what was recorded on the former one.
_GROW = sql.SQL("SELECT {grow_routes}(%(namespace)s)")

_RENAME = sql.SQL("""
UPDATE {tenants} AS t
   SET target = CASE WHEN names.there ->> t.target = t.identity THEN t.target
                     ELSE coalesce(names.map ->> t.target, t.target) END,
       secondary_target = CASE WHEN names.there ->> t.secondary_target = t.secondary_identity THEN
       t.secondary_target
                    ELSE coalesce(names.map ->> t.secondary_target, t.secondary_target) END
  FROM (SELECT %(renamed)s::jsonb AS map, %(there)s::jsonb AS there) AS names
 WHERE t.namespace = %(namespace)s AND (names.map ? t.target OR names.map ? t.secondary_target)
""")

_TAKE_SERVERS = sql.SQL(
    "DELETE FROM {servers} WHERE namespace = %(namespace)s AND target = ANY (%(targets)s) "
    "RETURNING {server}"
)
_PUT_SERVERS = sql.SQL("""
INSERT INTO {servers} (namespace, {server})
SELECT %(namespace)s, target, identity, coalesce(since, clock_timestamp()), read, edition, capacity,
       unrecorded, "full", full_at, replaced_by
  FROM json_to_recordset(%(servers)s::json) AS s (
       target text, identity text, since timestamptz, read timestamptz, edition text,
       capacity integer, unrecorded integer, "full" text, full_at timestamptz, replaced_by text)
    ON CONFLICT (namespace, target) DO NOTHING
""")
_PUT_SOURCES = sql.SQL("""
INSERT INTO {sources} (namespace, identity)
SELECT %(namespace)s, identity FROM unnest(%(sources)s::text[]) AS identity ORDER BY 2
    ON CONFLICT DO NOTHING
""")

_APPEND = sql.SQL("""
INSERT INTO {history} (namespace, at, run, who, door, event, tenant, target, database, before,
                       after, outcome, message)
SELECT %(namespace)s, clock.now, %(me)s, e.who, e.door, e.event, e.tenant, e.target, e.database,
       e.before, e.after, e.outcome, e.message
  FROM (SELECT clock_timestamp() AS now) AS clock
 CROSS JOIN ROWS FROM (json_to_recordset(%(entries)s::json) AS (
       who text, door text, event text, tenant text, target text, database text, before text,
       after text, outcome text, message text)) WITH ORDINALITY AS e
 ORDER BY e.ordinality
""")

_HISTORY = sql.SQL("""
SELECT id, event, tenant, target, database, before, after, outcome, message, at, run, who, door,
       times, last_at
  FROM {history}
 WHERE namespace = %(namespace)s
   AND (%(tenants)s::text[] IS NULL OR tenant = ANY (%(tenants)s))
   AND (%(run)s::text IS NULL OR run = %(run)s)
   AND (%(since)s::timestamptz IS NULL OR coalesce(last_at, at) >= %(since)s)
 ORDER BY id DESC LIMIT %(most)s
""")

# A database that is being moved is counted where it is, and where it goes to.
_COUNT = sql.SQL("""
SELECT place, count(*) FROM {tenants} CROSS JOIN LATERAL (VALUES (target), (secondary_target)) AS p
(place)
 WHERE namespace = %(namespace)s AND place IS NOT NULL AND state NOT IN ('pending', 'retired')
 GROUP BY place
""")


class _Sent(Struct, frozen=True, omit_defaults=True):
    """What is sent to the server of a record; it knows the rest, or does without."""

    tenant: str
    state: str
    database: str = ""
    target: str | None = None
    identity: str | None = None
    secondary_target: str | None = None
    secondary_identity: str | None = None
    drop_after: datetime | None = None
    progress: str = ""
    state_since: datetime | None = None
    created_at: datetime | None = None
    created_by: str = ""
    last_seen_at: datetime | None = None
    error: str = ""
    attempts: int = 0
    version: int = 0


#: What PostgreSQL's text does not hold.
_FOREIGN = re.compile("[\0\ud800-\udfff]")
#: Text that is only shown, and so may be altered.
_FREE = frozenset({"error", "progress"})

_sent = operator.attrgetter(*_Sent.__struct_fields__)

#: States in which a tenant has a target.
_PLACED = frozenset(State) - {State.PENDING, State.RETIRED}


def memory(session: LedgerSession, tenants: Collection[str] | None) -> LedgerSnapshot:
    """Read records, servers and sources; of some tenants, or of all."""
    records = _read(session, tenants)
    servers = _rows(session, _SERVERS, {})
    sources = _rows(session, _SOURCES, {})
    return LedgerSnapshot(
        {record.tenant: record for record in records},
        tuple(Server(*row) for row in servers),
        frozenset(identity for (identity,) in sources),
        *_rows(session, _CLOCK, {})[0],
    )


def counts(session: LedgerSession) -> dict[str, int]:
    """Count the databases that are recorded on each target."""
    return {target: int(number) for target, number in _rows(session, _COUNT, {})}


def reserve(session: LedgerSession, records: Sequence[Record]) -> list[Record]:
    """Claim records for this run, if it lives; return all of them as they are now."""
    run = session.context.id
    key = run_key(session.settings.namespace, run)
    row = session.connection.execute(_LIVES.format(held=HELD, key=key)).fetchone()
    if not (row and row["lives"]):
        raise LedgerError(
            f"{session.location}: this run lost the lock by which others see that it lives; "
            "nothing was written",
            hint="run it again",
        )
    return _write(session, records, run, key)


def record(session: LedgerSession, writing: LedgerUpdate) -> list[Record]:
    """Write the results of a run; return its records as they are now."""
    if writing.renamed:
        # What was recorded of the server that has a name now was written since it has it.
        there = {server.target: server.identity for server in writing.servers}
        values = {"renamed": dict(writing.renamed), "there": there}
        documents = {name: msgspec.json.encode(each).decode() for name, each in values.items()}
        _run(session, _RENAME, documents)
    if writing.servers or writing.renamed:
        _put_servers(session, writing)
    if writing.sources:
        sources = sorted(writing.sources)
        _run(session, _PUT_SOURCES, {"sources": sources})
    found = _write(session, writing.records, "", None) if writing.records else []
    if writing.forgotten:
        sent = _document(session, [_Sent(*_sent(each)) for each in writing.forgotten])
        if _run(session, _FORGET, {"forgotten": sent}).rowcount != len(writing.forgotten):
            raise LedgerError(
                f"{session.location}: another run changed a tenant that was to be forgotten; "
                "nothing was written",
                hint="run it again",
            )
    if writing.entries:
        values = {"entries": _document(session, writing.entries)}
        _run(session, _APPEND, values)
    return found


def history(session: LedgerSession, wanted: HistoryQuery) -> list[HistoryEntry]:
    """Read the history, or a part of it, the oldest entry first."""
    values = {
        "tenants": None if wanted.tenants is None else _storable(wanted.tenants),
        "run": wanted.run,
        "since": wanted.since,
        "most": wanted.most,
    }
    rows = _rows(session, _HISTORY, values)
    return [_entry(session, *row) for row in reversed(rows)]


def _entry(session: LedgerSession, number: int, event: str, *values: Any) -> HistoryEntry:
    try:
        return HistoryEntry(Event(event), *values)
    except ValueError:
        raise LedgerError(
            f"{session.location}: entry {number} of the history has an unknown event, "
            f"{quote(event)}",
            hint="update influxops here, if a newer one has been at work there",
        ) from None


def _read(session: LedgerSession, tenants: Collection[str] | None) -> list[Record]:
    values = {"tenants": None if tenants is None else _storable(tenants)}
    return _checked(session, _rows(session, _READ, values))


def _write(
    session: LedgerSession, records: Sequence[Record], claimed_by: str, key: int | None
) -> list[Record]:
    document = _document(session, [_Sent(*_sent(each)) for each in records])
    values = {"records": document, "claimed_by": claimed_by, "claim_key": key}
    given = {each.tenant: each for each in records}
    written = [
        replace(
            given.pop(tenant),
            state_since=since,
            version=version,
            claimed_by=claimed_by,
            is_claimed=False,
        )
        for tenant, since, version in _rows(session, _WRITE, values)
    ]
    refused = list(given)
    return written + _read(session, refused) if refused else written


def _put_servers(session: LedgerSession, writing: LedgerUpdate) -> None:
    """Write servers: each keeps the time at which it was first read, unless it is another one."""
    names = {*writing.renamed, *writing.renamed.values(), *(s.target for s in writing.servers)}
    there = _rows(session, _TAKE_SERVERS, {"targets": sorted(names)})
    known = [Server(writing.renamed.get(target, target), *rest) for target, *rest in there]
    put = {server.target: server for server in known}
    were = {server.target: (server.identity, server.replaced_by) for server in known}
    for new in writing.servers:
        old = put.get(new.target)
        same = old if old is not None and old.identity == new.identity else Server(new.target)
        if new.unrecorded is None:  # it was not read in full now
            new = replace(
                new,
                edition=new.edition or same.edition,
                capacity=same.capacity if new.capacity is None else new.capacity,
                unrecorded=same.unrecorded,
                full=new.full if new.full_at else same.full,
                full_at=new.full_at or same.full_at,
            )
        put[new.target] = replace(new, since=same.since, read=new.read or same.read)
    document = msgspec.json.encode(list(put.values())).decode()
    _run(session, _PUT_SERVERS, {"servers": document})
    now = {new.target: (new.identity, new.replaced_by) for new in writing.servers}
    if any(were.get(target, answers) != answers for target, answers in now.items()):
        _run(session, _GROW, {})


def _checked(session: LedgerSession, rows: Iterable[tuple[Any, ...]]) -> list[Record]:
    """Make records of rows."""
    found = []
    states = {str(state): state for state in State}
    for tenant, state, database, target, *rest in rows:
        known = states.get(state)
        wrong = ""
        if known is None:
            wrong = f"an unknown state, {quote(state)}"
        elif known in _PLACED and not (target and database):
            wrong = f"the state {state}, and no {'database' if target else 'target'}"
        if known is None or wrong:
            raise LedgerError(
                f"{session.location}: the record of {quote(tenant)} has {wrong}",
                hint=f"correct its row in {session.settings.schema}.tenants; it was edited by hand",
            )
        found.append(Record(tenant, known, database, target, *rest))
    return found


def _rows(session: LedgerSession, query: sql.SQL, values: dict[str, Any]) -> list[Any]:
    return _run(session, query, values).fetchall()


def _run(session: LedgerSession, query: sql.SQL, values: dict[str, Any]) -> Cursor[Any]:
    """Run one of the queries above; what they have in common is filled in."""
    session.context.check()
    cursor = session.connection.cursor(binary=True, row_factory=tuple_row)
    common = {
        "namespace": session.settings.namespace,
        "me": session.context.id,
        "standby": session.is_standby,
    }
    return cursor.execute(_named(query, session.settings.schema), {**common, **values})


def _named(query: sql.SQL, schema: str) -> sql.Composed:
    """Return a query with the names that it is about."""
    tables = {name: sql.Identifier(schema, name) for name in (*RIGHTS, "grow_routes")}
    return query.format(held=HELD, columns=_COLUMNS, server=_SERVER, is_held=_IS_HELD, **tables)


def _document(session: LedgerSession, values: Sequence[_Sent] | Sequence[HistoryEntry]) -> str:
    """Return values as JSON that PostgreSQL stores."""
    with contextlib.suppress(UnicodeEncodeError):
        document = msgspec.json.encode(values).decode()
        if "\\u0000" not in document:
            return document
    return msgspec.json.encode([_clean(session, each) for each in values]).decode()


def _clean(session: LedgerSession, value: _Sent | HistoryEntry) -> _Sent | HistoryEntry:
    """Return a value without what PostgreSQL does not store in text: NUL, halves of characters."""
    foreign = {
        name: _FOREIGN.sub("\ufffd", text)
        for name in value.__struct_fields__
        if isinstance(text := getattr(value, name), str) and _FOREIGN.search(text)
    }
    if isinstance(value, _Sent) and not foreign.keys() <= _FREE:
        name = min(foreign.keys() - _FREE)
        raise LedgerError(
            f"{session.location}: {quote(value.tenant)} cannot be recorded: its {name} has a "
            "character that PostgreSQL does not store; nothing was written",
            hint="leave that tenant out, or give it another id",
        )
    return replace(value, **foreign)


def _storable(names: Iterable[str]) -> list[str]:
    """Return those that PostgreSQL could hold; none has the others."""
    return [name for name in names if not _FOREIGN.search(name)]
