"""The ``system`` schema: what the server tells of itself in SQL."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from influxops_demo.standin.catalog import INTERNAL, Catalog, Database
from influxops_demo.standin.kinds import Kind

NODE_ID = "n1"

_TEXT = pa.string_view()
_SECONDS = pa.timestamp("s", "UTC")
_MILLISECONDS = pa.timestamp("ms")

_PARQUET_FILES = pa.schema(
    [
        pa.field("table_name", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("size_bytes", pa.uint64(), nullable=False),
        pa.field("row_count", pa.uint64(), nullable=False),
        pa.field("min_time", pa.int64(), nullable=False),
        pa.field("max_time", pa.int64(), nullable=False),
    ]
)
_DATABASES = pa.schema(
    [
        pa.field("database_name", _TEXT, nullable=False),
        pa.field("retention_period_ns", pa.uint64()),
        pa.field("deleted", pa.bool_(), nullable=False),
        pa.field("hard_deletion_time", _SECONDS),
    ]
)
_TABLES = pa.schema(
    [
        pa.field("database_name", _TEXT, nullable=False),
        pa.field("table_name", _TEXT, nullable=False),
        pa.field("column_count", pa.uint64(), nullable=False),
        pa.field("series_key_columns", _TEXT, nullable=False),
        pa.field("last_cache_count", pa.uint64(), nullable=False),
        pa.field("distinct_cache_count", pa.uint64(), nullable=False),
        pa.field("deleted", pa.bool_(), nullable=False),
        pa.field("hard_deletion_time", _SECONDS),
    ]
)
_NODES = pa.schema(
    [
        pa.field("node_id", _TEXT, nullable=False),
        pa.field("node_catalog_id", pa.uint32(), nullable=False),
        pa.field("instance_id", _TEXT, nullable=False),
        pa.field("mode", pa.list_(pa.field("item", _TEXT)), nullable=False),
        pa.field("core_count", pa.uint64(), nullable=False),
        pa.field("state", _TEXT, nullable=False),
        pa.field("updated_at", _MILLISECONDS),
        pa.field("cli_params", _TEXT),
    ]
)
_TOKENS = pa.schema(
    [
        pa.field("token_id", pa.uint64(), nullable=False),
        pa.field("name", _TEXT, nullable=False),
        pa.field("hash", _TEXT, nullable=False),
        pa.field("created_at", _MILLISECONDS, nullable=False),
        pa.field("description", _TEXT),
        pa.field("created_by_token_id", pa.uint64()),
        pa.field("updated_at", _MILLISECONDS),
        pa.field("updated_by_token_id", pa.uint64()),
        pa.field("expiry", _MILLISECONDS),
        pa.field("permissions", _TEXT, nullable=False),
    ]
)


def system_tables(
    catalog: Catalog, database: Database, *, started_ms: int, with_auth: bool
) -> dict[str, Any]:
    """The system tables that a database shows, as record batches by name.

    Every database has ``parquet_files``, which stays empty because the stand-in writes none; the
    internal one has the tables that tell of the whole server.
    """
    tables = {"parquet_files": _batch(_PARQUET_FILES, [])}
    if database.name != INTERNAL:
        return tables
    node = (NODE_ID, 0, catalog.uuid, ["core"], os.cpu_count() or 1, "running", started_ms, None)
    tables["databases"] = _batch(_DATABASES, map(_database, catalog.databases.values()))
    tables["tables"] = _batch(_TABLES, _tables(catalog))
    tables["nodes"] = _batch(_NODES, [node])
    tables["tokens"] = _tokens(catalog, with_auth)
    return tables


def _database(database: Database) -> tuple[Any, ...]:
    retention = database.retention_seconds
    return (
        database.name,
        None if retention is None else retention * 10**9 % 2**64,
        database.deleted,
        _seconds(database.hard_delete_ns),
    )


def _tables(catalog: Catalog) -> Iterable[tuple[Any, ...]]:
    for database in catalog.databases.values():
        for table in database.tables.values():
            series = ", ".join(name for name, kind in table.columns.items() if kind is Kind.TAG)
            yield (
                database.name,
                table.name,
                len(table.columns),
                series,
                0,
                0,
                table.deleted,
                _seconds(table.hard_delete_ns),
            )


def _tokens(catalog: Catalog, with_auth: bool) -> Any:
    tokens = _batch(
        _TOKENS,
        (
            (
                token.id,
                token.name,
                token.hash[:9],
                token.created_ms,
                None,
                None,
                None,
                None,
                token.expiry_ms,
                "*:*:*",
            )
            for token in catalog.tokens.values()
        ),
    )
    # Without authorization the server does not show the hashes.
    return tokens if with_auth else tokens.drop_columns(["hash"])


def _seconds(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else nanoseconds // 10**9


def _batch(schema: Any, rows: Iterable[tuple[Any, ...]]) -> Any:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
