"""SQL over one database, by DataFusion: catalog ``public``, schemas ``iox`` and ``system``.

Each database that is queried gets a DataFusion session of its own, which is kept: making one, and
registering tables in it, costs more than most queries. Before a query only those tables are
registered anew that have changed since the last one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datafusion import SessionConfig, SessionContext, SQLOptions

from influxops_demo.standin import errors
from influxops_demo.standin.catalog import Catalog, Database
from influxops_demo.standin.kinds import Kind
from influxops_demo.standin.rows import Row, Rows, to_arrow
from influxops_demo.standin.system_tables import system_tables

_SESSIONS = 128
_READ_ONLY = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)


@dataclass(slots=True)
class _Registered:
    """A table as a session has it.

    Args:
        version: identity of the table, number of its columns, version of its rows.
        batch: all its rows.
        oldest_ns: time of the oldest row.
        cutoff_ns: before which rows were left out when it was registered; None: none were.
    """

    version: tuple[int, int, int]
    batch: Any
    oldest_ns: int
    cutoff_ns: int | None = None


@dataclass(slots=True)
class _Session:
    """A DataFusion session for one database, and what is registered in it."""

    context: SessionContext
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    tables: dict[str, _Registered] = field(default_factory=dict)
    system_version: int = -1


@dataclass(frozen=True, slots=True)
class _Change:
    """A table that is to be registered anew."""

    name: str
    version: tuple[int, int, int]
    columns: dict[str, Kind]
    rows: list[Row]


class QueryEngine:
    """Answers SQL.

    Args:
        catalog: what exists.
        rows: what can be queried.
        with_auth: whether the server asks for tokens.
    """

    def __init__(self, catalog: Catalog, rows: Rows, *, with_auth: bool) -> None:
        self._catalog = catalog
        self._rows = rows
        self._with_auth = with_auth
        self._started_ms = time.time_ns() // 10**6
        self._sessions: OrderedDict[int, _Session] = OrderedDict()

    async def run(self, database: str, sql: str, params: dict[str, Any] | None) -> list[Any]:
        """Runs one read-only statement and returns its record batches.

        Args:
            database: name of the database.
            sql: the statement.
            params: values of its placeholders, by name without the dollar sign.

        Raises:
            ApiError: no such database, or DataFusion refuses the statement or fails to run it.
        """
        found = self._catalog.database(database)
        if found is None:
            raise errors.query_database_not_found(database)
        session = self._session(found.id)
        async with session.lock:
            # The event loop is the only one to change rows and catalog, so what the thread needs
            # of them is taken here.
            changes = self._changes(session, found)
            cutoff = self._cutoff_ns(found)
            names = {table.name for table in found.tables.values()}
            system = self._system(session, found)
            plan = partial(_plan, session, names, changes, cutoff, system, sql, params)
            frame = await asyncio.to_thread(plan)
        return await asyncio.to_thread(_collect, frame)

    def _session(self, database: int) -> _Session:
        session = self._sessions.get(database)
        if session is None:
            session = self._sessions[database] = _Session(_context())
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(database)
        return session

    def _changes(self, session: _Session, database: Database) -> list[_Change]:
        changes = []
        for table in database.tables.values():
            rows_version = self._rows.version(database.id, table.id)
            version = (table.id, len(table.columns), rows_version)
            known = session.tables.get(table.name)
            if known is None or known.version != version:
                rows = self._rows.of(database.id, table.id)
                changes.append(_Change(table.name, version, dict(table.columns), rows))
        return changes

    def _system(self, session: _Session, database: Database) -> dict[str, Any]:
        if session.system_version == self._catalog.version:
            return {}
        session.system_version = self._catalog.version
        return system_tables(
            self._catalog, database, started_ms=self._started_ms, with_auth=self._with_auth
        )

    def _cutoff_ns(self, database: Database) -> int | None:
        if database.retention_seconds is None:
            return None
        return time.time_ns() - database.retention_seconds * 10**9


def _context() -> SessionContext:
    config = (
        SessionConfig()
        .with_create_default_catalog_and_schema(True)
        .with_default_catalog_and_schema("public", "iox")
        .with_information_schema(True)
        # One partition keeps rows in the order in which they are, and is quickest for small data.
        .with_target_partitions(1)
        .set("datafusion.sql_parser.map_string_types_to_utf8view", "false")
    )
    context = SessionContext(config)
    context.sql("CREATE SCHEMA system").collect()
    return context


def _plan(
    session: _Session,
    names: set[str],
    changes: list[_Change],
    cutoff_ns: int | None,
    system: dict[str, Any],
    sql: str,
    params: dict[str, Any] | None,
) -> Any:
    """Brings the session up to date and plans the statement. Runs in a thread."""
    context = session.context
    for name in session.tables.keys() - names:
        context.deregister_table(_reference("iox", name))
        del session.tables[name]
    for change in changes:
        batch = to_arrow(change.columns, change.rows)
        oldest = min((row[0] for row in change.rows), default=0)
        if change.name in session.tables:
            context.deregister_table(_reference("iox", change.name))
        context.register_record_batches(_reference("iox", change.name), [[batch]])
        session.tables[change.name] = _Registered(change.version, batch, oldest)
    for name, table in session.tables.items():
        _apply_retention(context, name, table, cutoff_ns)
    for name, batch in system.items():
        context.deregister_table(_reference("system", name))
        context.register_record_batches(_reference("system", name), [[batch]])
    try:
        return context.sql(sql, _READ_ONLY, param_values=params)
    except Exception as error:
        raise errors.query_not_planned(_words(error)) from None


def _apply_retention(
    context: SessionContext, name: str, table: _Registered, cutoff_ns: int | None
) -> None:
    """Hides what is older than the retention period allows, and shows it again when it may be."""
    hides = cutoff_ns is not None and table.batch.num_rows and table.oldest_ns < cutoff_ns
    if not hides and table.cutoff_ns is None:
        return
    batch = table.batch
    if hides:
        cutoff = pa.scalar(cutoff_ns, type=pa.timestamp("ns"))
        batch = batch.filter(pc.greater_equal(batch.column("time"), cutoff))
    context.deregister_table(_reference("iox", name))
    context.register_record_batches(_reference("iox", name), [[batch]])
    table.cutoff_ns = cutoff_ns if hides else None


def _collect(frame: Any) -> list[Any]:
    """Runs a planned statement. Runs in a thread."""
    try:
        return list(frame.collect())
    except Exception as error:
        raise errors.query_not_executed(_words(error)) from None


def _words(error: Exception) -> str:
    return str(error).removeprefix("DataFusion error: ")


def _reference(schema: str, table: str) -> str:
    quoted = table.replace('"', '""')
    return f'public.{schema}."{quoted}"'
