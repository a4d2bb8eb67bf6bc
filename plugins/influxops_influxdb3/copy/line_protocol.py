"""From a row as JSON to its line of line protocol: exactly, and always the same text.

The line is what is written to the copy, and what both sides are compared by: two rows are the same
if their lines are. Columns have the order of their names, so that it does not matter in which
order a server gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from influxops.plugin import TargetError, one_line
from influxops_influxdb3.queries import Span, parse_time, rows_of

#: The type of each column, as `information_schema.columns` calls it and as tables are made with
#: it; a tag has none.
_TYPES: dict[str, str] = {
    "Boolean": "bool",
    "Float64": "float64",
    "Int64": "int64",
    "UInt64": "uint64",
    "Utf8": "utf8",
    "Utf8View": "utf8",
}
TAG: Final = ""
#: Measurement and tags of a line, its fields by name as it is written, with `=`, and its time.
Parts = tuple[str, dict[str, str], int]
_IN_NAME = re.compile(r"\\[\n\t]|[\\,= ]")
_IN_MEASUREMENT = re.compile(r"\\[\n\t\0]|[\\, ]")
_UNWRITABLE = re.compile(r"(?<!\\)[\n\t]|\\\Z|\A\Z")
#: What reading a row ends with that is not as its table's columns say.
_ODD = (LookupError, TypeError, ValueError, AttributeError)
_MOST_CACHED = 50_000
#: Sets of columns that rows of one table have, of which so many are remembered.
_MOST_WRITERS = 500
#: From the values of rows, in the order of their columns, to lines.
_Write = Callable[[Sequence[tuple[Any, ...]]], list[bytes]]
#: Reads lines of JSON as dictionaries.
as_rows = msgspec.json.Decoder().decode_lines


class Table(Struct, frozen=True):
    """A table's columns: their types by name, TAG for a tag, without the time."""

    name: str
    columns: Mapping[str, str]
    #: Whether it has a `time` column. A refused write may leave a table without, which holds no
    #: rows and cannot be queried, until a good one completes it.
    has_time: bool = True

    @property
    def may_have_rows(self) -> bool:
        """Whether it can be asked for rows: it exists, and is complete."""
        return bool(self.columns) and self.has_time

    @property
    def tags(self) -> list[str]:
        """The names of its tags."""
        return [name for name, kind in self.columns.items() if kind == TAG]

    @property
    def fields(self) -> dict[str, str]:
        """The types of its fields, by name."""
        return {name: kind for name, kind in self.columns.items() if kind != TAG}

    @property
    def infinite(self) -> dict[str, str]:
        """For each float, a column of the answer that tells which infinity it is, if it is one.

        JSON has no infinity, so that such a field looks like one that is null.
        """
        names = {}
        for name, kind in self.columns.items():
            if kind == "float64":
                alias = f"{name} infinite"
                while alias in self.columns:
                    alias += "?"
                names[alias] = name
        return names

    def select(self, span: Span) -> str:
        """Return the query for its rows in a range of time."""
        return rows_of(self.name, self.columns, self.infinite, span)


def table_of(name: str, columns: Iterable[tuple[str, str]]) -> Table:
    """Return a table of columns, each with its name and the server's data type."""
    found, has_time = {}, False
    for column, kind in sorted(columns):
        if column == "time":
            has_time = True
            continue
        if kind.startswith("Dictionary"):
            found[column] = TAG
        elif kind in _TYPES:
            found[column] = _TYPES[kind]
        else:
            raise TargetError(
                f"the column {one_line(column)} of the table {one_line(name)} has the type "
                f"{one_line(kind)}, which cannot be copied"
            )
    return Table(name, found, has_time)


class Unwritable(TargetError):
    """A row that line protocol cannot write."""


class LineEncoder:
    """Encodes the rows of one table, which has all columns that they may have."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._measurement = _name(table.name, _IN_MEASUREMENT)
        self._tags = {name: f",{_name(name)}=" for name in table.tags}
        self._fields: dict[str, tuple[str, Callable[[Any], str]]] = {}
        for name, kind in table.fields.items():
            self._fields[name] = (f"{_name(name)}=", _WRITERS[kind])
        for alias, name in table.infinite.items():
            self._fields[alias] = (f"{_name(name)}=", _infinite)
        self._writers: dict[tuple[str, ...], _Write] = {}
        #: Rows without a field, which cannot be written.
        self.empty = 0
        self._escaped = _Escaped()
        #: Reads rows as structs, and what writes those that have all columns; made where rows are
        #: many.
        self._whole: tuple[Callable[[bytes], list[Any]], _Write] | None = None
        self._decoded = self._sparse = 0

    def decode(self, text: bytes) -> list[Any]:
        """Return the rows in some lines of an answer, for `lines`.

        Structs take half the time of dictionaries, where most rows have all columns.
        """
        self._decoded += 1
        if self._decoded == 1 or self._sparse:
            return as_rows(text)
        if self._whole is None:
            names = [*self.table.columns, *self.table.infinite]
            fields: list[Any] = [("time", str)]
            fields += [
                (f"v{n}", Any, 0 if n >= len(self.table.columns) else None)
                for n in range(len(names))
            ]
            rename = {f"v{n}": name for n, name in enumerate(names)}
            row = msgspec.defstruct("Row", fields, rename=rename, gc=False)
            write = self._writer(("time", *names), is_whole=True)
            self._whole = msgspec.json.Decoder(row).decode_lines, write
        return self._whole[0](text)

    def lines(self, rows: Sequence[Any]) -> list[bytes]:
        """Return the lines of rows that `decode` gave."""
        if not rows or isinstance(rows[0], dict):
            return self.of(rows)
        assert self._whole is not None
        whole, others = list[tuple[Any, ...]](), list[tuple[Any, ...]]()
        for values in map(astuple, rows):
            (others if None in values else whole).append(values)
        try:
            if whole and whole[0][0].endswith("Z"):
                raise KeyError("time")
            lines = self._whole[1](whole)
        except KeyError:  # a tag that cannot be written, or another time than most
            lines, others = [], [*whole, *others]
        if others:
            self._sparse += 2 * len(others) > len(rows)
            lines += self.of(map(self._row, others))
        return lines

    def _row(self, values: tuple[Any, ...]) -> dict[str, Any]:
        names = ("time", *self.table.columns, *self.table.infinite)
        row = {n: value for n, value in zip(names, values, strict=True) if value is not None}
        return {n: value for n, value in row.items() if value != 0 or n not in self.table.infinite}

    def of(self, rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """Return the lines of rows; those without a field are counted and left out.

        Raises:
            TargetError: When a row is not as the columns say, or cannot be written.
        """
        try:
            return self._lines(rows)
        except _ODD:
            raise self._odd() from None

    def _lines(self, rows: Iterable[Mapping[str, Any]]) -> list[bytes]:
        # As `parts` does, by a function that is made for all rows with the same columns: most of
        # the time of a copy is spent here.
        groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        lines: list[bytes] = []
        for row in rows:
            values = (*row.values(),)
            if None in values:
                lines += self._one(row)
                continue
            names = (*row,)
            group = groups.get(names)
            if group is None:
                group = groups[names] = []
            group.append(values)
        for names, found in groups.items():
            write = self._writers.get(names) or self._writer(names)
            try:
                if found[0][names.index("time")].endswith("Z"):
                    raise KeyError("time")
                lines += write(found)
            except KeyError:  # a tag that cannot be written, or another time than most
                for values in found:
                    lines += self._one(dict(zip(names, values, strict=True)))
        return lines

    def _one(self, row: Mapping[str, Any]) -> list[bytes]:
        """Return the line of a row, if it has one."""
        key, fields, time = self.parts(row)
        if not fields:
            self.empty += 1
            return []
        return [f"{key} {','.join(fields.values())} {time}".encode()]

    def _writer(self, names: tuple[str, ...], *, is_whole: bool = False) -> _Write:
        """Return what makes lines of rows with just these columns; `is_whole`: and no infinity.

        Its text has no word of theirs: what they are called is in its variables.
        """
        known: dict[str, Any] = {"tags": self._escaped, "seconds": _SECONDS, "zero": "0"}
        known["m"] = self._measurement
        tags, fields, left_out = [], [], self.table.infinite if is_whole else ()
        for place, name in enumerate(names):
            value = f"v{place}"
            if name in self._tags:
                known[f"p{place}"] = self._tags[name]
                tags.append(f"{{p{place}}}{{tags[{value}]}}")
            elif name in left_out:
                continue
            elif name in self._fields:
                known[f"p{place}"], known[f"w{place}"] = self._fields[name]
                kind = self.table.columns.get(name, "")
                text = _TEXTS.get(kind, "{w0(v0)}").replace("w0", f"w{place}").replace("v0", value)
                fields.append(f"{{p{place}}}{text}")
            else:
                known["time"] = place
        if not fields:
            return self._no_lines
        at = f"v{known['time']}"
        time = f"{{seconds[{at}[:19]]}}{{{at}[20:].ljust(9, zero)}}"
        line = f"{{m}}{''.join(tags)} {','.join(fields)} {time}"
        each = ", ".join(f"v{place}" for place in range(len(names)))
        text = f"def write(rows): return [f'{line}'.encode() for {each}, in rows]"
        exec(text, known)  # no word of a server is in it  # noqa: S102
        write: _Write = known["write"]
        if len(self._writers) < _MOST_WRITERS:
            self._writers[names] = write
        return write

    def _no_lines(self, rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
        self.empty += len(rows)
        return []

    def parts(self, row: Mapping[str, Any]) -> Parts:
        """Return measurement and tags, the fields by name and `=`, and the time of a row."""
        try:
            return self._parts(row)
        except _ODD:
            raise self._odd() from None

    def _odd(self) -> TargetError:
        return TargetError(
            f"the server gave a row of the table {one_line(self.table.name)} that is not as its "
            "columns say"
        )

    def _parts(self, row: Mapping[str, Any]) -> Parts:
        key, fields, tags, writers = self._measurement, {}, self._tags, self._fields
        escaped = self._escaped
        time = None
        for name, value in row.items():
            if value is None:
                # What JSON has no number for is null, and told by a column of its own.
                continue
            tag = tags.get(name)
            if tag is not None:
                text = escaped.get(value)
                if text is None:
                    text = self._escape(name, value, row)
                key += tag + text
            elif name == "time":
                time = value
            else:
                prefix, write = writers[name]
                fields[prefix] = prefix + write(value)
        return key, fields, parse_time(time)

    def _escape(self, name: str, value: str, row: Mapping[str, Any]) -> str:
        """Return a tag's value as line protocol has it."""
        if _UNWRITABLE.search(value):
            raise Unwritable(
                f"the row at {row.get('time')} of the table {one_line(self.table.name)} cannot "
                f"be written: its tag {one_line(name)} is {one_line(value)!r}, which line "
                "protocol cannot hold"
            )
        return self._escaped[value]


def _name(text: str, escaped: re.Pattern[str] = _IN_NAME) -> str:
    """Return a name or the value of a tag as line protocol has it.

    A line break or a tab can only be there after a backslash, which stands for itself then; in the
    name of a table so can a NUL.
    """
    return escaped.sub(lambda m: m[0] if len(m[0]) > 1 else f"\\{m[0]}", text)


def _infinite(sign: int) -> str:
    # What overflows is read as infinite; there is no other way to write it.
    return "1e999" if sign > 0 else "-1e999"


def _text(value: str) -> str:
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


#: A float's text is the shortest one that is read as just this number.
_WRITERS: dict[str, Callable[[Any], str]] = {
    "bool": {True: "t", False: "f"}.__getitem__,
    "float64": repr,
    "int64": "%di".__mod__,
    "uint64": "%du".__mod__,
    "utf8": _text,
}

#: How a writer of lines has a value of some types, v0; others are written by w0.
_TEXTS = {"float64": "{v0!r}", "int64": "{v0}i", "uint64": "{v0}u"}


class _Escaped(dict[str, str]):
    """The values of tags as line protocol has them; those that it cannot hold are missing."""

    def __missing__(self, value: str) -> str:
        if _UNWRITABLE.search(value):
            raise KeyError(value)
        if len(self) >= _MOST_CACHED:
            self.clear()
        text = self[value] = _name(value)
        return text


class _Seconds(dict[str, str]):
    """The seconds since 1970 of a time, as the server writes it up to them, as text."""

    def __missing__(self, text: str) -> str:
        if len(self) >= _MOST_CACHED:
            self.clear()
        seconds = parse_time(f"{text}.0") // 1_000_000_000
        if seconds <= 0:
            raise KeyError(text)
        found = self[text] = str(seconds)
        return found


_SECONDS = _Seconds()


class Digest(Struct):
    """How many rows there are, and what they are, whatever their order."""

    count: int = 0
    total: int = 0

    @property
    def text(self) -> str:
        """The digest of the rows in hexadecimal."""
        return f"{self.total:032x}"

    def add(self, lines: Iterable[bytes]) -> None:
        """Add the lines of rows."""
        of = int.from_bytes
        hashes = [of(blake2b(line, digest_size=16).digest()) for line in lines]
        self.count += len(hashes)
        self.total = (self.total + sum(hashes)) % (1 << 128)
