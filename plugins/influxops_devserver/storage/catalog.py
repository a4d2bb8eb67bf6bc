"""What exists: databases, tables and columns, and the changes that the API makes."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from influxops_devserver.errors import (
    ApiError,
    ColumnRefused,
    already_exists,
    json_error,
    not_found,
)
from influxops_devserver.limits import (
    MAX_COLUMNS,
    MAX_NAME_BYTES,
    DatabaseLimit,
    Limits,
    SchemaLimit,
)
from influxops_devserver.storage.documents import DocumentStore

INTERNAL = "_internal"
"""The server's own database. It counts towards no limit, and cannot be deleted."""

_INTERNAL_RETENTION_SECONDS = 7 * 86_400
_HARD_DELETE_AFTER_NS = 72 * 3_600 * 10**9
_BAD_RETENTION_POLICY = (
    "db name with invalid retention policy, if providing a retention policy name, must be "
    "of form '<db_name>/<rp_name>'"
)
_BAD_CHARACTER = (
    "invalid character in database or rp name: must be ASCII, containing only "
    "letters, numbers, underscores, or hyphens"
)


Value = int | float | str | bool
"""The value of a field."""


class Kind(StrEnum):
    """The type of a column, by the name that errors and the data directory use."""

    TAG = "tag"
    TIME = "timestamp"
    INTEGER = "field::integer"
    UINTEGER = "field::uinteger"
    FLOAT = "field::float"
    STRING = "field::string"
    BOOLEAN = "field::boolean"


@dataclass(slots=True)
class Table:
    """A table; its columns in the order in which they were added."""

    id: int
    name: str
    columns: dict[str, Kind] = field(default_factory=dict)
    deleted: bool = False
    hard_delete_ns: int | None = None

    def add_column(self, name: str, kind: Kind) -> None:
        """Add a tag or field, unless the table has it."""
        known = self.columns.get(name)
        if known is None and name in ("time", "__chunk_order"):
            raise ColumnRefused(f"'{name}' is a reserved column")
        if known is None and len(self.columns.keys() | {"time"}) >= MAX_COLUMNS:
            raise SchemaLimit(f"columns per table limit of {MAX_COLUMNS} columns")
        if known not in (None, kind):
            label = "iox::column_type::"
            raise ColumnRefused(
                f"invalid column type for column '{name}', expected {label}{known}, "
                f"got {label}{kind}"
            )
        self.columns[name] = kind


@dataclass(slots=True)
class Database:
    """A database. One that is deleted softly keeps its tables, under another name."""

    id: int
    name: str
    retention_seconds: int | None = None
    tables: dict[str, Table] = field(default_factory=dict)
    deleted: bool = False
    hard_delete_ns: int | None = None

    def copy(self) -> Database:
        """Return a copy that can be changed; a hundred times as fast as any general way."""
        tables = {
            name: Table(t.id, t.name, dict(t.columns), t.deleted, t.hard_delete_ns)
            for name, t in self.tables.items()
        }
        fields = (self.id, self.name, self.retention_seconds, tables, self.deleted)
        return Database(*fields, self.hard_delete_ns)

    @property
    def active_tables(self) -> int:
        """How many tables count towards the limit."""
        return sum(not table.deleted for table in self.tables.values())

    def delete_table(self, name: str, now_ns: int, hard_delete_ns: int) -> None:
        """Delete a table softly: it gets another name."""
        table = self.tables.pop(name)
        table.name = _deleted_name(name, now_ns, table.id, self.tables)
        table.deleted = True
        table.hard_delete_ns = hard_delete_ns
        self.tables[table.name] = table


class Catalog:
    """All databases of one server, and with them their tables."""

    def __init__(self, storage: DocumentStore, limits: Limits) -> None:
        self.limits = limits
        self.databases: dict[int, Database] = {}
        self.version = 0
        # Counted as changes come in: a write that makes a table must not walk 12,000 databases.
        self._active_databases = self._active_tables = 0
        self._by_name: dict[str, Database] = {}
        self._storage = storage
        for database in storage.load("database", Database):
            self._store(database)
        self.uuid = next(storage.load("server", str), str(uuid.uuid4()))
        storage.save([("server", "uuid", self.uuid)])
        if not self.databases:
            self.put(Database(0, INTERNAL, _INTERNAL_RETENTION_SECONDS))

    def database(self, name: str) -> Database | None:
        """Return the database of that name, a deleted one by the name that it got then."""
        return self._by_name.get(name)

    def draft(self, name: str) -> Database:
        """Return a copy of a database, or a new one; :meth:`put` makes it take effect."""
        check_name(name)
        known = self._by_name.get(name)
        if known is not None:
            return known.copy()
        limit = self.limits.databases
        if limit is not None and self._active_databases >= limit:
            raise DatabaseLimit(limit)
        return Database(len(self.databases), name)

    def draft_table(self, database: Database, name: str) -> Table:
        """Return a table of a draft, created if it does not exist."""
        table = database.tables.get(name)
        if table is None:
            known = self.databases.get(database.id)
            new = database.active_tables - (known.active_tables if known else 0)
            current, limit = self._active_tables + new, self.limits.tables
            if limit is not None and current >= limit:
                raise SchemaLimit(
                    "tables limit: attempted to create table but already have "
                    f"{current} table(s) (limit: {limit})"
                )
            table = database.tables[name] = Table(len(database.tables), name)
        return table

    def put(self, database: Database) -> None:
        """Make a database what a draft of it is: on disk first, then in memory."""
        if self.databases.get(database.id) == database:
            return
        self._storage.save([("database", str(database.id), database)])
        self._store(database)

    def create_database(self, name: str, retention: int | None) -> None:
        """Create a database."""
        check_name(name)
        # That it exists is found out before that the limit is reached.
        if name in self._by_name:
            raise already_exists()
        database = self.draft(name)
        database.retention_seconds = retention
        self.put(database)

    def set_retention(self, name: str, retention: int | None) -> None:
        """Set or clear the retention period of a database, in seconds."""
        database = self._existing(name, "modify")
        database.retention_seconds = retention
        self.put(database)

    def delete_database(self, name: str, hard_delete_at: str | None) -> None:
        """Delete a database softly: it gets another name, and the old one is free at once."""
        now = time.time_ns()
        hard_delete_ns = _hard_deletion(hard_delete_at, now)
        database = self._existing(name, "delete")
        for table in [table.name for table in database.tables.values() if not table.deleted]:
            database.delete_table(table, now, hard_delete_ns)
        database.name = _deleted_name(name, now, database.id, self._by_name)
        database.deleted = True
        database.hard_delete_ns = hard_delete_ns
        self.put(database)

    def create_table(
        self, database: str, name: str, tags: Iterable[str], fields: Mapping[str, Kind]
    ) -> None:
        """Create a table, and its database if it does not exist."""
        draft = self.draft(database)
        if name in draft.tables:
            raise already_exists()
        try:
            table = self.draft_table(draft, name)
        except ColumnRefused as refused:
            raise json_error(422, str(refused)) from None
        try:
            for column, kind in [*((tag, Kind.TAG) for tag in tags), *fields.items()]:
                table.add_column(column, kind)
        except ColumnRefused as refused:
            raise ApiError(400, str(refused)) from None
        table.columns["time"] = Kind.TIME
        self.put(draft)

    def delete_table(self, database: str, name: str) -> None:
        """Delete a table softly."""
        now = time.time_ns()
        if database not in self._by_name:
            raise ApiError(404, f"Database not found {database}")
        draft = self._existing(database, "modify")
        if name not in draft.tables:
            raise ApiError(404, f"Table {name} not in DB schema for {database}")
        draft.delete_table(name, now, now + _HARD_DELETE_AFTER_NS)
        self.put(draft)

    def _existing(self, name: str, verb: str) -> Database:
        database = self._by_name.get(name)
        if name == INTERNAL:
            raise ApiError(500, f"cannot {verb} internal db")
        if database is None or database.deleted:
            raise not_found(name)
        return database.copy()

    def _store(self, database: Database) -> None:
        for known, sign in ((self.databases.get(database.id), -1), (database, 1)):
            if known is not None:
                self._active_tables += sign * known.active_tables
                self._active_databases += sign * (not known.deleted and known.name != INTERNAL)
                self._by_name.pop(known.name, None)
        self.databases[database.id] = self._by_name[database.name] = database
        self.version += 1


def check_name(name: str) -> None:
    """Refuse a name of a database as the server does.

    A name starts with an ASCII letter or digit, goes on with letters, digits, ``_`` and ``-``,
    and may have one slash inside it, before what v1 called a retention policy.
    """
    rule = ""
    if not name:
        rule = "db name cannot be empty"
    elif len(name.encode()) > MAX_NAME_BYTES:
        rule = f"db name too long: max {MAX_NAME_BYTES}"
    elif re.match(r"[\x00-\x7f]", name) and not re.match(r"[A-Za-z0-9]", name):
        rule = "db name did not start with a number or letter"
    elif not re.fullmatch(r"[A-Za-z0-9_/-]*", name):
        rule = _BAD_CHARACTER
    elif name.count("/") > 1 or name.endswith("/"):
        rule = _BAD_RETENTION_POLICY
    if rule:
        raise json_error(400, rule)


def _hard_deletion(at: str | None, now_ns: int) -> int:
    """Read ``hard_delete_at``: nanoseconds since 1970."""
    if at is None or at == "now":
        return now_ns + (0 if at else _HARD_DELETE_AFTER_NS)
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        text = "Cannot parse the timestamp: input contains invalid characters"
        raise ApiError(400, text) from None
    return max(now_ns, int(moment.timestamp()) * 10**9)


def _deleted_name(name: str, now_ns: int, id_: int, taken: Container[str]) -> str:
    stamped = f"{name}-{datetime.fromtimestamp(now_ns // 10**9, UTC):%Y%m%dT%H%M%S}"
    return f"{stamped}-{id_}" if stamped in taken else stamped
