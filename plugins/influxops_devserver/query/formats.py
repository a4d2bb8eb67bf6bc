"""Results as JSON, JSON lines, CSV or a drawn table.

DataFusion writes all of them, with the code that the real server uses too, so numbers, times and
escapes come out the same.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from datafusion import DataFrame, SessionConfig, SessionContext

from influxops_devserver.storage.catalog import Database

Format = Literal["csv", "pretty", "json", "jsonl"]
CONTENT_TYPES: dict[Format, str] = {
    "csv": "text/csv",
    "pretty": "text/plain; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/jsonl",
}
"""Content type of each format, by the name that a request gives."""


def encode(batches: Sequence[Any], format: Format) -> bytes:
    """Return record batches of one schema in a format of :data:`CONTENT_TYPES`.

    Where there is no row there is no header either: an empty list in JSON, nothing in JSON lines
    and CSV.
    """
    batches = [batch for batch in batches if batch.num_rows]
    if not batches:
        return {"json": b"[]", "pretty": b"++\n++"}.get(str(format), b"")
    if format == "pretty":
        # Its first line names the class.
        table = DataFrame.default_str_repr(batches, batches[0].schema, False, "")
        return table.partition("\n")[2].encode()
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "result"
        frame = _frame(batches)
        if format == "csv":
            frame.write_csv(target, with_header=True)
        else:
            frame.write_json(target)
        data = b"".join(path.read_bytes() for path in sorted(target.iterdir()))
    if format == "json":
        # A newline in a string is escaped, so each one in the text ends an object.
        return b"[" + data.removesuffix(b"\n").replace(b"\n", b",") + b"]"
    return data


def databases_batch(databases: Iterable[Database], show_deleted: bool) -> Any:
    """Return the databases by name, deleted ones last or left out, as a record batch."""
    found = sorted((d.deleted, d.name) for d in databases if show_deleted or not d.deleted)
    columns = {"iox::database": pa.array([name for _, name in found], type=pa.string())}
    if show_deleted:
        columns["deleted"] = pa.array([deleted for deleted, _ in found], type=pa.bool_())
    return pa.RecordBatch.from_pydict(columns)


def _frame(batches: Sequence[Any]) -> Any:
    context = SessionContext(SessionConfig().with_target_partitions(1))
    names: list[str] = []
    for name in batches[0].schema.names:
        # Two columns may have one name in a result, but not in a frame.
        names.append(f"{name}:{names.count(name)}" if name in names else name)
    return context.create_dataframe([[batch.rename_columns(names) for batch in batches]])
