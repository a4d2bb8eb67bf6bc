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
from influxops_postgres.ledger import queries
from influxops_postgres.ledger.errors import RIGHTS
from influxops_postgres.ledger.liveness import run_key
from influxops_postgres.ledger.transaction import LedgerSession


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
    servers = _rows(session, queries.SERVERS, {})
    sources = _rows(session, queries.SOURCES, {})
    return LedgerSnapshot(
        {record.tenant: record for record in records},
        tuple(Server(*row) for row in servers),
        frozenset(identity for (identity,) in sources),
        *_rows(session, queries.CLOCK, {})[0],
    )


def counts(session: LedgerSession) -> dict[str, int]:
    """Count the databases that are recorded on each target."""
    return {target: int(number) for target, number in _rows(session, queries.COUNT, {})}


def reserve(session: LedgerSession, records: Sequence[Record]) -> list[Record]:
    """Claim records for this run, if it lives; return all of them as they are now."""
    run = session.context.id
    key = run_key(session.settings.namespace, run)
    row = session.connection.execute(queries.LIVES.format(held=HELD, key=key)).fetchone()
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
        _run(session, queries.RENAME, documents)
    if writing.servers or writing.renamed:
        _put_servers(session, writing)
    if writing.sources:
        sources = sorted(writing.sources)
        _run(session, queries.PUT_SOURCES, {"sources": sources})
    found = _write(session, writing.records, "", None) if writing.records else []
    if writing.forgotten:
        sent = _document(session, [_Sent(*_sent(each)) for each in writing.forgotten])
        if _run(session, queries.FORGET, {"forgotten": sent}).rowcount != len(writing.forgotten):
            raise LedgerError(
                f"{session.location}: another run changed a tenant that was to be forgotten; "
                "nothing was written",
                hint="run it again",
            )
    if writing.entries:
        values = {"entries": _document(session, writing.entries)}
        _run(session, queries.APPEND, values)
    return found


def history(session: LedgerSession, wanted: HistoryQuery) -> list[HistoryEntry]:
    """Read the history, or a part of it, the oldest entry first."""
    values = {
        "tenants": None if wanted.tenants is None else _storable(wanted.tenants),
        "run": wanted.run,
        "since": wanted.since,
        "most": wanted.most,
    }
    rows = _rows(session, queries.HISTORY, values)
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
    return _checked(session, _rows(session, queries.READ, values))


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
        for tenant, since, version in _rows(session, queries.WRITE, values)
    ]
    refused = list(given)
    return written + _read(session, refused) if refused else written


def _put_servers(session: LedgerSession, writing: LedgerUpdate) -> None:
    """Write servers: each keeps the time at which it was first read, unless it is another one."""
    names = {*writing.renamed, *writing.renamed.values(), *(s.target for s in writing.servers)}
    there = _rows(session, queries.TAKE_SERVERS, {"targets": sorted(names)})
    known = [Server(writing.renamed.get(target, target), *rest) for target, *rest in there]
    put = {server.target: server for server in known}
    were = {server.target: (server.identity, server.replaced_by) for server in known}
    for new in writing.servers:
        old = put.get(new.target)
        if new.replaced_by is not None and (old is None or old.identity != new.identity):
            continue  # that other one was allowed since, and is the recorded one
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
        # What a run did not look for is left to the one that has seen it.
        replaced_by = same.replaced_by if new.replaced_by is None else new.replaced_by or None
        read = new.read or same.read
        put[new.target] = replace(new, since=same.since, read=read, replaced_by=replaced_by)
    document = msgspec.json.encode(list(put.values())).decode()
    _run(session, queries.PUT_SERVERS, {"servers": document})
    now = {target: (server.identity, server.replaced_by) for target, server in put.items()}
    if any(were.get(target, answers) != answers for target, answers in now.items()):
        _run(session, queries.GROW, {})


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
    return query.format(
        held=HELD, columns=queries.COLUMNS, server=queries.SERVER, is_held=queries.IS_HELD, **tables
    )


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
