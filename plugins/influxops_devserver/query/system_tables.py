"""The ``system`` schema: what the server shows of itself in SQL."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from influxops_devserver.storage.catalog import Catalog, Database, Kind, Table
from influxops_devserver.storage.files import File
from influxops_devserver.storage.tokens import Token

#: Estimated bytes of a row in a file.
_ROW_BYTES = 40
_TEXT = pa.string_view()
_SECONDS = pa.timestamp("s", "UTC")
_MILLISECONDS = pa.timestamp("ms")
#: Name, type and whether it can be null, for each column of each table.
_SCHEMAS: dict[str, list[tuple[str, Any, bool]]] = {
    "parquet_files": [
        ("table_name", pa.string(), False),
        ("path", pa.string(), False),
        ("size_bytes", pa.uint64(), False),
        ("row_count", pa.uint64(), False),
        ("min_time", pa.int64(), False),
        ("max_time", pa.int64(), False),
    ],
    "databases": [
        ("database_name", _TEXT, False),
        ("retention_period_ns", pa.uint64(), True),
        ("deleted", pa.bool_(), False),
        ("hard_deletion_time", _SECONDS, True),
    ],
    "tables": [
        ("database_name", _TEXT, False),
        ("table_name", _TEXT, False),
        ("column_count", pa.uint64(), False),
        ("series_key_columns", _TEXT, False),
        ("last_cache_count", pa.uint64(), False),
        ("distinct_cache_count", pa.uint64(), False),
        ("deleted", pa.bool_(), False),
        ("hard_deletion_time", _SECONDS, True),
    ],
    "nodes": [
        ("node_id", _TEXT, False),
        ("mode", pa.list_(pa.field("item", _TEXT)), False),
        ("core_count", pa.uint64(), False),
        ("state", _TEXT, False),
        ("updated_at", _MILLISECONDS, True),
    ],
    "tokens": [
        ("token_id", pa.uint64(), False),
        ("name", _TEXT, False),
        ("created_at", _MILLISECONDS, False),
        ("expiry", _MILLISECONDS, True),
        ("permissions", _TEXT, False),
        ("hash", _TEXT, False),
    ],
}


def system_tables(catalog: Catalog, *, started_ms: int) -> dict[str, Any]:
    """Return what the internal database shows of the catalog, as record batches by name."""
    databases = catalog.databases.values()
    return {
        "parquet_files": parquet_files(()),
        "databases": _batch("databases", map(_database, databases)),
        "tables": _batch("tables", (_table(d, t) for d in databases for t in d.tables.values())),
        "nodes": _batch("nodes", [("n1", ["core"], os.cpu_count() or 1, "running", started_ms)]),
    }


def tokens_table(tokens: Iterable[Token], *, with_auth: bool) -> Any:
    """Return the table of tokens; it has their hashes only where the server asks for tokens."""
    rows = ((t.id, t.name, t.created_ms, t.expiry_ms, "*:*:*", t.hash[:9]) for t in tokens)
    table = _batch("tokens", rows)
    return table if with_auth else table.drop_columns(["hash"])


def parquet_files(files: Iterable[tuple[str, Iterable[File]]]) -> Any:
    """Return the table of a database's files, given with the names of tables, as a record batch."""
    return _batch(
        "parquet_files",
        (
            (table, file.path, _ROW_BYTES * file.rows, file.rows, file.first, file.last)
            for table, found in files
            for file in found
        ),
    )


def _database(database: Database) -> tuple[Any, ...]:
    retention = database.retention_seconds
    return (
        database.name,
        None if retention is None else retention * 10**9 % 2**64,
        database.deleted,
        _seconds(database.hard_delete_ns),
    )


def _table(database: Database, table: Table) -> tuple[Any, ...]:
    series = ", ".join(name for name, kind in table.columns.items() if kind is Kind.TAG)
    deletion = _seconds(table.hard_delete_ns)
    columns = len(table.columns)
    return (database.name, table.name, columns, series, 0, 0, table.deleted, deletion)


def _seconds(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // 10**9


def _batch(table: str, rows: Iterable[tuple[Any, ...]]) -> Any:
    schema = _SCHEMAS[table]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    fields = [pa.field(name, type_, nullable=nullable) for name, type_, nullable in schema]
    arrays = [pa.array(cells, type=f.type) for cells, f in zip(columns, fields, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
