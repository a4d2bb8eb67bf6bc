"""The changes that the API asks of the catalog: what is checked, and which records follow."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from influxops_demo.standin import errors
from influxops_demo.standin.catalog import (
    INTERNAL,
    Catalog,
    Database,
    Record,
    Table,
    Token,
    create_database_record,
    create_table_record,
    create_token_record,
    delete_table_record,
)
from influxops_demo.standin.kinds import RESERVED_COLUMNS, Kind

OPERATOR_TOKEN = "_admin"
HARD_DELETE_AFTER_NS = 72 * 3_600 * 10**9

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class ColumnRefused(ValueError):
    """A column that a table cannot have."""


class TableLimitReached(Exception):
    """One table more than there may be.

    Args:
        current: how many there are.
        limit: how many there may be.
    """

    def __init__(self, current: int, limit: int) -> None:
        super().__init__(errors.too_many_tables_text(current, limit))
        self.current = current
        self.limit = limit


def create_database(catalog: Catalog, name: str, retention: int | None) -> None:
    """Makes a database. That it exists is found out before that the limit is reached."""
    if catalog.database(name) is not None:
        raise errors.already_exists()
    check_database_limit(catalog)
    catalog.commit([create_database_record(catalog.next_database_id, name, retention)])


def check_database_limit(catalog: Catalog) -> None:
    """Refuses one database more than there may be; deleted ones count no more."""
    limit = catalog.limits.databases
    if limit is not None and catalog.active_databases >= limit:
        raise errors.too_many_databases(limit)


def set_retention(catalog: Catalog, name: str, retention: int | None) -> None:
    """Sets or clears the retention period of a database."""
    database = catalog.database(name)
    if database is None:
        raise errors.not_found(name)
    if database.deleted:
        raise errors.already_deleted(name)
    if name == INTERNAL:
        raise errors.internal_database("modify")
    catalog.commit([{"op": "set_retention", "id": database.id, "retention": retention}])


def delete_database(catalog: Catalog, name: str, hard_delete_at: str | None) -> None:
    """Deletes a database softly: another name, and the old one is free at once."""
    now = time.time_ns()
    hard_delete_ns = _hard_deletion(hard_delete_at, now)
    if name == INTERNAL:
        raise errors.internal_database("delete")
    database = catalog.database(name)
    if database is None:
        raise errors.not_found(name)
    new_name = name
    if database.deleted:
        # Deleting again, by the new name, only moves the hard deletion.
        if hard_delete_at in (None, "default") or database.hard_delete_ns == hard_delete_ns:
            raise errors.already_deleted(name)
    else:
        new_name = _deleted_name(name, now, database.id, lambda n: catalog.database(n) is not None)
    tables = {
        str(table.id): _deleted_name(table.name, now, table.id, database.table_ids.__contains__)
        for table in database.tables.values()
        if not table.deleted
    }
    record: Record = {
        "op": "delete_database",
        "id": database.id,
        "name": new_name,
        "tables": tables,
        "hard_delete_ns": hard_delete_ns,
    }
    catalog.commit([record])


def create_table(
    catalog: Catalog, database: str, table: str, tags: Iterable[str], fields: Mapping[str, Kind]
) -> None:
    """Makes a table, and its database where there is none."""
    change = Transaction(catalog, database)
    if change.database.table(table) is not None:
        raise errors.already_exists()
    try:
        draft = change.table(table)
        for tag in tags:
            draft.column(tag, Kind.TAG)
        for name, kind in fields.items():
            draft.column(name, kind)
    except TableLimitReached as full:
        raise errors.too_many_tables(full.current, full.limit) from None
    except ColumnRefused as refused:
        raise errors.bad_column(str(refused)) from None
    draft.time()
    change.commit()


def delete_table(catalog: Catalog, database: str, table: str, hard_delete_at: str | None) -> None:
    """Deletes a table softly."""
    now = time.time_ns()
    hard_delete_ns = _hard_deletion(hard_delete_at, now)
    if database == INTERNAL:
        raise errors.internal_database("modify")
    owner = catalog.database(database)
    if owner is None:
        raise errors.database_of_table_not_found(database)
    if owner.deleted:
        raise errors.already_deleted(database)
    found = owner.table(table)
    if found is None:
        raise errors.table_not_found(database, table)
    if found.deleted:
        raise errors.already_deleted(table)
    name = _deleted_name(table, now, found.id, owner.table_ids.__contains__)
    catalog.commit([delete_table_record(owner.id, found.id, name, hard_delete_ns)])


def create_token(catalog: Catalog, name: str, expiry_seconds: int | None) -> tuple[Token, str]:
    """Makes an admin token.

    Returns:
        what is kept of it, and the token itself, which is kept nowhere.
    """
    if name in catalog.tokens:
        raise errors.token_exists(name)
    secret = "apiv3_" + base64.urlsafe_b64encode(secrets.token_bytes(64)).decode().rstrip("=")
    now_ms = time.time_ns() // 10**6
    expiry_ms = None if expiry_seconds is None else now_ms + expiry_seconds * 1_000
    token = Token(catalog.next_token_id, name, hash_token(secret), now_ms, expiry_ms)
    catalog.commit([create_token_record(token)])
    return token, secret


def delete_token(catalog: Catalog, name: str) -> None:
    """Deletes a named token; the first one stays."""
    if name == OPERATOR_TOKEN:
        raise errors.operator_token()
    if name not in catalog.tokens:
        raise errors.not_found(name)
    catalog.commit([{"op": "delete_token", "name": name}])


def hash_token(secret: str) -> str:
    """What is kept of a token."""
    return hashlib.sha512(secret.encode()).hexdigest()


@dataclass(slots=True)
class TableDraft:
    """A table as a transaction sees it: what exists, and the columns that it adds."""

    table: Table
    is_new: bool
    added: dict[str, Kind] = field(default_factory=dict)

    def column(self, name: str, kind: Kind) -> None:
        """Makes sure of a tag or field.

        Raises:
            ColumnRefused: the name is reserved, or the column exists with another type.
        """
        existing = self.table.columns.get(name) or self.added.get(name)
        if existing is kind:
            return
        if existing is not None:
            text = errors.column_type_text(name, existing.label, kind.label)
            raise ColumnRefused(text)
        if name in RESERVED_COLUMNS:
            raise ColumnRefused(errors.reserved_column_text(name))
        self.added[name] = kind

    def time(self) -> None:
        """Makes sure of the time column."""
        if "time" not in self.table.columns:
            self.added["time"] = Kind.TIME


class Transaction:
    """Changes to one database that take effect together: the database itself, tables, columns.

    Args:
        catalog: the catalog.
        name: the database; made where there is none.

    Raises:
        ApiError: 422, there may be no more databases.
    """

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._drafts: dict[str, TableDraft] = {}
        self._records: list[Record] = []
        self._new_tables = 0
        existing = catalog.database(name)
        if existing is None:
            check_database_limit(catalog)
            existing = Database(catalog.next_database_id, name)
            self._records.append(create_database_record(existing.id, name, None))
        self.database = existing

    def table(self, name: str) -> TableDraft:
        """The table of that name, made where there is none.

        Raises:
            TableLimitReached: there may be no more tables.
        """
        draft = self._drafts.get(name)
        if draft is None:
            table = self.database.table(name)
            draft = TableDraft(table, False) if table else self._new_table(name)
            self._drafts[name] = draft
        return draft

    def commit(self) -> None:
        """Makes all the changes."""
        for draft in self._drafts.values():
            table = draft.table
            if draft.is_new:
                self._records.append(
                    create_table_record(self.database.id, table.id, table.name, draft.added)
                )
            elif draft.added:
                self._records.append(
                    {
                        "op": "add_columns",
                        "database": self.database.id,
                        "id": table.id,
                        "columns": draft.added,
                    }
                )
        self._catalog.commit(self._records)

    def _new_table(self, name: str) -> TableDraft:
        limit = self._catalog.limits.tables
        current = self._catalog.active_tables + self._new_tables
        if limit is not None and current >= limit:
            raise TableLimitReached(current, limit)
        table = Table(self.database.next_table_id + self._new_tables, name)
        self._new_tables += 1
        return TableDraft(table, True)


def _hard_deletion(at: str | None, now_ns: int) -> int | None:
    match at:
        case None | "default":
            return now_ns + HARD_DELETE_AFTER_NS
        case "never":
            return None
        case "now":
            return now_ns
    if not _RFC_3339.fullmatch(at):
        raise errors.bad_timestamp("input contains invalid characters")
    try:
        moment = datetime.fromisoformat(at.upper())
    except ValueError:
        raise errors.bad_timestamp("input is out of range") from None
    return max(now_ns, int(moment.timestamp()) * 10**9)


def _deleted_name(name: str, now_ns: int, identity: int, is_taken: Callable[[str], bool]) -> str:
    moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
    stamped = f"{name}-{moment:%Y%m%dT%H%M%S}"
    return f"{stamped}-{identity}" if is_taken(stamped) else stamped
