"""From line protocol to rows: what a write does to the catalog, and which lines it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from influxops_devserver.errors import ApiError, ColumnRefused, json_error
from influxops_devserver.limits import SchemaLimit
from influxops_devserver.storage.catalog import Catalog, Database, Kind, Value
from influxops_devserver.storage.rows import Row
from influxops_devserver.write.line_protocol import Line, LineError, read_lines

_SECOND, _MILLISECOND, _MICROSECOND = 10**9, 10**6, 10**3
#: Nanoseconds in a unit of each precision; None guesses by the size of each timestamp.
_UNITS = {
    "auto": None,
    **dict.fromkeys(("second", "s"), _SECOND),
    **dict.fromkeys(("millisecond", "ms"), _MILLISECOND),
    **dict.fromkeys(("microsecond", "us", "u"), _MICROSECOND),
    **dict.fromkeys(("nanosecond", "ns", "n"), 1),
}
Precision = Annotated[str, Meta(pattern=f"^({'|'.join(_UNITS)})$")]
"""The precision of timestamps, as a request names it."""

_SHOWN_BYTES = 20


@dataclass(frozen=True, slots=True)
class Accepted:
    """The rows that a write adds."""

    database: Database
    #: By the id of their table.
    rows: dict[int, list[Row]]
    #: What to answer once they are written; None where no line was refused.
    error: ApiError | None


def accept(
    catalog: Catalog, database: str, body: str, *, now_ns: int, precision: str, partial: bool
) -> Accepted:
    """Check every line, and create the database, the tables and the columns that they need.

    What a refused line would have needed is created all the same, up to where it was refused, and
    the database even where not one line was good: so does the server. With `partial`, good lines
    are taken although others are refused.
    """
    draft = catalog.draft(database)
    if draft.deleted:
        text = f"cannot write to soft-deleted database '{database}' - it is marked for deletion"
        raise json_error(400, text)
    rows: dict[int, list[Row]] = {}
    refused: list[dict[str, Any]] = []
    status = 400
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
            if isinstance(error, SchemaLimit):
                status = 422
        else:
            rows.setdefault(table, []).append(row)
    catalog.put(draft)
    if not rows and not refused:
        raise ApiError(400, "incoming write was empty")
    text = "partial write of line protocol occurred"
    return Accepted(draft, rows, json_error(status, text, refused) if refused else None)


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
    moment = _nanoseconds(line.timestamp, now_ns, _UNITS[precision])
    if not -(2**63) <= moment < 2**63:
        text = f"timestamp, {line.timestamp}, out of range for precision: {precision}"
        raise LineError(text)
    return table.id, (moment, dict(line.tags), fields)


def _nanoseconds(timestamp: int | None, now_ns: int, unit: int | None) -> int:
    if timestamp is None:
        return now_ns if unit is None else now_ns // unit * unit
    if unit is not None:
        return timestamp * unit
    # A timestamp of this century is below 5, 5,000 and so on thousand million in each unit.
    size = abs(timestamp) // 10**9
    for limit, guessed in ((5, _SECOND), (5_000, _MILLISECOND), (5_000_000, _MICROSECOND)):
        if size < limit:
            return timestamp * guessed
    return timestamp
