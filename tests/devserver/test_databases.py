from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from influxops_devserver.limits import Limits
from influxops_devserver.storage.catalog import Catalog
from influxops_devserver.storage.documents import DocumentStore
from influxops_devserver.testing import running_stand_in
from tests.devserver.api import Api, error_of, refused_line

DAY_NS = 86_400 * 10**9


def retention_of(api: Api, database: str) -> int | None:
    sql = f"SELECT retention_period_ns FROM system.databases WHERE database_name = '{database}'"
    found = api.sql("_internal", sql)[0].get("retention_period_ns")
    return None if found is None else int(found)


def deleted_like(api: Api, database: str) -> dict[str, str]:
    """Names and hard deletion times of what a database has become."""
    rows = api.sql("_internal", "SELECT * FROM system.databases WHERE deleted")
    return {
        row["database_name"]: row.get("hard_deletion_time", "")
        for row in rows
        if row["database_name"].startswith(f"{database}-")
    }


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("30d", 30 * DAY_NS),
        ("1h 30m", 5_400 * 10**9),
        ("90 days", 90 * DAY_NS),
        ("2weeks", 14 * DAY_NS),
        ("1month", 2_630_016 * 10**9),
        ("1y", 31_557_600 * 10**9),
        ("2592000s", 30 * DAY_NS),
        ("1500ms", 10**9),
        ("0", 0),
    ],
)
def test_a_retention_period_is_kept_in_whole_seconds(
    api: Api, database: str, text: str, nanoseconds: int
) -> None:
    assert api.create(database, text).status == 200
    assert retention_of(api, database) == nanoseconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30", "expected numbers, each with its time unit"),
        ("d", "expected numbers, each with its time unit"),
        ("", "expected numbers, each with its time unit"),
        ("30 parsecs", 'unknown time unit "parsecs"'),
    ],
)
def test_a_retention_period_that_is_no_duration_is_refused(
    api: Api, database: str, text: str, message: str
) -> None:
    api.create(database)
    query = {"db": database, "duration": text}
    answer = api.send("POST", "/api/v3/configure/database/retention_period", query=query)
    assert answer.status == 400
    assert answer.data.decode() == f"Cannot parse the given human time: {message}"


def test_a_put_without_a_period_clears_it(api: Api, database: str) -> None:
    api.create(database, "30d")
    for body in ({"db": database, "retention_period": "60d"}, {"db": database}):
        assert api.send("PUT", "/api/v3/configure/database", json=body).status == 200
        expected = 60 * DAY_NS if "retention_period" in body else None
        assert retention_of(api, database) == expected


def test_rows_outside_of_the_retention_period_are_hidden_not_gone(api: Api, database: str) -> None:
    now = time.time_ns()
    lines = "\n".join(f"t v={hours}i {now - hours * 3_600 * 10**9}" for hours in (0, 2, 50))
    assert api.write(database, lines).status == 204
    shown = {None: [0, 2, 50], "1h": [0], "1d": [0, 2], "0": []}
    path = "/api/v3/configure/database"
    for period in (None, "1h", "1d", "0", None, "1d"):
        body = {"db": database, "retention_period": period}
        assert api.send("PUT", path, json=body).status == 200
        rows = api.sql(database, "SELECT v FROM t ORDER BY v")
        assert [row["v"] for row in rows] == shown[period], period


def test_a_deleted_database_frees_its_name_and_keeps_its_rows(api: Api, database: str) -> None:
    api.write(database, "t v=1i 1")
    before = datetime.now(UTC).replace(microsecond=0)
    assert api.delete(database).status == 200
    assert api.delete(database).status == 404
    assert database not in api.names()
    ((name, hard_deletion),) = deleted_like(api, database).items()
    assert re.fullmatch(rf"{database}-\d{{8}}T\d{{6}}", name)
    delay = datetime.fromisoformat(hard_deletion) - before
    assert timedelta(hours=72) <= delay <= timedelta(hours=72, seconds=60)
    # Its tables get another name as well.
    tables = api.sql(name, "SELECT table_name FROM information_schema.tables")
    renamed = [row["table_name"] for row in tables if re.fullmatch(r"t-\d+T\d+", row["table_name"])]
    assert len(renamed) == 1
    assert api.count(name, renamed[0]) == 1
    answer = api.write(name, "t v=1i 1")
    assert answer.status == 400
    assert error_of(answer).startswith(f"cannot write to soft-deleted database '{name}'")
    # A new database of that name has nothing of the old one.
    assert api.write(database, "t w=1i 1").status == 204
    assert api.sql(database, "SELECT * FROM t") == [{"time": "1970-01-01T00:00:01", "w": 1}]


def test_two_deletions_in_one_second_get_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("influxops_devserver.storage.catalog.time.time_ns", lambda: 10**18)
    storage = DocumentStore(None)
    catalog = Catalog(storage, Limits())
    for _ in range(2):
        catalog.create_database("a", None)
        catalog.delete_database("a", None)
    storage.close()
    deleted = [database.name for database in catalog.databases.values() if database.deleted]
    assert deleted == ["a-20010909T014640", "a-20010909T014640-2"]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2099-01-02T03:04:05Z", "2099-01-02T03:04:05Z"),
        ("2099-01-02T05:04:05+02:00", "2099-01-02T03:04:05Z"),
    ],
)
def test_the_time_of_the_hard_deletion_can_be_chosen(
    api: Api, database: str, at: str, expected: str
) -> None:
    api.create(database)
    assert api.delete(database, hard_delete_at=at).status == 200
    assert list(deleted_like(api, database).values()) == [expected]


@pytest.mark.parametrize("at", ["now", "2001-01-01T00:00:00Z"])
def test_a_hard_deletion_in_the_past_is_one_now(api: Api, database: str, at: str) -> None:
    api.create(database)
    before = datetime.now(UTC).replace(microsecond=0)
    assert api.delete(database, hard_delete_at=at).status == 200
    (moment,) = deleted_like(api, database).values()
    assert before <= datetime.fromisoformat(moment) <= datetime.now(UTC)


@pytest.mark.parametrize("at", ["tomorrow", "2099-01-02", "2099-01-02T03:04:05", ""])
def test_a_time_that_is_not_rfc_3339_deletes_nothing(api: Api, database: str, at: str) -> None:
    api.create(database)
    answer = api.delete(database, hard_delete_at=at)
    assert answer.status == 400
    assert answer.data.startswith(b"Cannot parse the timestamp: ")
    assert database in api.names()


def test_the_internal_database_cannot_be_touched(api: Api) -> None:
    answer = api.delete("_internal")
    assert (answer.status, answer.data) == (500, b"cannot delete internal db")
    body = {"db": "_internal", "retention_period": "1h"}
    answer = api.send("PUT", "/api/v3/configure/database", json=body)
    assert (answer.status, answer.data) == (500, b"cannot modify internal db")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "db name cannot be empty"),
        ("/a", "db name did not start with a number or letter"),
        ("ü", "invalid character in database or rp name: must be ASCII"),
        ("../x", "db name did not start with a number or letter"),
        ("a\nb", "invalid character in database or rp name: must be ASCII"),
        ("a/b/c", "db name with invalid retention policy"),
        ("a/", "db name with invalid retention policy"),
        ("x" * 512, "db name too long: max 511"),
    ],
)
def test_a_name_that_breaks_a_rule_is_refused_everywhere(api: Api, name: str, message: str) -> None:
    for answer in (api.create(name), api.write(name, "t v=1i 1")):
        assert answer.status == 400
        assert error_of(answer).startswith(message)


def test_names_may_be_long_differ_by_case_and_have_a_slash(api: Api, database: str) -> None:
    names = [database.upper(), f"{database}/autogen", database.ljust(511, "x")]
    for name in (database, *names):
        assert api.create(name).status == 200
    assert set(api.names()) >= {database, *names}


def test_the_limit_of_databases_counts_neither_deleted_ones_nor_the_internal_one() -> None:
    with running_stand_in(max_databases=2) as stand_in:
        api = Api(stand_in.url)
        assert [api.create(name).status for name in "ab"] == [200, 200]
        refusals = [
            api.create("c"),
            api.write("c", "t v=1i 1"),
            api.send(
                "POST",
                "/api/v3/configure/table",
                json={"db": "c", "table": "t", "tags": [], "fields": []},
            ),
        ]
        for answer in refusals:
            assert answer.status == 422
            assert error_of(answer) == "Adding a new database would exceed limit of 2 databases"
        # That it exists goes before that there is no room.
        assert api.create("a").status == 409
        assert api.delete("a").status == 200
        assert api.create("c").status == 200
        assert api.create("a").status == 422


def test_a_write_above_the_limit_of_tables_makes_its_database_without_a_table() -> None:
    with running_stand_in(max_tables=2, wal_flush_interval="20ms") as stand_in:
        api = Api(stand_in.url)
        assert api.write("a", "t v=1i 1\nu v=1i 1").status == 204
        text = (
            "Update to schema would exceed number of tables limit: attempted to create table but "
            "already have 2 table(s) (limit: 2)"
        )
        answer = api.write("b", "_init v=1i 1", no_sync="true")
        assert answer.status == 422
        assert error_of(answer) == "partial write of line protocol occurred"
        assert refused_line(answer) == text
        assert api.names() == ["a", "b"]
        assert api.sql("_internal", "SELECT * FROM system.tables WHERE database_name = 'b'") == []
        # Rows of tables that exist are taken, also from the write that is refused a new one.
        assert api.write("a", "t v=2i 2\nnew v=1i 1").status == 422
        assert api.count("a", "t") == 2
        new = {"db": "a", "table": "new", "tags": [], "fields": []}
        answer = api.send("POST", "/api/v3/configure/table", json=new)
        assert (answer.status, error_of(answer)) == (422, text)
        # Tables that are deleted, alone or with their database, count no more.
        api.send("DELETE", "/api/v3/configure/table", query={"db": "a", "table": "u"})
        assert api.write("b", "_init v=1i 1").status == 204
        assert api.write("b", "x v=1i 1").status == 422
        api.delete("a")
        assert api.write("b", "x v=1i 1").status == 204


def test_one_write_does_not_make_more_tables_than_there_may_be() -> None:
    with running_stand_in(max_tables=2, wal_flush_interval="20ms") as stand_in:
        api = Api(stand_in.url)
        answer = api.write("a", "t v=1i 1\nu v=1i 1\nw v=1i 1")
        assert answer.status == 422
        assert [line["line_number"] for line in answer.json()["data"]] == [3]
        assert len(api.sql("_internal", "SELECT * FROM system.tables")) == 2


def test_a_table_is_made_with_its_columns_and_its_database(api: Api, database: str) -> None:
    types = ["utf8", "int64", "uint64", "float64", "bool"]
    table = {
        "db": database,
        "table": "t",
        "tags": ["k1", "k2"],
        "fields": [{"name": f"a_{name}", "type": name} for name in types],
    }
    assert api.send("POST", "/api/v3/configure/table", json=table).status == 200
    sql = f"SELECT * FROM system.tables WHERE database_name = '{database}'"
    assert api.sql("_internal", sql) == [
        {
            "database_name": database,
            "table_name": "t",
            "column_count": 8,
            "series_key_columns": "k1, k2",
            "last_cache_count": 0,
            "distinct_cache_count": 0,
            "deleted": False,
        }
    ]
    line = 't,k1=x,k2=y a_utf8="s",a_int64=1i,a_uint64=2u,a_float64=3,a_bool=t 1'
    assert api.write(database, line).status == 204


def test_a_table_with_a_type_that_is_none_is_not_made(api: Api, database: str) -> None:
    table = {"db": database, "table": "t", "tags": [], "fields": [{"name": "a", "type": "text"}]}
    answer = api.send("POST", "/api/v3/configure/table", json=table)
    assert answer.status == 400
    assert answer.data.startswith(b"serde json error: invalid type: Invalid enum value 'text'")
    assert database not in api.names()


def test_deleting_a_table_that_is_not_there_says_which(api: Api, database: str) -> None:
    query = {"db": database, "table": "t"}
    answer = api.send("DELETE", "/api/v3/configure/table", query=query)
    assert (answer.status, answer.data.decode()) == (404, f"Database not found {database}")
    api.create(database)
    answer = api.send("DELETE", "/api/v3/configure/table", query=query)
    assert answer.status == 404
    assert answer.data.decode() == f"Table t not in DB schema for {database}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected value at line 1 column 0"),
        (b'{"db": 5}', "invalid type: Expected `str`, got `int` - at `$.db` at line 1 column 9"),
        (
            b'{"db": null}',
            "invalid type: Expected `str`, got `null` - at `$.db` at line 1 column 12",
        ),
        (
            b'{\n "db": [1]}',
            "invalid type: Expected `str`, got `array` - at `$.db` at line 2 column 11",
        ),
        (b'{"db": "a"', "expected value at line 1 column 10"),
    ],
)
def test_a_body_that_is_not_what_is_asked_for_is_refused(
    api: Api, body: bytes, message: str
) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = api.send("POST", "/api/v3/configure/database", body=body, headers=headers)
    assert (answer.status, answer.data.decode()) == (400, f"serde json error: {message}")
