"""What is in a copy: every type, every name, whatever the number of rows."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from influxops.plugin import Severity, TargetError
from influxops_devserver.testing import StandInOptions, running_stand_in
from influxops_devserver.write.line_protocol import Line, parse_line
from influxops_influxdb3.copy import backfill, slices
from influxops_influxdb3.copy.line_protocol import LineEncoder, Unwritable, table_of
from influxops_influxdb3.copy.tables import tags_in_order
from influxops_influxdb3.queries import FIRST, LAST, Span, format_time, parse_time
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair

pytestmark = pytest.mark.stand_in


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make slices small."""
    for module in (slices, backfill):
        monkeypatch.setattr(module, "MAX_ROWS", 500)
    return 500


def test_every_type_at_its_limits_is_the_same_afterwards(pair: Pair) -> None:
    pair.make()
    pair.write(
        r"telemetry,device=a,site=x i=9223372036854775807i,u=18446744073709551615u,f=1.5,b=t,"
        r's="he said \"hi\" \\ ü 😀" 1700000000123456789',
        "telemetry,device=b i=-9223372036854775808i 1700000000123456790",
        r"telemetry,device=b,site=with\ space\,comma\=equals f=2e300 1700000001000000000",
        "telemetry i=1i 1700000002000000000",
        "telemetry,device=c f=1.7976931348623157e308,b=f,u=0u 1700000002000000000",
        "telemetry,device=d f=5e-324,i=0i 1700000002000000000",
        "telemetry,device=e f=-0.0 1700000002000000000",
        "telemetry,device=f f=0.1 1700000002000000000",
        "telemetry,device=g f=123456789012345680000 1700000002000000000",
        "telemetry,device=h f=1e999 1700000002000000000",
        "telemetry,device=i f=-1e999 1700000002000000000",
        'telemetry,device=j s="" 1700000002000000000',
        'telemetry,device=k s="two\nlines\ttab, comma=equals" 1700000002000000000',
        'telemetry,device=l s="ends with \\\\" 1700000002000000000',
        "telemetry,device=early i=1i 1",
        "telemetry,device=early i=2i 1700000000",
        "telemetry,device=first i=3i -9223372036854775808",
        "telemetry,device=last i=4i 9223372036854775807",
        "telemetry,device=before f=1 -1",
    )
    told = pair.all()
    pair.assert_equal()
    assert (told.total, told.tables, told.expiring) == (19, 1, 0)
    assert not told.findings
    # What JSON cannot tell apart from null is not null.
    sql = "SELECT COUNT(*) AS n FROM telemetry WHERE f = CAST('{}' AS DOUBLE)"
    for infinity in ("inf", "-inf"):
        assert pair.copy.sql(pair.database, sql.format(infinity)) == [{"n": 1}]


def test_tables_and_columns_may_have_any_name_that_there_is(pair: Pair) -> None:
    names = ["sp ace", "com,ma", 'quo"te', "apo'strophe", "back\\slash", "ünï😀", "select", "T"]
    names += ["t", "iox.t", "system.tables", "a, b", "c=d", "1", "-- x", "$p", "%s", "f infinite"]
    pair.make()
    for name in names:
        measurement = name.replace("\\", "\\\\").replace(",", "\\,").replace(" ", "\\ ")
        column = measurement.replace("=", "\\=")
        pair.write(
            f'{measurement},{column}1={column},z=1 {column}2=1.5,{column}="{name[0]}" 1',
            f"{measurement},p\\,\\ q=1,{column}1={column} {column}2=1e999 2",
        )
    # What needs no escape keeps its backslash, which is what lets these characters be there.
    odd = ["line\\\nbreak", "tab\\\tstop", "nul\\\0", "two\\\\\\\nbreaks"]
    for measurement in odd:
        pair.write(f"{measurement},p=1 z=1i 1", f'{measurement} z=2i,s="a\nb" 2')
    told = pair.all()
    pair.assert_equal()
    assert told.tables == len(names) + len(odd)
    assert told.total == 2 * len(names) + 2 * len(odd)


def test_tags_have_the_order_that_the_source_gave_them(pair: Pair) -> None:
    pair.make()
    # The first row of each by time is not the one that was written first.
    pair.write("telemetry,site=x,device=a v=1i 2000", "telemetry,building=b,device=a v=1i 1000")
    pair.write(r"odd,a\,\ b=1,c=2,a=3 v=1i 1", "plain v=1i 1")
    pair.all()
    found = pair.copy.sql(
        "_internal",
        "SELECT table_name, series_key_columns FROM system.tables "
        f"WHERE database_name = '{pair.database}' AND table_name <> '_init' ORDER BY 1",
    )
    assert [row["series_key_columns"] for row in found] == [
        "a, b, c, a",
        "",
        "site, device, building",
    ]


def test_the_marker_of_the_copy_stays_its_own(pair: Pair) -> None:
    pair.make()
    pair.write("telemetry v=1i 1", "_init,source=provisioning,tenant=old value=2i 1")
    before = pair.copy.sql(pair.database, "SELECT * FROM _init")
    told = pair.all()
    assert told.tables == 1
    assert pair.copy.sql(pair.database, "SELECT * FROM _init") == before


def test_many_rows_are_copied_in_slices(pair: Pair, few_rows: int) -> None:
    pair.make()
    rows = 8 * few_rows
    # Most of them within a second, the others years apart: halving has to find them.
    times = [1_700_000_000_000_000_000 + n * 100_000 for n in range(rows - 3)]
    times += [0, 1_000_000_000_000_000_000, 1_800_000_000_000_000_000]
    pair.write(*(f"telemetry,device=d{n % 7} v={n}i {at}" for n, at in enumerate(times)))
    told = pair.all()
    assert told.total == rows
    pair.assert_equal()


def test_one_time_may_have_any_number_of_rows_in_bounded_memory(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (slices, backfill):
        monkeypatch.setattr(module, "MAX_ROWS", 5_000)
    pair.make()
    rows = 20_000
    text = "x" * 400
    for start in range(0, rows, 10_000):
        pair.write(
            *(f'telemetry,n=d{n} v={n}i,s="{text}" 7' for n in range(start, start + 10_000)),
        )
    pair.write("telemetry,n=other v=1i 8")
    tracemalloc.start()
    try:
        told = pair.all()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert told.total == rows + 1
    assert pair.copy.count(pair.database, "telemetry") == rows + 1
    # The rows have 9 MB as text, and several times that as what Python reads it to.
    assert peak < 14_000_000
    pair.write(f'telemetry,n=late v=1i,s="{text}" 7')
    assert pair.all(only_missing=True).rows == 1
    pair.assert_equal()


def test_a_server_that_reads_few_files_at_once_is_asked_for_less() -> None:
    limited: StandInOptions = {
        "wal_snapshot_size": 1,
        "query_file_limit": 3,
        "wal_flush_interval": "10ms",
    }
    with running_stand_in(**limited) as a, running_stand_in(**limited) as b:
        pair = Pair(Api(a.url), Api(b.url))
        pair.make()
        for block in range(24):
            at = 1_700_000_000_000_000_000 + block * 600_000_000_000
            pair.write(*(f"telemetry,device=d{n} v={n}i {at + n}" for n in range(5)))
        # A row with an old time makes files overlap.
        pair.write(
            "telemetry,device=x v=1i 1700000000000000001",
            "telemetry,device=x v=1i 1700013000000000001",
        )
        assert pair.source.query(pair.database, "SELECT * FROM telemetry").status == 500
        told = pair.all()
        assert (told.total, told.at_most) == (122, False)
        # Not even a test can read all of it at once.
        spans = [_block(n) for n in range(24)]
        ours, theirs = (
            [row for span in spans for row in api.sql(pair.database, f"{_ROWS} WHERE {span}")]
            for api in (pair.source, pair.copy)
        )
        assert len(theirs) == 122
        assert sorted(map(str, ours)) == sorted(map(str, theirs))


_ROWS = "SELECT * FROM telemetry"


def _block(number: int) -> str:
    start = 1_700_000_000_000_000_000 + number * 600_000_000_000
    return Span(start, start + 600_000_000_000).condition


def test_a_plan_says_what_there_is_and_writes_nothing(pair: Pair) -> None:
    pair.source.create(pair.database)
    pair.write(*(f"telemetry,device=d{n} v={n}i {n}" for n in range(100)), "other v=1 1")
    told = pair.all(dry_run=True)
    assert (told.total, told.tables, told.done, told.findings) == (101, 2, False, ())
    assert 2_000 < told.bytes < 3_000
    assert pair.database not in pair.copy.names()


def test_a_table_of_another_type_is_refused_before_anything_is_written(pair: Pair) -> None:
    pair.make()
    pair.write("other v=1i 1", "telemetry,device=a v=1i 1")
    pair.write_to_copy("telemetry,device=a v=1.5 1")
    (told,) = pair.run(dry_run=True)
    (finding,) = told.findings
    assert finding.severity is Severity.ERROR
    assert finding.message == "the table telemetry has another type there of v"
    with pytest.raises(TargetError, match="the table telemetry has another type there of v"):
        pair.all()
    assert pair.copy.sql(pair.database, "SELECT v FROM telemetry") == [{"v": 1.5}]
    assert "other" not in str(pair.copy.sql("_internal", "SELECT table_name FROM system.tables"))


def test_a_copy_with_its_tags_in_another_order_is_told_of(pair: Pair) -> None:
    pair.make()
    pair.write("telemetry,a=1,b=2 v=1i 1")
    pair.write_to_copy("telemetry,b=2,a=1 v=1i 1")
    told = pair.all()
    assert [finding.severity for finding in told.findings] == [Severity.WARNING]
    assert "its tags in another order (b, a, not a, b)" in told.findings[0].message


def test_a_database_without_tables_is_copied_too(pair: Pair) -> None:
    pair.make()
    told = pair.all()
    assert (told.rows, told.total, told.tables) == (0, 0, 0)


# Lines --------------------------------------------------------------------------------------


def _texts(seed: int) -> Iterator[str]:
    source = random.Random(seed)
    alphabet = "ab \\,=\"'\tü😀#\n"
    while True:
        yield "".join(source.choices(alphabet, k=source.randint(1, 6)))


def test_lines_are_read_as_what_they_were_made_of() -> None:
    """Whatever name or value line protocol can hold, it is written to be read the same."""
    texts, tried = _texts(4), 0
    for _ in range(3_000):
        tag, value, field, string = (next(texts) for _ in range(4))
        # What a name cannot hold, no server has.
        names = (tag, value, field)
        if any(n.endswith("\\") or "\n" in n or "\t" in n for n in names) or tag == field:
            continue
        table = table_of("m x", [(tag, "Dictionary(Int32, Utf8)"), (field, "Utf8")])
        row = {tag: value, field: string, "time": "1970-01-01T00:00:01"}
        (line,) = LineEncoder(table).of([row])
        assert parse_line(line.decode()) == Line(
            "m x", ((tag, value),), ((field, parse_line('m s="" 1').fields[0][1], string),), 10**9
        )
        tried += 1
    assert tried > 300


def test_a_line_break_in_a_tag_can_be_written_after_a_backslash_only() -> None:
    table = table_of("m", [("t", "Dictionary(Int32, Utf8)"), ("v", "Int64")])
    row = {"t": "a\\\nb", "v": 1, "time": "1970-01-01T00:00:00"}
    (line,) = LineEncoder(table).of([row])
    assert parse_line(line.decode()).tags == (("t", "a\\\nb"),)
    for value in ("a\nb", "a\\", ""):
        with pytest.raises(Unwritable, match="the row at 1970-01-01T00:00:00 of the table m"):
            LineEncoder(table).of([row | {"t": value}])


def test_a_row_without_fields_is_counted_and_left_out() -> None:
    table = table_of("m", [("t", "Dictionary(Int32, Utf8)"), ("v", "Int64")])
    lines = LineEncoder(table)
    assert lines.of([{"t": "a", "v": None, "time": "1970-01-01T00:00:00"}]) == []
    assert lines.empty == 1


@pytest.mark.parametrize(
    ("key", "tags", "order"),
    [
        ("", [], []),
        ("device, site", ["site", "device"], ["device", "site"]),
        ("a, b, c", ["c", "a, b"], ["a, b", "c"]),
        ("a, a, a", ["a", "a, a"], ["a, a", "a"]),
        ("a", ["a", "b"], None),
        ("a, b", ["a"], None),
    ],
)
def test_a_series_key_is_read_with_the_tags_that_there_are(
    key: str, tags: list[str], order: list[str] | None
) -> None:
    assert tags_in_order(key, tags) == order


@pytest.mark.parametrize("time", [FIRST, -1, 0, 1, 1_700_000_000_123_456_789, LAST])
def test_times_keep_their_nanoseconds(time: int) -> None:
    assert parse_time(format_time(time).removesuffix("Z")) == time


@pytest.mark.parametrize("lacks", [0.0, 0.1, 0.9])
def test_rows_that_lack_columns_or_are_infinite_have_the_same_lines_however_they_are_read(
    lacks: float,
) -> None:
    columns = ("a tag", "Dictionary(Int32, Utf8)"), ("time", "Timestamp"), ("n", "Int64")
    table = table_of("t", [*columns, ("up", "Boolean"), ("temp", "Float64"), ("text", "Utf8")])
    chance, rows = random.Random(1), list[dict[str, Any]]()
    for number in range(2_000):
        row = {"a tag": f"d {number % 7}", "n": number, "temp": number / 7, "text": 'a "b"\n'}
        row |= {"up": bool(number % 2), "time": f"2026-11-30T12:00:00.{number:06}"}
        if number % 500 == 9:
            row |= {"temp": None, "temp infinite": (-1) ** number}
        if chance.random() < lacks:
            del row[chance.choice(["a tag", "n", "temp", "text", "up"])]
        rows.append(row)
    expected, encoder = LineEncoder(table).of(rows), LineEncoder(table)
    found = list[bytes]()
    for at in range(0, len(rows), 100):
        text = b"\n".join(map(msgspec.json.encode, rows[at : at + 100]))
        found += encoder.lines(encoder.decode(text))
    assert sorted(found) == sorted(expected)
