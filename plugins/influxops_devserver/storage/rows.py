"""The rows of a table: blocks by time, of which those that are not written to are Arrow only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from influxops_devserver.storage.catalog import Kind, Value

Row = tuple[int, dict[str, str], dict[str, Value]]
"""Time in nanoseconds since 1970, tags, fields."""

#: A block that has twice as many rows becomes two, unless they all have one time.
BLOCK_ROWS = 10_000
#: So many blocks of a table are kept as rows, because they were written to recently.
_OPEN_BLOCKS = 4

ARROW_TYPES: dict[Kind, Any] = {
    Kind.TAG: pa.dictionary(pa.int32(), pa.string()),
    Kind.TIME: pa.timestamp("ns"),
    Kind.INTEGER: pa.int64(),
    Kind.UINTEGER: pa.uint64(),
    Kind.FLOAT: pa.float64(),
    Kind.STRING: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
}

_Key = tuple[int, tuple[tuple[str, str], ...]]


class _Block:
    """The rows between two times, by time and series."""

    __slots__ = ("batch", "columns", "rows", "split_at")

    def __init__(self, rows: dict[_Key, Row]) -> None:
        #: None where the rows are in the batch only.
        self.rows: dict[_Key, Row] | None = rows
        self.batch: Any = None
        #: Rows with which it is divided.
        self.split_at = 2 * BLOCK_ROWS
        self.columns: dict[str, Kind] = {}

    def open(self) -> dict[_Key, Row]:
        """Return the rows, read from the batch if need be."""
        if self.rows is None:
            self.rows = {_key(row): row for row in _from_arrow(self.columns, self.batch)}
        return self.rows

    def arrow(self, columns: Mapping[str, Kind]) -> Any:
        """Return the rows as a record batch, its columns by name as the server orders them."""
        if self.batch is None or (len(self.columns) != len(columns) and self.rows is not None):
            assert self.rows is not None
            self.batch, self.columns = _to_arrow(columns, self.rows.values()), dict(columns)
        elif len(self.columns) != len(columns):
            self.batch, self.columns = _widened(columns, self.batch), dict(columns)
        return self.batch

    def close(self, columns: Mapping[str, Kind]) -> None:
        """Keep the batch only."""
        self.arrow(columns)
        self.rows = None


class TableRows:
    """The rows of one table that can be queried."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._blocks: list[_Block] = []
        self._open: list[_Block] = []

    def add(self, rows: Iterable[Row], columns: Mapping[str, Kind]) -> None:
        """Add rows; the fields of a point that is written again replace those of the older row."""
        for row in rows:
            block = self._block_of(row[0])
            known = block.rows if block.rows is not None else block.open()
            block.batch = None
            key = _key(row)
            before = known.get(key)
            known[key] = row if before is None else (row[0], row[1], {**before[2], **row[2]})
            if len(known) >= block.split_at:
                self._split(block)
        for block in self._open[:-_OPEN_BLOCKS]:
            block.close(columns)
        self._open = self._open[-_OPEN_BLOCKS:]

    def batches(self, columns: Mapping[str, Kind]) -> list[Any]:
        """Return all rows as record batches, by time from batch to batch."""
        return [block.arrow(columns) for block in self._blocks]

    def _block_of(self, moment: int) -> _Block:
        index = max(bisect_right(self._starts, moment) - 1, 0)
        if not self._blocks:
            self._starts, self._blocks = [-(2**63)], [_Block({})]
        block = self._blocks[index]
        if not self._open or self._open[-1] is not block:
            self._open = [other for other in self._open if other is not block]
            self._open.append(block)
        return block

    def _split(self, block: _Block) -> None:
        """Divide a block in the middle of its rows; not where they have one time."""
        known = block.open()
        times = sorted(moment for moment, _ in known)
        middle = times[len(times) // 2]
        if middle == times[0]:
            middle = next((moment for moment in times if moment > middle), middle)
        if middle == times[0]:
            block.split_at *= 2
            return
        index = self._blocks.index(block)
        later = _Block({key: row for key, row in known.items() if key[0] >= middle})
        block.rows = {key: row for key, row in known.items() if key[0] < middle}
        self._blocks.insert(index + 1, later)
        self._starts.insert(index + 1, middle)
        self._open.append(later)


def empty_batch(columns: Mapping[str, Kind]) -> Any:
    """Return a record batch without rows."""
    return _to_arrow(columns, ())


def _key(row: Row) -> _Key:
    return row[0], tuple(sorted(row[1].items()))


def _to_arrow(columns: Mapping[str, Kind], rows: Iterable[Row]) -> Any:
    found = [{**tags, **cells, "time": moment} for moment, tags, cells in rows]
    return pa.RecordBatch.from_pylist(found, schema=pa.schema(_fields(columns)))


def _from_arrow(columns: Mapping[str, Kind], batch: Any) -> Iterator[Row]:
    tags = [name for name, kind in columns.items() if kind is Kind.TAG]
    times = batch.column("time").cast(pa.int64()).to_pylist()
    for moment, row in zip(times, batch.drop_columns(["time"]).to_pylist(), strict=True):
        cells = {name: value for name, value in row.items() if value is not None}
        yield moment, {name: cells.pop(name) for name in tags if name in cells}, cells


def _widened(columns: Mapping[str, Kind], batch: Any) -> Any:
    """Return a batch with the columns that were added to the table later."""
    arrays = [
        batch.column(field.name)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in _fields(columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(_fields(columns)))


def _fields(columns: Mapping[str, Kind]) -> list[Any]:
    return [
        pa.field(name, ARROW_TYPES[kind], nullable=kind is not Kind.TIME)
        for name, kind in sorted(columns.items())
    ]
