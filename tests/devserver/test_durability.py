from __future__ import annotations

import contextlib
import resource
import sqlite3
import threading
from pathlib import Path

import pytest
import urllib3

from influxops_devserver.testing import StandInFailed, running_stand_in
from tests.devserver.api import Answer, Api

NEVER = "1h"
"""A flush interval that no test lives to see the end of."""


def test_a_write_that_was_answered_survives_a_kill(tmp_path: Path) -> None:
    with running_stand_in(data_dir=tmp_path, wal_flush_interval="20ms") as stand_in:
        api = Api(stand_in.url)
        assert api.write("plant", 't,k=a i=1i,u=2u,f=0.5,s="x",b=t 1').status == 204
        before = api.sql("plant", "SELECT * FROM t")
        assert stand_in.kill() == -9
    with running_stand_in(data_dir=tmp_path) as stand_in:
        assert Api(stand_in.url).sql("plant", "SELECT * FROM t") == before


def test_what_was_answered_survives_flushes_that_failed_and_two_kills(tmp_path: Path) -> None:
    with running_stand_in(data_dir=tmp_path, wal_flush_interval="20ms") as stand_in:
        api = Api(stand_in.url)
        process, unlimited = stand_in.process.pid, resource.RLIM_INFINITY
        assert api.write("plant", "t i=1i 1").status == 204
        resource.prlimit(process, resource.RLIMIT_FSIZE, (1, unlimited))
        for number in (2, 3):
            assert api.write("plant", f"t i={number}i {number}").status >= 500
        resource.prlimit(process, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        assert api.write("plant", "t i=4i 4").status == 204
        stand_in.kill()
    with running_stand_in(data_dir=tmp_path, wal_flush_interval="20ms") as stand_in:
        for number in (5, 6):
            assert Api(stand_in.url).write("plant", f"t i={number}i {number}").status == 204
        stand_in.kill()
    with running_stand_in(data_dir=tmp_path) as stand_in:
        rows = Api(stand_in.url).sql("plant", "SELECT i FROM t ORDER BY time")
        assert [row["i"] for row in rows] == [1, 4, 5, 6]


def test_an_ordinary_write_makes_all_writes_before_it_durable(tmp_path: Path) -> None:
    names = [f"tenant_{number}" for number in range(50)]
    with running_stand_in(
        data_dir=tmp_path, max_databases=None, wal_flush_interval="200ms"
    ) as stand_in:
        api = Api(stand_in.url)
        for name in names:
            assert api.write(name, "_init value=1i 1", no_sync="true").status == 204
        assert api.write("barrier", "_init value=1i 1").status == 204
        stand_in.kill()
    with running_stand_in(data_dir=tmp_path, max_databases=None) as stand_in:
        api = Api(stand_in.url)
        assert api.names() == sorted(["barrier", *names])
        assert [api.count(name, "_init") for name in names] == [1] * 50


def test_without_a_flush_a_no_sync_write_leaves_its_table_and_no_row(tmp_path: Path) -> None:
    with running_stand_in(data_dir=tmp_path, wal_flush_interval=NEVER) as stand_in:
        api = Api(stand_in.url)
        assert api.write("plant", "_init,k=a value=1i 1", no_sync="true").status == 204
        assert api.count("plant", "_init") == 0
        stand_in.kill()
    with running_stand_in(data_dir=tmp_path) as stand_in:
        api = Api(stand_in.url)
        assert api.names() == ["plant"]
        assert api.count("plant", "_init") == 0
        columns = api.sql("_internal", "SELECT column_count, series_key_columns FROM system.tables")
        assert columns == [{"column_count": 3, "series_key_columns": "k"}]


def test_a_name_that_is_used_again_within_one_flush_loses_its_new_rows_and_no_others() -> None:
    with running_stand_in(wal_flush_interval="500ms") as stand_in:
        api = Api(stand_in.url)
        assert api.write("other", "t v=1i 1").status == 204  # Begins a new flush.
        assert api.write("again", "_init v=1i 1", no_sync="true").status == 204
        assert api.delete("again").status == 200
        assert api.write("again", "_init v=2i 2", no_sync="true").status == 204
        assert api.write("other", "t v=2i 2").status == 204
        assert (api.count("again", "_init"), api.count("other", "t")) == (0, 2)
        assert api.write("again", "_init v=2i 2").status == 204
        assert api.count("again", "_init") == 1


def test_an_ordinary_write_waits_for_the_flush() -> None:
    with running_stand_in(wal_flush_interval=NEVER) as stand_in:
        api = Api(stand_in.url)
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            urllib3.request(
                "POST", f"{api.url}/api/v3/write_lp?db=plant", body=b"t v=1i 1", timeout=0.3
            )
        # The catalog does not wait: the database is there before the row is.
        assert api.names() == ["plant"]


def test_a_server_that_is_told_to_end_flushes_and_answers_first(tmp_path: Path) -> None:
    answers: list[Answer] = []
    with running_stand_in(data_dir=tmp_path, wal_flush_interval=NEVER) as stand_in:
        api = Api(stand_in.url)
        assert api.write("plant", "t v=1i 1", no_sync="true").status == 204
        waiting = threading.Thread(target=lambda: answers.append(api.write("plant", "u v=1i 1")))
        waiting.start()
        # The table is made in the same step as the wait for the flush begins.
        sql = "SELECT table_name FROM system.tables WHERE table_name = 'u'"
        assert any(api.sql("_internal", sql) for _ in range(5_000))
        assert stand_in.stop() == 0
        waiting.join()
    assert [answer.status for answer in answers] == [204]
    with running_stand_in(data_dir=tmp_path) as stand_in:
        api = Api(stand_in.url)
        assert (api.count("plant", "t"), api.count("plant", "u")) == (1, 1)


def test_every_change_of_the_catalog_survives_a_kill(tmp_path: Path) -> None:
    queries = [
        ("_internal", "SELECT * FROM system.databases"),
        ("_internal", "SELECT * FROM system.tables"),
        ("_internal", "SELECT * FROM system.tokens"),
    ]
    with running_stand_in(data_dir=tmp_path, with_auth=True) as stand_in:
        api = Api(stand_in.url)
        token = api.send("POST", "/api/v3/configure/token/admin").json()["token"]
        api = api.with_token(token)
        uuid = api.send("GET", "/ping").headers["cluster-uuid"]
        api.create("kept", "30d")
        api.create("changed", "30d")
        api.send("PUT", "/api/v3/configure/database", json={"db": "changed"})
        api.create("deleted")
        api.delete("deleted", hard_delete_at="2099-01-02T03:04:05Z")
        api.create("deleted", "1h")
        table = {"db": "kept", "table": "t", "tags": ["k"], "fields": []}
        api.send("POST", "/api/v3/configure/table", json=table)
        api.send("DELETE", "/api/v3/configure/table", query={"db": "kept", "table": "t"})
        for name in ("ci", "gone"):
            named = {"token_name": name, "expiry_secs": 3600}
            api.send("POST", "/api/v3/configure/token/named_admin", json=named)
        api.send("DELETE", "/api/v3/configure/token", query={"token_name": "gone"})
        before = [api.sql(*query) for query in queries]
        stand_in.kill()
    with running_stand_in(data_dir=tmp_path, with_auth=True) as stand_in:
        api = Api(stand_in.url, token)
        assert [api.sql(*query) for query in queries] == before
        assert api.send("GET", "/ping").headers["cluster-uuid"] == uuid


def test_ids_are_not_given_again_after_a_restart(tmp_path: Path) -> None:
    with running_stand_in(data_dir=tmp_path, wal_flush_interval="20ms") as stand_in:
        api = Api(stand_in.url)
        api.write("plant", "t v=1i 1")
        api.send("DELETE", "/api/v3/configure/table", query={"db": "plant", "table": "t"})
        stand_in.kill()
    with running_stand_in(data_dir=tmp_path, wal_flush_interval="20ms") as stand_in:
        api = Api(stand_in.url)
        api.write("plant", "t w=1i 1")
        assert api.sql("plant", "SELECT * FROM t") == [{"time": "1970-01-01T00:00:01", "w": 1}]


def test_without_a_data_directory_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uuids = set()
    for _ in range(2):
        with running_stand_in(wal_flush_interval="20ms") as stand_in:
            api = Api(stand_in.url)
            assert api.names() == []
            assert api.write("plant", "t v=1i 1").status == 204
            uuids.add(api.send("GET", "/ping").headers["cluster-uuid"])
    assert len(uuids) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named_not_overwritten(tmp_path: Path) -> None:
    damaged = tmp_path / "stand-in.sqlite"
    damaged.write_text("no database\n" * 100)
    expected = r"Error: .*stand-in\.sqlite: .*; move the directory away\Z"
    with pytest.raises(StandInFailed, match=expected), running_stand_in(data_dir=tmp_path):
        pass
    assert damaged.read_text() == "no database\n" * 100


@pytest.mark.parametrize("document", ['{"id": 0}', b"\x81\xa2id\x00"], ids=["text", "less"])
def test_what_another_version_kept_is_named_not_overwritten(
    tmp_path: Path, document: str | bytes
) -> None:
    with running_stand_in(data_dir=tmp_path):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "stand-in.sqlite")) as file, file:
        file.execute("UPDATE documents SET document = ? WHERE kind = 'database'", (document,))
    expected = r"Error: .*stand-in\.sqlite: .*; move the directory away\Z"
    with pytest.raises(StandInFailed, match=expected), running_stand_in(data_dir=tmp_path):
        pass


def test_one_data_directory_serves_one_server(tmp_path: Path) -> None:
    with running_stand_in(data_dir=tmp_path) as stand_in:
        expected = r"another stand-in uses .*; end that one"
        with pytest.raises(StandInFailed, match=expected), running_stand_in(data_dir=tmp_path):
            pass
        stand_in.kill()
        with running_stand_in(data_dir=tmp_path) as after_the_kill:
            assert Api(after_the_kill.url).names() == []
