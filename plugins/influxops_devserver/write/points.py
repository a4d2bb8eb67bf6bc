"""From line protocol to rows: what a write does to the catalog, and which lines it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from influxops_devserver.errors import ApiError, json_error
from influxops_devserver.storage.catalog import Catalog, ColumnRefused, Database, Kind
from influxops_devserver.storage.rows import Row
from influxops_devserver.write.line_protocol import Line, LineError, Value, read_lines

PRECISIONS = {
    "auto": None,
    "second": 10**9,
    "s": 10**9,
    "millisecond": 10**6,
    "ms": 10**6,
    "microsecond": 10**3,
    "us": 10**3,
    "u": 10**3,
    "nanosecond": 1,
    "ns": 1,
    "n": 1,
}
"""Nanoseconds in a unit of each precision; ``auto`` goes by the size of each timestamp."""

_SHOWN_BYTES = 20


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a write.

    Args:
        database: Where its rows go.
        rows: The rows that were accepted, by the id of their table.
        refused: One object for each line that was not, as the error body has it.
    """

    database: Database
    rows: dict[int, list[Row]]
    refused: list[dict[str, Any]]

    def raise_if_partial(self) -> None:
        """Raise where lines were refused; the others are written.

        Raises:
            ApiError: 422 where a limit was the reason for any of them, else 400.
        """
        if self.refused:
            limit = "Update to schema would exceed number of"
            hit = any(line["error_message"].startswith(limit) for line in self.refused)
            text = "partial write of line protocol occurred"
            raise json_error(422 if hit else 400, text, self.refused)


def accept(
    catalog: Catalog, database: str, body: str, *, now_ns: int, precision: str, partial: bool
) -> Accepted:
    """Check every line, and make the database, the tables and the columns that they need.

    What a refused line would have needed is made all the same, up to where it was refused, and the
    database even where not one line was good: so does the server.

    Args:
        catalog: The catalog.
        database: Name of the database, made where there is none.
        body: The lines.
        now_ns: Time of lines without a timestamp.
        precision: One of :data:`PRECISIONS`.
        partial: Whether good lines are taken although others are refused.

    Raises:
        ApiError: There may be no more databases, the database is deleted, not one line is there,
            or a line is refused and ``partial`` is false.
    """
    draft = catalog.draft(database)
    if draft.deleted:
        text = f"cannot write to soft-deleted database '{database}' - it is marked for deletion"
        raise json_error(400, text)
    rows: dict[int, list[Row]] = {}
    refused: list[dict[str, Any]] = []
    for number, (text, line) in enumerate(read_lines(body), start=1):
        try:
            table, row = _accept_line(catalog, draft, line, now_ns, precision)
        except (ColumnRefused, LineError) as error:
            problem = {
                "error_message": str(error),
                "line_number": number,
                "original_line": text.encode()[:_SHOWN_BYTES].decode(errors="ignore"),
            }
            if not partial:
                raise json_error(400, "line protocol parsing error", problem) from None
            refused.append(problem)
        else:
            rows.setdefault(table, []).append(row)
    catalog.put(draft)
    if not rows and not refused:
        raise ApiError(400, "incoming write was empty")
    return Accepted(draft, rows, refused)


def _accept_line(
    catalog: Catalog, database: Database, line: Line | LineError, now_ns: int, precision: str
) -> tuple[int, Row]:
    if isinstance(line, LineError):
        raise line
    fields: dict[str, Value] = {}
    table = catalog.draft_table(database, line.measurement)
    columns = table.columns
    for name, _ in line.tags:
        if columns.get(name) is not Kind.TAG:
            table.add_column(name, Kind.TAG)
    for name, kind, value in line.fields:
        if columns.get(name) is not kind:
            table.add_column(name, kind)
        if name in fields:
            text = f"invalid line protocol - multiple instances of '{name}' field found"
            raise ColumnRefused(text)
        fields[name] = value
    if "time" not in columns:
        columns["time"] = Kind.TIME
    moment = _nanoseconds(line.timestamp, now_ns, PRECISIONS[precision])
    if not -(2**63) <= moment < 2**63:
        unit = _long_name(precision)
        raise LineError(f"timestamp, {line.timestamp}, out of range for precision: {unit}")
    return table.id, (moment, dict(line.tags), fields)


def _nanoseconds(timestamp: int | None, now_ns: int, unit: int | None) -> int:
    if timestamp is None:
        return now_ns if unit is None else now_ns // unit * unit
    if unit is not None:
        return timestamp * unit
    # A timestamp of this century is below 5, 5,000 and so on thousand million in each unit.
    size = abs(timestamp) // 10**9
    for limit, guessed in ((5, 10**9), (5_000, 10**6), (5_000_000, 10**3)):
        if size < limit:
            return timestamp * guessed
    return timestamp


def _long_name(precision: str) -> str:
    unit = PRECISIONS[precision]
    return next(name for name, size in PRECISIONS.items() if size == unit).capitalize()
