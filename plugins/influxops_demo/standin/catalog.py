"""What exists: databases, tables, columns and tokens, in memory and in a journal.

Every change is a list of records, written to the journal before it takes effect and applied by the
same code when the journal is read again. One line of the journal is one change, so a change that
makes a database and its table is there as a whole or not at all.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from influxops_demo.standin.journal import Journal
from influxops_demo.standin.kinds import Kind

INTERNAL = "_internal"
"""The server's own database. It counts towards no limit, and nobody can delete it."""

INTERNAL_RETENTION_SECONDS = 7 * 86_400

GRACE_NS = 24 * 3_600 * 10**9
"""How long something stays listed after the time of its hard deletion."""

Record = dict[str, Any]


@dataclass(slots=True)
class Table:
    """A table; its columns in the order in which they came up."""

    id: int
    name: str
    columns: dict[str, Kind] = field(default_factory=dict)
    deleted: bool = False
    hard_delete_ns: int | None = None


@dataclass(slots=True)
class Database:
    """A database. One that is deleted softly keeps its tables, under another name."""

    id: int
    name: str
    retention_seconds: int | None = None
    tables: dict[int, Table] = field(default_factory=dict)
    table_ids: dict[str, int] = field(default_factory=dict)
    next_table_id: int = 0
    deleted: bool = False
    hard_delete_ns: int | None = None

    def table(self, name: str) -> Table | None:
        """The table of that name."""
        found = self.table_ids.get(name)
        return None if found is None else self.tables[found]


@dataclass(frozen=True, slots=True)
class Token:
    """An admin token, by its hash; times in milliseconds since 1970."""

    id: int
    name: str
    hash: str
    created_ms: int
    expiry_ms: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the catalog takes; None is no limit."""

    databases: int | None = 5
    tables: int | None = 2_000


class Catalog:
    """All that exists on one server.

    Args:
        journal: where changes are kept.
        limits: how many databases and tables there may be.
    """

    def __init__(self, journal: Journal, limits: Limits) -> None:
        self.limits = limits
        self.uuid = ""
        self.databases: dict[int, Database] = {}
        self.tokens: dict[str, Token] = {}
        self.version = 0
        self.next_database_id = 0
        self.next_token_id = 0
        # Counted as changes come in: a write that makes a table must not walk 12,000 databases.
        self.active_databases = 0
        self.active_tables = 0
        self._ids: dict[str, int] = {}
        self._journal = journal
        for change in journal.read():
            self._apply(change)
        if not self.databases:
            self._apply(_first_records())
        self._forget_hard_deleted(time.time_ns())
        journal.rewrite([record] for record in self._snapshot())

    def database(self, name: str) -> Database | None:
        """The database of that name, a deleted one by the name that it got then."""
        found = self._ids.get(name)
        return None if found is None else self.databases[found]

    def token_by_hash(self, digest: str, now_ms: int) -> Token | None:
        """The token with that hash, unless it has expired."""
        for token in self.tokens.values():
            if token.hash == digest:
                expired = token.expiry_ms is not None and token.expiry_ms <= now_ms
                return None if expired else token
        return None

    def commit(self, records: list[Record]) -> None:
        """Makes a change: on disk first, then in memory."""
        if records:
            self._journal.append([records])
            self._apply(records)

    def close(self) -> None:
        """Closes the journal."""
        self._journal.close()

    def _apply(self, records: Iterable[Record]) -> None:
        for record in records:
            operation = dict(record)
            getattr(self, f"_on_{operation.pop('op')}")(**operation)
        self.version += 1

    def _on_server(self, uuid: str, next_database_id: int, next_token_id: int) -> None:
        self.uuid = uuid
        self.next_database_id = next_database_id
        self.next_token_id = next_token_id

    def _on_create_database(self, id: int, name: str, retention: int | None) -> None:
        self.databases[id] = Database(id, name, retention)
        self._ids[name] = id
        self.next_database_id = max(self.next_database_id, id + 1)
        self.active_databases += name != INTERNAL

    def _on_delete_database(
        self, id: int, name: str, tables: dict[str, str], hard_delete_ns: int | None
    ) -> None:
        database = self.databases[id]
        self.active_databases -= not database.deleted
        database.deleted = True
        database.hard_delete_ns = hard_delete_ns
        del self._ids[database.name]
        database.name = name
        self._ids[name] = id
        for table_id, table_name in tables.items():
            self._on_delete_table(id, int(table_id), table_name, hard_delete_ns)

    def _on_set_retention(self, id: int, retention: int | None) -> None:
        self.databases[id].retention_seconds = retention

    def _on_create_table(self, database: int, id: int, name: str, columns: dict[str, str]) -> None:
        owner = self.databases[database]
        owner.tables[id] = Table(id, name)
        owner.table_ids[name] = id
        owner.next_table_id = max(owner.next_table_id, id + 1)
        self.active_tables += 1
        self._on_add_columns(database, id, columns)

    def _on_add_columns(self, database: int, id: int, columns: dict[str, str]) -> None:
        table = self.databases[database].tables[id]
        table.columns.update((name, Kind(kind)) for name, kind in columns.items())

    def _on_delete_table(
        self, database: int, id: int, name: str, hard_delete_ns: int | None
    ) -> None:
        owner = self.databases[database]
        table = owner.tables[id]
        self.active_tables -= not table.deleted
        table.deleted = True
        table.hard_delete_ns = hard_delete_ns
        del owner.table_ids[table.name]
        table.name = name
        owner.table_ids[name] = id

    def _on_create_token(
        self, id: int, name: str, hash: str, created_ms: int, expiry_ms: int | None
    ) -> None:
        self.tokens[name] = Token(id, name, hash, created_ms, expiry_ms)
        self.next_token_id = max(self.next_token_id, id + 1)

    def _on_delete_token(self, name: str) -> None:
        del self.tokens[name]

    def _forget_hard_deleted(self, now_ns: int) -> None:
        """Drops for good what was to be gone by now; done at the start, when nobody looks."""
        for database in list(self.databases.values()):
            if _is_gone(database, now_ns):
                del self.databases[database.id], self._ids[database.name]
                continue
            for table in list(database.tables.values()):
                if _is_gone(table, now_ns):
                    del database.tables[table.id], database.table_ids[table.name]

    def _snapshot(self) -> Iterator[Record]:
        """The records that lead from an empty catalog to this one."""
        yield {
            "op": "server",
            "uuid": self.uuid,
            "next_database_id": self.next_database_id,
            "next_token_id": self.next_token_id,
        }
        for database in self.databases.values():
            yield create_database_record(database.id, database.name, database.retention_seconds)
            for table in database.tables.values():
                yield create_table_record(database.id, table.id, table.name, table.columns)
                if table.deleted:
                    yield delete_table_record(
                        database.id, table.id, table.name, table.hard_delete_ns
                    )
            if database.deleted:
                yield {
                    "op": "delete_database",
                    "id": database.id,
                    "name": database.name,
                    "tables": {},
                    "hard_delete_ns": database.hard_delete_ns,
                }
        for token in self.tokens.values():
            yield create_token_record(token)


def create_database_record(id: int, name: str, retention: int | None) -> Record:
    """A new database."""
    return {"op": "create_database", "id": id, "name": name, "retention": retention}


def create_table_record(database: int, id: int, name: str, columns: dict[str, Kind]) -> Record:
    """A new table with its columns."""
    return {"op": "create_table", "database": database, "id": id, "name": name, "columns": columns}


def delete_table_record(database: int, id: int, name: str, hard_delete_ns: int | None) -> Record:
    """A table that is deleted softly, with the name that it has from then on."""
    return {
        "op": "delete_table",
        "database": database,
        "id": id,
        "name": name,
        "hard_delete_ns": hard_delete_ns,
    }


def create_token_record(token: Token) -> Record:
    """A new token."""
    return {
        "op": "create_token",
        "id": token.id,
        "name": token.name,
        "hash": token.hash,
        "created_ms": token.created_ms,
        "expiry_ms": token.expiry_ms,
    }


def _first_records() -> list[Record]:
    server = {
        "op": "server",
        "uuid": str(uuid.uuid4()),
        "next_database_id": 0,
        "next_token_id": 0,
    }
    return [server, create_database_record(0, INTERNAL, INTERNAL_RETENTION_SECONDS)]


def _is_gone(thing: Database | Table, now_ns: int) -> bool:
    return (
        thing.deleted
        and thing.hard_delete_ns is not None
        and thing.hard_delete_ns + GRACE_NS <= now_ns
    )
