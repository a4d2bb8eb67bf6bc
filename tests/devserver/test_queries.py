from __future__ import annotations

from typing import Any

import pytest

from tests.devserver.api import Api, error_of

ROWS = 't,k=a f=1,s="x\\"y,z" 1\nt,k=b f=0.25,i=7i 2000000001'


@pytest.fixture
def filled(api: Api, database: str) -> str:
    """A database with two rows in its table t."""
    assert api.write(database, ROWS, precision="ns").status == 204
    return database


def ask(api: Api, database: str, sql: str, **query: str) -> tuple[int, str, str]:
    answer = api.send("GET", "/api/v3/query_sql", query={"db": database, "q": sql, **query})
    return answer.status, answer.headers.get("content-type", ""), answer.data.decode()


def test_json_leaves_out_nulls(api: Api, filled: str) -> None:
    assert ask(api, filled, "SELECT * FROM t ORDER BY time", format="json") == (
        200,
        "application/json",
        '[{"f":1.0,"k":"a","s":"x\\"y,z","time":"1970-01-01T00:00:00.000000001"},'
        '{"f":0.25,"i":7,"k":"b","time":"1970-01-01T00:00:02.000000001"}]',
    )


def test_json_lines_have_one_object_a_row(api: Api, filled: str) -> None:
    assert ask(api, filled, "SELECT k, i FROM t ORDER BY k", format="jsonl") == (
        200,
        "application/jsonl",
        '{"k":"a"}\n{"k":"b","i":7}\n',
    )


def test_csv_quotes_where_it_has_to(api: Api, filled: str) -> None:
    assert ask(api, filled, "SELECT * FROM t ORDER BY time", format="csv") == (
        200,
        "text/csv",
        "f,i,k,s,time\n"
        '1.0,,a,"x""y,z",1970-01-01T00:00:00.000000001\n'
        "0.25,7,b,,1970-01-01T00:00:02.000000001\n",
    )


def test_a_drawn_table_is_as_wide_as_its_cells(api: Api, filled: str) -> None:
    assert ask(api, filled, "SELECT k, i, f FROM t ORDER BY k", format="pretty") == (
        200,
        "text/plain; charset=utf-8",
        "+---+---+------+\n| k | i | f    |\n+---+---+------+\n"
        "| a |   | 1.0  |\n| b | 7 | 0.25 |\n+---+---+------+",
    )


@pytest.mark.parametrize(
    ("name", "body"), [("json", "[]"), ("jsonl", ""), ("csv", ""), ("pretty", "++\n++")]
)
def test_no_rows_have_a_shape_too(api: Api, filled: str, name: str, body: str) -> None:
    assert ask(api, filled, "SELECT * FROM t WHERE k = 'z'", format=name)[2] == body


@pytest.mark.parametrize("value", ["b", 7, 0.25, True, None])
def test_parameters_keep_their_type(api: Api, filled: str, value: Any) -> None:
    expected = [{}] if value is None else [{"x": value}]
    assert api.sql(filled, "SELECT $p AS x", params={"p": value}) == expected


@pytest.mark.parametrize(
    ("sql", "status", "message"),
    [
        ("SELECT * FROM nope", 400, "Error during planning: table 'public.iox.nope' not found"),
        ("SELECT FROM WHERE", 400, None),
        ("SELECT nope FROM t", 500, None),
        ("SELECT 1; SELECT 2", 405, None),
        ("SELECT foo(1)", 400, None),
        ("SELECT 1 / 0", 500, None),
        ("CREATE TABLE x AS SELECT 1", 400, None),
        ("INSERT INTO t SELECT * FROM t", 400, None),
        ("DROP TABLE t", 400, None),
        ("SET datafusion.execution.batch_size = 1", 400, None),
    ],
)
def test_a_statement_that_fails_or_would_write_is_refused(
    api: Api, filled: str, sql: str, status: int, message: str | None
) -> None:
    answer = api.query(filled, sql)
    assert answer.status == status, answer.data
    if message is not None:
        assert answer.data.decode() == message
    assert api.count(filled, "t") == 2


def test_a_query_sees_what_was_written_since_the_last_one(api: Api, database: str) -> None:
    for number in range(1, 4):
        api.write(database, f"t v=1i {number}\nt{number} v=1i 1")
        assert api.count(database, "t") == number
        assert api.count(database, f"t{number}") == 1


@pytest.mark.parametrize("asked_between", [True, False])
def test_a_table_that_was_deleted_and_made_again_is_another_one(
    api: Api, database: str, asked_between: bool
) -> None:
    api.write(database, "t v=1i 1")
    assert api.sql(database, "SELECT v FROM t") == [{"v": 1}]
    api.send("DELETE", "/api/v3/configure/table", query={"db": database, "table": "t"})
    if asked_between:
        assert api.query(database, "SELECT v FROM t").status == 400
    api.write(database, "t v=2i 1")
    assert api.sql(database, "SELECT v FROM t") == [{"v": 2}]


def test_names_of_tables_and_columns_keep_case_and_special_characters(
    api: Api, database: str
) -> None:
    api.write(database, r'My\ "Table".x Vä\ lue=1i 1')
    assert api.sql(database, 'SELECT "Vä lue" FROM "My ""Table"".x"') == [{"Vä lue": 1}]


def test_two_columns_of_one_name_are_both_there(api: Api, filled: str) -> None:
    sql = "SELECT a.k, b.k FROM t a JOIN t b ON a.k = b.k WHERE a.k = 'a'"
    assert list(api.sql(filled, sql)[0].values()) == ["a", "a"]


def test_one_database_does_not_see_the_tables_of_another(api: Api, filled: str) -> None:
    api.create(f"{filled}_other")
    assert api.query(f"{filled}_other", "SELECT * FROM t").status == 400
    sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'iox'"
    assert api.sql(f"{filled}_other", sql) == []
    assert api.sql(filled, sql) == [{"table_name": "t"}]


def test_tables_of_the_whole_server_are_in_the_internal_database_only(
    api: Api, filled: str
) -> None:
    for table in ("databases", "tables", "nodes", "tokens"):
        assert api.query("_internal", f"SELECT * FROM system.{table}").status == 200
        assert api.query(filled, f"SELECT * FROM system.{table}").status == 400
    assert api.sql(filled, "SELECT * FROM system.parquet_files") == []


def test_the_inventory_has_each_database_with_its_retention_and_tables(
    api: Api, database: str
) -> None:
    api.create(f"{database}_bare", "1h")
    api.write(f"{database}_full", "_init v=1i 1\ntelemetry v=1i 1\nother v=1i 1")
    api.create(f"{database}_gone")
    api.delete(f"{database}_gone")
    sql = (
        "SELECT d.database_name, d.retention_period_ns, t.table_name FROM system.databases d "
        "LEFT JOIN (SELECT database_name, table_name FROM system.tables WHERE table_name IN "
        "('_init', 'telemetry') AND deleted = false) t ON d.database_name = t.database_name "
        f"WHERE d.deleted = false AND d.database_name LIKE '{database}%' ORDER BY 1, 3"
    )
    assert api.sql("_internal", sql) == [
        {"database_name": f"{database}_bare", "retention_period_ns": 3_600_000_000_000},
        {"database_name": f"{database}_full", "table_name": "_init"},
        {"database_name": f"{database}_full", "table_name": "telemetry"},
    ]


def test_a_query_without_what_it_needs_is_refused(api: Api, filled: str) -> None:
    answer = api.send("GET", "/api/v3/query_sql")
    assert (answer.status, answer.data) == (400, b"missing query parameters 'db' and 'q'")
    answer = api.send("GET", "/api/v3/query_sql", query={"db": filled})
    assert (answer.status, answer.data) == (400, b"serde error: missing field `q`")
    answer = api.query(f"{filled}_missing", "SELECT 1")
    assert answer.status == 404
    assert error_of(answer) == f"query error: database not found: {filled}_missing"


def test_every_answer_says_that_it_comes_from_a_stand_in(api: Api, filled: str) -> None:
    answers = [
        api.send("GET", "/ping"),
        api.send("GET", "/nope"),
        api.send("PATCH", "/ping"),
        api.query(filled, "SELECT 1"),
        api.write(filled, ""),
    ]
    assert {answer.headers["x-influxops-stand-in"] for answer in answers} == {"1"}
    assert len({answer.headers["cluster-uuid"] for answer in answers}) == 1
