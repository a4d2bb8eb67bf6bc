"""The write paths of versions 1 and 2, and what version 1 answers to queries."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from influxops_devserver.testing import running_stand_in
from tests.devserver.api import Answer, Api, error_of

GOOD_BAD_GOOD = [f"t v=1i 1\n{bad}\nt v=3i 3" for bad in ('t v="x" 2', "t,k= v=2i 2", "t v=2 2")]


def write_v2(api: Api, bucket: str, lines: str, **query: str) -> Answer:
    query = {"bucket": bucket, "org": "any", **query}
    return api.send("POST", "/api/v2/write", query=query, body=lines.encode())


def write_v1(api: Api, database: str, lines: str, **query: str) -> Answer:
    query = {"db": database, **query}
    return api.send("POST", "/write", query=query, body=lines.encode())


def query_v1(api: Api, sql: str, **query: str) -> Any:
    answer = api.send("POST", "/query", query={"q": sql, **query})
    assert answer.status == 200
    (result,) = answer.json()["results"]
    return result


@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_a_write_makes_its_database_again_and_again(api: Api, database: str, write: Any) -> None:
    for n in range(2):
        assert write(api, database, f"t v={n}i 1").status == 204
        assert api.sql(database, "SELECT v, CAST(time AS BIGINT) AS ns FROM t") == [
            {"v": n, "ns": 1}
        ]
        # What is dropped is there again with the next write, which is not told of it.
        assert api.delete(database).status == 200
        assert database not in api.names()


@pytest.mark.parametrize("precision", [("s", 1), ("ms", 1_000), ("us", 10**6), ("ns", 10**9)])
def test_a_precision_means_the_same_on_each_path(
    api: Api, database: str, precision: tuple[str, int]
) -> None:
    name, second = precision
    lines = [f"{table} v=1i {5 * second}" for table in "ab"]
    assert write_v1(api, database, lines[0], precision=name).status == 204
    assert write_v2(api, database, lines[1], precision=name).status == 204
    for table in "ab":
        assert api.sql(database, f"SELECT time FROM {table}") == [{"time": "1970-01-01T00:00:05"}]


@pytest.mark.parametrize("lines", GOOD_BAD_GOOD)
def test_one_bad_line_refuses_the_whole_body_in_version_2_only(
    api: Api, database: str, lines: str
) -> None:
    api.write(database, "t v=0i 0")
    answer = write_v2(api, database, lines)
    assert answer.status == 400
    assert answer.json()["code"] == "invalid"
    assert answer.json()["message"].startswith("write buffer error: line protocol parse failed: ")
    assert api.count(database, "t") == 1
    answer = write_v1(api, database, lines)
    assert (answer.status, error_of(answer)) == (400, "partial write of line protocol occurred")
    assert api.count(database, "t") == 3


def test_a_database_over_the_limit_is_worded_by_each_path_in_its_way() -> None:
    text = "Adding a new database would exceed limit of 1 databases"
    with running_stand_in(max_databases=1, wal_flush_interval="10ms") as stand_in:
        api = Api(stand_in.url)
        assert write_v2(api, "a", "t v=1i 1").status == 204
        answer = write_v2(api, "b", "t v=1i 1")
        message = f"write buffer error: catalog update error: {text}"
        assert (answer.status, answer.json()) == (400, {"code": "invalid", "message": message})
        for answer in (write_v1(api, "b", "t v=1i 1"), api.write("b", "t v=1i 1")):
            assert (answer.status, answer.json()) == (422, {"error": text})
        assert api.names() == ["a"]


def test_a_body_above_ten_mebibytes_is_worded_by_each_path_in_its_way(
    api: Api, database: str
) -> None:
    lines = "#" * (10 * 1024 * 1024 + 1)
    text = "max request size (10485760 bytes) exceeded"
    answer = write_v2(api, database, lines)
    content = {"code": "request too large", "message": text}
    assert (answer.status, answer.json()) == (413, content)
    answer = write_v1(api, database, lines)
    assert (answer.status, answer.data.decode()) == (413, text)
    assert database not in api.names()


@pytest.mark.parametrize(
    ("policy", "suffix"), [("autogen", ""), ("default", ""), ("", ""), ("weekly", "/weekly")]
)
def test_a_retention_policy_is_part_of_the_name_but_for_the_default_one(
    api: Api, database: str, policy: str, suffix: str
) -> None:
    assert write_v1(api, database, "t v=1i 1", rp=policy).status == 204
    assert f"{database}{suffix}" in api.names()


def test_a_bucket_with_a_slash_is_a_database_of_that_name(api: Api, database: str) -> None:
    body = gzip.compress(b"t v=1i 1")
    answer = api.send(
        "POST",
        "/api/v2/write",
        query={"bucket": f"{database}/autogen"},
        body=body,
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.status == 204
    assert api.count(f"{database}/autogen", "t") == 1


@pytest.mark.parametrize("write", [write_v1, write_v2])
def test_a_write_without_the_right_token_is_401(write: Any) -> None:
    with running_stand_in(with_auth=True, wal_flush_interval="10ms") as stand_in:
        nobody = Api(stand_in.url)
        token = nobody.send("POST", "/api/v3/configure/token/admin").json()["token"]
        admin = nobody.with_token(token)
        for api in (nobody, nobody.with_token("wrong")):
            assert write(api, "plant", "t v=1i 1").status == 401
        assert admin.names() == []
        assert write(admin, "plant", "t v=1i 1").status == 204
        # Version 1 takes it as the password, and version 2 does not.
        expected = 204 if write is write_v1 else 401
        assert write(nobody, "plant", "t v=1i 2", p=token).status == expected
        assert write(nobody, "plant", "t v=1i 3", p="wrong").status == 401


def test_version_1_lists_databases_and_makes_none(api: Api, database: str) -> None:
    api.create(database)
    api.create(f"{database}_gone")
    api.delete(f"{database}_gone")
    (series,) = query_v1(api, "show databases;")["series"]
    names = [name for (name,) in series["values"]]
    assert names[0] == "_internal"
    assert [name for name in names if name.startswith(database)] == [database]
    error = "must specify a 'db' parameter, or provide the database in the InfluxQL query"
    assert query_v1(api, f'CREATE DATABASE "{database}_new"')["error"] == error
    assert f"{database}_new" not in api.names()
