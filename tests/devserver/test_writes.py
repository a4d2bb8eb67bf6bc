from __future__ import annotations

import gzip
import time

import pytest

from tests.devserver.api import Api, error_of, refused_line


def test_all_types_come_back_as_they_were_written(api: Api, database: str) -> None:
    lines = 't,tag=x i=-9223372036854775808i,u=18446744073709551615u,f=0.1,s="é\\"\n",b=t 1'
    assert api.write(database, lines, precision="ns").status == 204
    assert api.sql(database, "SELECT * FROM t") == [
        {
            "tag": "x",
            "i": -(2**63),
            "u": 2**64 - 1,
            "f": 0.1,
            "s": 'é"\n',
            "b": True,
            "time": "1970-01-01T00:00:00.000000001",
        }
    ]
    columns = api.sql(
        database,
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 't'",
    )
    assert {column["column_name"]: column["data_type"] for column in columns} == {
        "b": "Boolean",
        "f": "Float64",
        "i": "Int64",
        "s": "Utf8",
        "tag": "Dictionary(Int32, Utf8)",
        "time": "Timestamp(ns)",
        "u": "UInt64",
    }


@pytest.mark.parametrize(
    ("precision", "timestamp"),
    [
        ("auto", 1_700_000_000),
        ("auto", 1_700_000_000_000),
        ("auto", 1_700_000_000_000_000),
        ("auto", 1_700_000_000_000_000_000),
        (None, 1_700_000_000_000),
        ("second", 1_700_000_000),
        ("s", 1_700_000_000),
        ("millisecond", 1_700_000_000_000),
        ("ms", 1_700_000_000_000),
        ("microsecond", 1_700_000_000_000_000),
        ("us", 1_700_000_000_000_000),
        ("u", 1_700_000_000_000_000),
        ("nanosecond", 1_700_000_000_000_000_000),
        ("n", 1_700_000_000_000_000_000),
    ],
)
def test_a_timestamp_means_the_same_in_every_precision(
    api: Api, database: str, precision: str | None, timestamp: int
) -> None:
    line = f"t v=1i {timestamp}"
    answer = (
        api.write(database, line, precision=precision) if precision else api.write(database, line)
    )
    assert answer.status == 204
    assert api.sql(database, "SELECT time FROM t") == [{"time": "2023-11-14T22:13:20"}]


@pytest.mark.parametrize(
    ("timestamp", "meant"),
    [(4_999_999_999, "2128-06-11T08:53:19"), (5_000_000_000, "1970-02-27T20:53:20")],
)
def test_without_a_precision_a_time_goes_by_its_size(
    api: Api, database: str, timestamp: int, meant: str
) -> None:
    assert api.write(database, f"t v=1i {timestamp}").status == 204
    assert api.write(database, f"u v=1i {timestamp}", precision="auto").status == 204
    for table in "tu":
        assert api.sql(database, f"SELECT time FROM {table}") == [{"time": meant}]


def test_a_precision_that_is_none_is_refused(api: Api, database: str) -> None:
    answer = api.write(database, "t v=1i 1", precision="fortnight")
    assert answer.status == 400
    assert answer.data.startswith(b"serde error: invalid type: ")


def test_a_timestamp_too_large_for_its_precision_is_refused(api: Api, database: str) -> None:
    answer = api.write(database, "t v=1i 9223372036854775807", precision="s")
    assert answer.status == 400
    expected = "timestamp, 9223372036854775807, out of range for precision: s"
    assert refused_line(answer) == expected


def test_a_line_without_a_timestamp_gets_the_time_of_the_write(api: Api, database: str) -> None:
    before = time.time_ns() // 10**9
    assert api.write(database, "t v=1i", precision="s").status == 204
    rows = api.sql(database, "SELECT CAST(time AS BIGINT) AS ns FROM t")
    assert before * 10**9 <= rows[0]["ns"] <= time.time_ns()
    assert rows[0]["ns"] % 10**9 == 0


def test_a_point_written_again_replaces_fields_and_adds_no_row(api: Api, database: str) -> None:
    api.write(database, "t,k=a v=1i,w=1i 5\nt,k=b v=1i 5")
    api.write(database, "t,k=a v=2i 5")
    rows = api.sql(database, "SELECT k, v, w FROM t ORDER BY k")
    assert rows == [{"k": "a", "v": 2, "w": 1}, {"k": "b", "v": 1}]


def test_the_order_of_tags_does_not_make_another_series(api: Api, database: str) -> None:
    api.write(database, "t,a=1,b=2 v=1i 5")
    api.write(database, "t,b=2,a=1 v=2i 5")
    assert api.sql(database, "SELECT v FROM t") == [{"v": 2}]


def test_columns_that_come_later_are_null_in_earlier_rows(api: Api, database: str) -> None:
    api.write(database, "t v=1i 1")
    assert api.sql(database, "SELECT * FROM t") == [{"time": "1970-01-01T00:00:01", "v": 1}]
    api.write(database, "t,k=x w=2i 2")
    assert api.sql(database, "SELECT k, v, w FROM t ORDER BY time") == [
        {"v": 1},
        {"k": "x", "w": 2},
    ]


def test_good_lines_are_written_although_others_are_refused(api: Api, database: str) -> None:
    answer = api.write(database, 't v=1i 1\nt v="text" 2\n\nt v=3i 3\nnonsense')
    assert answer.status == 400
    assert answer.json() == {
        "error": "partial write of line protocol occurred",
        "data": [
            {
                "error_message": "invalid column type for column 'v', expected "
                "iox::column_type::field::integer, got iox::column_type::field::string",
                "line_number": 2,
                "original_line": 't v="text" 2',
            },
            {
                "error_message": "Expected at least one space character, got end of input",
                "line_number": 4,
                "original_line": "nonsense",
            },
        ],
    }
    assert api.count(database, "t") == 2


def test_without_partial_success_one_bad_line_undoes_the_write(api: Api, database: str) -> None:
    answer = api.write(database, "t v=1i 1\nnonsense", accept_partial="false")
    assert answer.status == 400
    assert error_of(answer) == "line protocol parsing error"
    assert answer.json()["data"]["line_number"] == 2
    assert database not in api.names()


def test_a_bad_write_makes_its_database_all_the_same(api: Api, database: str) -> None:
    assert api.write(database, "nonsense").status == 400
    assert database in api.names()


@pytest.mark.parametrize("lines", ["", "\n\n", "# nothing but a comment"])
def test_a_write_without_a_line_is_refused(api: Api, database: str, lines: str) -> None:
    answer = api.write(database, lines)
    assert (answer.status, answer.data) == (400, b"incoming write was empty")


def test_a_field_that_is_there_twice_is_refused(api: Api, database: str) -> None:
    answer = api.write(database, "t v=1i,v=2i 1")
    expected = "invalid line protocol - multiple instances of 'v' field found"
    assert (answer.status, refused_line(answer)) == (400, expected)


@pytest.mark.parametrize("line", ["t,time=x v=1i 1", "t time=1i 1"])
def test_the_name_of_the_time_column_is_reserved(api: Api, database: str, line: str) -> None:
    answer = api.write(database, line)
    assert (answer.status, refused_line(answer)) == (400, "'time' is a reserved column")


def test_a_gzipped_write_is_read(api: Api, database: str) -> None:
    assert api.write(database, "t v=1i 1", gzipped=True).status == 204
    assert api.count(database, "t") == 1


@pytest.mark.parametrize(
    "body", [b"t v=1i 1", gzip.compress(b"t v=1i 1", mtime=0)[:-3]], ids=["plain", "cut short"]
)
def test_what_only_says_that_it_is_gzip_is_refused(api: Api, database: str, body: bytes) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = api.send(
        "POST", "/api/v3/write_lp", query={"db": database}, body=body, headers=headers
    )
    assert answer.status == 400
    assert answer.data.startswith(b"error decoding gzip stream: ")


def test_another_content_encoding_is_refused(api: Api, database: str) -> None:
    headers = {"Content-Encoding": "br"}
    answer = api.send(
        "POST", "/api/v3/write_lp", query={"db": database}, body=b"x", headers=headers
    )
    assert (answer.status, answer.data) == (400, b"unacceptable content-encoding: br")


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_body_above_ten_mebibytes_is_refused(api: Api, database: str, gzipped: bool) -> None:
    answer = api.write(database, "#" * (10 * 1024 * 1024 + 1), gzipped=gzipped)
    assert (answer.status, answer.data) == (413, b"max request size (10485760 bytes) exceeded")


def test_lines_that_are_not_utf8_are_refused(api: Api, database: str) -> None:
    answer = api.send("POST", "/api/v3/write_lp", query={"db": database}, body=b"t v=1i 1\nt\xff")
    assert answer.status == 400
    assert answer.data.startswith(b"body content is not valid utf8: invalid utf-8 sequence")
