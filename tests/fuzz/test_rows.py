"""Rows of a copy: what a server answers as JSON lines is written as it was."""

from __future__ import annotations

import contextlib
import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import json

from influxops.plugin import TargetError
from influxops_devserver.storage.catalog import Kind
from influxops_devserver.write.line_protocol import Line, LineError, parse_line, read_lines
from influxops_influxdb3.copy.line_protocol import (
    TAG,
    LineEncoder,
    Table,
    Unwritable,
)
from influxops_influxdb3.copy.part_files import parts_of, time_of, times_of
from influxops_influxdb3.copy.tables import tags_in_order
from influxops_influxdb3.queries import FIRST, LAST, format_time, parse_time
from tests.fuzz.inputs import broken, documents, utf8

times = st.integers(FIRST, LAST)
#: What a server takes as a name or a tag; it refuses a bare line break, and a backslash at the end.
written = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\t\0"), min_size=1
).map(lambda text: text.rstrip("\\") or "\\ ")
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    TAG: written,
    "bool": st.booleans(),
    "float64": st.floats(allow_nan=False),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "utf8": utf8,
}
_KINDS = {
    Kind.BOOLEAN: "bool",
    Kind.FLOAT: "float64",
    Kind.INTEGER: "int64",
    Kind.UINTEGER: "uint64",
    Kind.STRING: "utf8",
}


@st.composite
def tables(draw: st.DrawFn) -> Table:
    names = st.dictionaries(
        written.filter(lambda n: n != "time"), st.sampled_from([*_VALUES]), max_size=6
    )
    columns = {"value": "float64"} | draw(names)
    return Table(draw(written), dict(sorted(columns.items())))


@st.composite
def rows_of_tables(draw: st.DrawFn) -> tuple[Table, list[dict[str, Any]]]:
    table = draw(tables())
    row = st.fixed_dictionaries(
        {"time": times.map(lambda t: format_time(t).removesuffix("Z"))},
        optional={name: _VALUES[kind] for name, kind in table.columns.items()},
    )
    return table, draw(st.lists(row, max_size=5))


def as_answered(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a server's JSON has it, which tells infinities by columns of their own."""
    shown = dict(row)
    for alias, name in table.infinite.items():
        if name in row and math.isinf(row[name]):
            shown[name], shown[alias] = None, 1 if row[name] > 0 else -1
    found: dict[str, Any] = json.decode(json.encode(shown))
    return found


@given(rows_of_tables())
def test_a_row_is_written_as_it_was_read(given: tuple[Table, list[dict[str, Any]]]) -> None:
    table, rows = given
    encoder = LineEncoder(table)
    lines = encoder.of([as_answered(table, row) for row in rows])
    expected = []
    for row in rows:
        values = {name: value for name, value in row.items() if name != "time"}
        tags = {name: value for name, value in values.items() if table.columns[name] == TAG}
        if fields := {name: value for name, value in values.items() if name not in tags}:
            expected.append((table.name, tags, fields, parse_time(row["time"])))
    assert encoder.empty == len(rows) - len(expected)
    found = []
    for line in lines:
        point = parse_line(line.decode())
        for name, kind, _ in point.fields:
            assert _KINDS[kind] == table.columns[name]
        values = {name: value for name, _, value in point.fields}
        found.append((point.measurement, dict(point.tags), values, point.timestamp))
        assert time_of(line) == point.timestamp
        key, fields, time = parts_of(line)
        assert f"{key} {','.join(fields.values())} {time}".encode() == line
    assert sorted(map(repr, found)) == sorted(map(repr, expected))  # by repr, since -0.0 == 0.0
    if lines:
        assert times_of(lines) == (min(map(time_of, lines)), max(map(time_of, lines)))


@given(
    st.lists(st.dictionaries(st.sampled_from(["time", "tag", "i", "f", "s", "b", "u"]), documents))
)
def test_rows_of_any_shape_are_lines_or_an_error_of_the_target(rows: list[dict[str, Any]]) -> None:
    kinds = {"tag": TAG, "i": "int64", "f": "float64", "s": "utf8", "b": "bool", "u": "uint64"}
    encoder = LineEncoder(Table("t", kinds))
    try:
        encoder.of(rows)
        for row in rows:
            encoder.parts(row)
    except TargetError:
        pass


@given(times)
@example(FIRST)
@example(LAST)
@example(0)
@example(-1)
def test_a_time_is_read_as_it_was_written(time: int) -> None:
    text = format_time(time)
    assert parse_time(text) == time
    assert parse_time(text.removesuffix("Z")) == time


@given(documents)
def test_a_time_of_any_shape_is_a_number_or_an_error_of_the_target(value: Any) -> None:
    with contextlib.suppress(TargetError):
        assert isinstance(parse_time(value), int)


@given(utf8)
@example("\\")
@example("")
@example("a\nb")
@example("a\\\nb")
def test_a_tag_is_written_as_it_is_or_refused(value: str) -> None:
    encoder = LineEncoder(Table("t", {"tag": TAG, "f": "float64"}))
    row = {"tag": value, "f": 1.0, "time": "2026-01-01T00:00:00"}
    try:
        (line,) = encoder.of([row])
    except Unwritable:
        assert not value or value.endswith("\\") or "\n" in value or "\t" in value
        return
    if "\0" not in value:
        assert dict(parse_line(line.decode()).tags) == {"tag": value}


@given(st.lists(written, unique=True, max_size=8), st.randoms())
def test_tags_are_found_in_their_order(tags: list[str], random: Any) -> None:
    found = tags_in_order(", ".join(tags), sorted(tags))
    assert found is not None and sorted(found) == sorted(tags)
    assert ", ".join(found) == ", ".join(tags)


def test_names_of_tags_that_never_end_to_be_tried_are_given_up() -> None:
    tags = [", ".join(["a"] * number) for number in range(1, 15)]  # 87 thousand million orders
    assert tags_in_order(", ".join(tags)[:-1] + "b", tags) is None


LINES = [
    b'm,k=v i=1i,u=2u,f=1.5e3,b=t,s="a \\"b\\"" 1700000000000000000',
    b"m\\ n,k\\,l=v\\=w f\\ g=1 -5\n# no line\nm v=1",
    b'm s="a\nb" 1',
]


@given(broken(LINES).map(lambda data: data.decode(errors="replace")))
def test_lines_of_any_kind_are_read_or_refused_by_the_stand_in(body: str) -> None:
    for text, line in read_lines(body):
        assert isinstance(text, str)
        assert isinstance(line, Line | LineError)
