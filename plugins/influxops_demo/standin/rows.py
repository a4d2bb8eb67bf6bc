"""The rows of all tables, in memory, and as Arrow for a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from influxops_demo.standin.kinds import Kind
from influxops_demo.standin.line_protocol import Value

Row = tuple[int, dict[str, str], dict[str, Value]]
"""Time in nanoseconds since 1970, tags, fields."""

Batch = tuple[int, int, list[Row]]
"""Database, table and the rows that go there: what the write-ahead log holds."""

_ARROW_TYPES: dict[Kind, Any] = {
    Kind.TAG: pa.dictionary(pa.int32(), pa.string()),
    Kind.TIME: pa.timestamp("ns"),
    Kind.INTEGER: pa.int64(),
    Kind.UINTEGER: pa.uint64(),
    Kind.FLOAT: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
}


@dataclass(slots=True)
class TableRows:
    """The rows of one table by series and time.

    A point that is written again does not add a row: its fields replace those that are there.
    """

    rows: dict[tuple[int, tuple[tuple[str, str], ...]], Row] = field(default_factory=dict)
    version: int = 0

    def add(self, rows: Iterable[Row]) -> int:
        """Adds rows and says how many of them replaced others."""
        replaced = 0
        for moment, tags, fields in rows:
            key = (moment, tuple(sorted(tags.items())))
            known = self.rows.get(key)
            if known is not None:
                # A new row, never a changed one: a query may be reading the old one.
                fields = {**known[2], **fields}
                replaced += 1
            self.rows[key] = (moment, tags, fields)
        self.version += 1
        return replaced


class Rows:
    """The rows of all tables that can be queried."""

    def __init__(self) -> None:
        self.tables: dict[tuple[int, int], TableRows] = {}

    def add(self, batches: Iterable[Batch]) -> int:
        """Adds rows and says how many of them replaced others."""
        return sum(
            self.tables.setdefault((database, table), TableRows()).add(rows)
            for database, table, rows in batches
        )

    def version(self, database: int, table: int) -> int:
        """A number that changes with the rows of a table."""
        found = self.tables.get((database, table))
        return found.version if found else 0

    def of(self, database: int, table: int) -> list[Row]:
        """The rows of a table, as they are now."""
        found = self.tables.get((database, table))
        return list(found.rows.values()) if found else []

    def batches(self) -> Iterable[Batch]:
        """Everything, as it would have to be written to have it again."""
        for (database, table), found in self.tables.items():
            yield database, table, list(found.rows.values())


def to_arrow(columns: Mapping[str, Kind], rows: list[Row]) -> Any:
    """Rows as an Arrow record batch, its columns by name as the server orders them.

    Args:
        columns: name and type of every column of the table.
        rows: rows of the table.
    """
    fields, arrays = [], []
    for name in sorted(columns):
        kind = columns[name]
        arrow_type = _ARROW_TYPES[kind]
        values: list[Any]
        match kind:
            case Kind.TIME:
                values = [moment for moment, _, _ in rows]
            case Kind.TAG:
                values = [tags.get(name) for _, tags, _ in rows]
            case _:
                values = [cells.get(name) for _, _, cells in rows]
        arrays.append(pa.array(values, type=arrow_type))
        fields.append(pa.field(name, arrow_type, nullable=kind is not Kind.TIME))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
