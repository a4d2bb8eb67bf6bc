"""SQL over one database, by DataFusion: catalog ``public``, schemas ``iox`` and ``system``.

Each query gets a DataFusion session of its own, which costs half a millisecond; what costs more,
tables as Arrow record batches, is kept as long as they do not change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datafusion import SessionConfig, SessionContext, SQLOptions

from influxops_devserver.errors import ApiError, json_error
from influxops_devserver.limits import QueryFileLimit
from influxops_devserver.query.scans import Scan, scans
from influxops_devserver.query.system_tables import parquet_files, system_tables, tokens_table
from influxops_devserver.storage.catalog import Catalog, Database, Table
from influxops_devserver.storage.files import File
from influxops_devserver.storage.rows import empty_batch
from influxops_devserver.storage.tokens import Tokens
from influxops_devserver.storage.wal import WriteAheadLog

_READ_ONLY = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)


@dataclass
class QueryEngine:
    """Answers SQL.

    No query can read a table of the name `unreadable_table`, of another schema than `iox` with that
    before it.
    """

    catalog: Catalog
    tokens: Tokens
    wal: WriteAheadLog
    with_auth: bool
    unreadable_table: str | None
    _started_ms: int = field(default_factory=lambda: time.time_ns() // 10**6)
    _system: tuple[int, dict[str, Any]] = (-1, {})

    async def run(self, database: str, sql: str, params: dict[str, Any] | None = None) -> list[Any]:
        """Run a read-only statement, with values for its placeholders; return its batches."""
        found = self.catalog.database(database)
        if found is None:
            raise json_error(404, f"query error: database not found: {database}")
        # The event loop is the only one to change rows and catalog, so what the thread needs of
        # them is taken here.
        files = {t.name: self.wal.files.of(found.id, t.id) for t in found.tables.values()}
        tables = {_name("iox", t.name): self._batches(found, t) for t in found.tables.values()}
        for name, batch in self._system_tables(found, files).items():
            tables[_name("system", name)] = [batch]
        listed = self._listed_files(found) if "parquet_files" in sql else None
        check = self._check(found, files)
        return await asyncio.to_thread(_run, tables, sql, params, check, listed)

    def _listed_files(self, database: Database) -> Any:
        """Return the files of a database as the server lists them where it is asked for no table.

        Each is there once for each database that has a table with the number of its own, under the
        name of that table: numbers are a database's own, and the server asks for those of all.
        """
        return parquet_files(
            (table.name, self.wal.files.of(database.id, table.id))
            for each in self.catalog.databases.values()
            for table in each.tables.values()
        )

    def _check(
        self, database: Database, files: Mapping[str, list[File]]
    ) -> Callable[[Scan], None] | None:
        """Return what raises for a scan that is refused; None where none can be."""
        limit, unreadable = self.catalog.limits.query_files, self.unreadable_table
        many = {name: list(found) for name, found in files.items() if len(found) > limit}
        without_time = {
            table.name: frozenset(table.columns)
            for table in database.tables.values()
            if "time" not in table.columns
        }
        if not many and not without_time and not unreadable:
            return None

        def check(scan: Scan) -> None:
            if scan.table == unreadable:
                raise ApiError(500, f"External error: cannot read a record batch of {unreadable}")
            if without_time.get(scan.table) == scan.columns:
                raise ApiError(500, "table should have a time column")
            files_read = [
                file
                for file in many.get(scan.table, ())
                if file.first <= scan.last and file.last >= scan.first
            ]
            # Each scan counts alone.
            if len(files_read) > limit:
                raise QueryFileLimit(limit)

        return check

    def _batches(self, database: Database, table: Table) -> list[Any]:
        batches = self.wal.batches(database, table.id) or [empty_batch(table.columns)]
        if database.retention_seconds is not None and "time" in table.columns:
            # Hidden, not gone: a longer period shows these rows again.
            oldest = time.time_ns() - database.retention_seconds * 10**9
            cutoff = pa.scalar(max(oldest, -(2**63)), type=pa.timestamp("ns"))
            batches = [b.filter(pc.greater_equal(b.column("time"), cutoff)) for b in batches]
        return batches

    def _system_tables(self, database: Database, files: Mapping[str, list[File]]) -> dict[str, Any]:
        if database.id != 0:
            return {"parquet_files": parquet_files(files.items())}
        version, tables = self._system
        if version != self.catalog.version:
            tables = system_tables(self.catalog, started_ms=self._started_ms)
            self._system = (self.catalog.version, tables)
        return tables | {"tokens": tokens_table(self.tokens, with_auth=self.with_auth)}


def _run(
    tables: Mapping[str, list[Any]],
    sql: str,
    params: dict[str, Any] | None,
    check: Callable[[Scan], None] | None,
    listed: Any,
) -> list[Any]:
    """Run a statement, in a thread, over record batches by the qualified names of their tables.

    A scan of the `listed` files is of one table; where it is not, it has these.
    """
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
    for name, batches in tables.items():
        context.register_record_batches(name, [batches])
    try:
        frame = context.sql(sql, _READ_ONLY, param_values=params)
    except Exception as error:
        text = _words(error)
        if text.startswith(("Error during planning", "SQL error")):
            raise ApiError(400, text) from None
        unknown = text.startswith("This feature is not implemented")
        raise ApiError(405 if unknown else 500, text) from None
    try:
        if check is not None or listed is not None:
            for scan in scans(frame.optimized_logical_plan()):
                if scan.table == "system.parquet_files" and not scan.is_of_one and listed:
                    tables = {**tables, _name("system", "parquet_files"): [listed]}
                    return _run(tables, sql, params, check, None)
                if check is not None:
                    check(scan)
        return list(frame.collect())
    except ApiError:
        raise
    except Exception as error:
        text = f"query error: error while executing plan: {_words(error)}"
        raise ApiError(500, text) from None


def _words(error: Exception) -> str:
    # The recorded server's version of DataFusion does not break lines here.
    return (
        str(error)
        .removeprefix("DataFusion error: ")
        .replace("\nValid fields are", " Valid fields are")
    )


def _name(schema: str, table: str) -> str:
    quoted = table.replace('"', '""')
    return f'public.{schema}."{quoted}"'
