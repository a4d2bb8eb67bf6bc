"""Tables that a refused write leaves behind, that cannot be read, and how wide they may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from influxops_devserver.testing import running_stand_in
from tests.devserver.api import Answer, Api, refused_line

COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = 't' ORDER BY 1"

#: First lines of a table that are refused, with the columns that they leave.
REFUSED = [
    ("t,k=1 v=1,v=2 1", ["k", "v"]),
    ("t,k=1 a=1i,time=2 1", ["a", "k"]),
    ("t,k=1 k=2 1", ["k"]),
    ("t,time=x v=1 1", []),
]


def listed(api: Api, database: str) -> list[int]:
    sql = f"SELECT column_count AS n FROM system.tables WHERE database_name = '{database}'"
    return [row["n"] for row in api.sql("_internal", sql)]


def said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.data.decode()


@pytest.mark.parametrize(("line", "columns"), REFUSED)
def test_a_refused_first_line_leaves_a_table_without_a_time_until_a_good_one_comes(
    api: Api, database: str, line: str, columns: list[str]
) -> None:
    assert api.write(database, line).status == 400
    assert [row["column_name"] for row in api.sql(database, COLUMNS)] == columns
    assert listed(api, database) == [len(columns)]
    for sql in ("SELECT MAX(time) FROM t", "SELECT 1 FROM t WHERE time > now()"):
        status, text = said(api.query(database, sql))
        assert (status, text.partition(".")[0]) == (500, "Schema error: No field named time")
    assert said(api.query(database, "SELECT * FROM t")) == (500, "table should have a time column")
    # A second refused line mends nothing, another table is as any.
    assert api.write(database, f"{line}\nu v=1 1").status == 400
    assert api.query(database, "SELECT * FROM t").status == 500
    assert api.count(database, "u") == 1
    assert api.write(database, "t,k=1 b=t 1").status == 204
    assert api.count(database, "t") == 1
    assert len(api.sql(database, "SELECT time, b FROM t ORDER BY time")) == 1
    assert listed(api, database) == [len({*columns, "b", "k", "time"}), 2]


@pytest.mark.parametrize("line", [*(line for line, _ in REFUSED), "t,k= v=1", "t v=1 soon"])
def test_without_partial_success_a_refused_line_leaves_nothing(
    api: Api, database: str, line: str
) -> None:
    api.create(database)
    assert api.write(database, line, accept_partial="false").status == 400
    query = {"bucket": database}
    assert api.send("POST", "/api/v2/write", query=query, body=line.encode()).status == 400
    assert listed(api, database) == []


def test_a_line_that_cannot_be_parsed_leaves_no_table(api: Api, database: str) -> None:
    assert api.write(database, "t,k= v=1").status == 400
    assert database in api.names()
    assert listed(api, database) == []


def test_a_table_without_a_time_has_a_retention_period_and_a_restart_as_any(tmp_path: Path) -> None:
    for _ in range(2):
        with running_stand_in(data_dir=tmp_path, wal_flush_interval="10ms") as stand_in:
            api = Api(stand_in.url)
            api.create("plant", "1h")
            assert api.write("plant", "t,k=1 v=1,v=2").status == 400
            assert listed(api, "plant") == [2]
            assert api.query("plant", "SELECT * FROM t").status == 500
            stand_in.kill()


def test_a_table_may_have_five_hundred_columns(api: Api, database: str) -> None:
    # With its time.
    fields = ",".join(f"f{n}=1i" for n in range(499))
    assert api.write(database, f"t {fields} 1").status == 204
    assert listed(api, database) == [500]
    answer = api.write(database, "t g=1i 2\nt f1=2i 3")
    assert answer.status == 422
    assert refused_line(answer).startswith("Update to schema would exceed number of columns")
    assert api.count(database, "t") == 2


def test_a_test_may_ask_for_tables_that_no_query_can_read() -> None:
    with running_stand_in(wal_flush_interval="10ms", unreadable_table="bad") as stand_in:
        api = Api(stand_in.url)
        assert api.write("plant", "bad v=1i 1\ngood v=1i 1").status == 204
        for sql in ("SELECT * FROM bad", "SELECT COUNT(*) FROM bad", "SELECT v FROM iox.bad"):
            status, text = said(api.query("plant", sql))
            assert status == 500
            assert "record batch" in text
        assert api.count("plant", "good") == 1
        columns = "SELECT COUNT(*) AS n FROM information_schema.columns WHERE table_name = 'bad'"
        assert api.sql("plant", columns) == [{"n": 2}]
