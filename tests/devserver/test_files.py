"""What the stand-in tells of its files, what a query may read of them, how rows are merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from influxops_devserver.storage.files import File, Files
from influxops_devserver.testing import StandInOptions, running_stand_in
from tests.devserver.api import Answer, Api

# Nothing of this needs a stand-in that others share.
pytestmark = pytest.mark.stand_in

MINUTE = 60 * 10**9
OPTIONS: StandInOptions = {
    "wal_flush_interval": "10ms",
    "wal_snapshot_size": 1,
    "gen1_duration": "1m",
    "query_file_limit": 3,
    "max_databases": None,
}


@pytest.fixture(scope="module")
def files_api() -> Iterator[Api]:
    """A stand-in that writes files of a minute, and reads no more than three of them."""
    with running_stand_in(**OPTIONS) as stand_in:
        yield Api(stand_in.url)


def write(api: Api, database: str, *lines: str) -> Answer:
    return api.write(database, "\n".join(lines), precision="nanosecond")


def write_files(api: Api, database: str) -> None:
    """Have all that is in the log written to files: the third flush at the latest does."""
    for _ in range(3):
        assert write(api, database, "tick f=1 0").status == 204


def listed(api: Api, database: str, table: str = "t") -> list[tuple[int, int, int]]:
    sql = (
        "SELECT row_count, min_time, max_time FROM system.parquet_files "
        f"WHERE table_name = '{table}' ORDER BY min_time, max_time"
    )
    return [(f["row_count"], f["min_time"], f["max_time"]) for f in api.sql(database, sql)]


def test_a_snapshot_leaves_the_newest_span_in_the_log_until_there_is_too_much_of_it() -> None:
    files = Files(2, MINUTE)

    def flush(*minutes: float) -> list[tuple[int, int]]:
        files.add(1, 1, [(int(minute * MINUTE), {}, {}) for minute in minutes])
        files.flushed()
        return [(file.rows, file.last // MINUTE) for file in files.of(1, 1)]

    # Half as many again as the size are needed; what is as new as the newest flush stays.
    assert flush(0, 1) == []
    assert flush(0.5, 1.5) == []
    assert flush(1.2, 2.5) == [(2, 0), (3, 1)]
    # A late row goes to a file of its own, and a row of the future stops nothing for ever.
    assert flush(9) == [(2, 0), (3, 1)]
    assert flush(0.1) == [(2, 0), (3, 1)]
    assert flush(2.6, 3) == [(2, 0), (3, 1), (2, 2), (1, 0)]
    assert flush(4) == flush(4.5) == [(2, 0), (3, 1), (2, 2), (1, 0)]
    assert flush(4.6)[4:] == [(1, 9), (1, 3), (3, 4)]


def test_the_files_of_two_snapshots_have_two_names() -> None:
    files = Files(1, MINUTE)
    for _ in range(6):
        files.add(1, 1, [(5, {}, {})])
        files.flushed()
    paths = [file.path for file in files.of(1, 1)]
    assert len(set(paths)) == 2
    assert files.of(1, 1) == [File(path, 3, 5, 5) for path in paths]


def test_hundreds_of_files_come_of_one_write_and_are_listed_apart(
    files_api: Api, database: str
) -> None:
    lines = [f"t,n=a v={n}i {n * MINUTE}\nt,n=b v={n}i {n * MINUTE + 9}" for n in range(500)]
    assert write(files_api, database, *lines).status == 204
    write_files(files_api, database)
    assert listed(files_api, database) == [(2, n * MINUTE, n * MINUTE + 9) for n in range(500)]
    # Files of another database are not seen, nor are those of a deleted namesake.
    assert write(files_api, f"{database}_other", "t v=1i 5").status == 204
    write_files(files_api, f"{database}_other")
    assert listed(files_api, f"{database}_other") == [(1, 5, 5)]
    assert files_api.delete(database).status == 200
    files_api.create(database)
    assert listed(files_api, database) == []
    assert write(files_api, database, "t v=1i 7").status == 204
    write_files(files_api, database)
    assert listed(files_api, database) == [(1, 7, 7)]


def test_without_a_name_files_are_listed_as_those_of_tables_of_other_databases_too(
    files_api: Api, database: str
) -> None:
    """As the source of the recorded revision does it: ParquetFilesTable::scan."""
    names = [f"{database}_{side}" for side in ("one", "two")]
    for name, tables in zip(names, (("t", "u"), ("u", "t")), strict=True):
        for table in tables:
            assert write(files_api, name, f"{table} v=1i {len(tables)}").status == 204
        write_files(files_api, name)
    for name in names:
        assert listed(files_api, name, "t") == listed(files_api, name, "u") == [(1, 2, 2)]
        sql = "SELECT table_name, COUNT(*) AS n FROM system.parquet_files GROUP BY 1"
        found = {row["table_name"]: row["n"] for row in files_api.sql(name, sql)}
        assert found["t"] >= 2 <= found["u"]


@pytest.fixture(scope="module")
def ten(files_api: Api) -> str:
    """A database with ten files of the table t, and one that reaches over the first five."""
    lines = [f"t,n=a v={n}i {n * MINUTE}" for n in range(10)]
    write(files_api, "ten", *lines, "u v=1i 5")
    write_files(files_api, "ten")
    return "ten"


BOUNDED = [
    "SELECT COUNT(*) FROM t WHERE time >= {2} AND time < {5}",
    "SELECT * FROM t WHERE time > {1} AND time <= {4}",
    "SELECT MAX(time) FROM t WHERE time BETWEEN {2} AND {4}",
    "SELECT v FROM t WHERE {2} <= time AND {5} > time AND v > 0 AND (n = 'a' OR n = 'b')",
    "SELECT v FROM t WHERE time = {7}",
    "SELECT v FROM t WHERE time >= '1970-01-01T00:07:00Z'",
    "SELECT v FROM t WHERE '1970-01-01T00:02:00.1Z' < time AND time < '1970-01-01 00:06:00'",
    "SELECT v FROM t WHERE time >= TIMESTAMP '1970-01-01 00:07:00' ORDER BY time DESC LIMIT 1",
    "SELECT v FROM t WHERE CAST(time AS BIGINT) >= 420000000000",
    "SELECT v FROM t WHERE time > now() - INTERVAL '1 day'",
    "SELECT v FROM t WHERE time >= {1} AND time < {4} UNION ALL "
    "SELECT v FROM t WHERE time >= {4} AND time < {7}",
    "SELECT * FROM (SELECT time, v FROM t) AS s WHERE time < {3}",
    "WITH s AS (SELECT * FROM iox.t WHERE time < {3}) SELECT COUNT(*) FROM s",
    "SELECT a.v FROM t a JOIN t b ON a.v = b.v WHERE a.time < {3} AND b.time >= {7}",
    "SELECT date_bin(INTERVAL '1 hour', time) AS h, AVG(v) FROM t WHERE time < {3} GROUP BY h",
    "SELECT * FROM u",
]
TOO_WIDE = [
    "SELECT COUNT(*) FROM t",
    "SELECT time FROM t LIMIT 1",
    "SELECT MAX(time) AS last FROM t",
    "SELECT MIN(time) FROM t",
    "SELECT v FROM t ORDER BY time DESC LIMIT 1",
    "SELECT v FROM t WHERE v = 1",
    "SELECT v FROM t WHERE time >= {2} AND time < {6}",
    "SELECT v FROM t WHERE time >= {6}",
    "SELECT v FROM t WHERE time < {2} OR time >= {9}",
    "SELECT v FROM t WHERE time < {3} UNION ALL SELECT v FROM t",
    "SELECT a.v FROM t a JOIN t b ON a.v = b.v WHERE a.time < {3}",
    "SELECT v FROM u WHERE EXISTS (SELECT 1 FROM t)",
    "SELECT v FROM t WHERE date_trunc('minute', time) < {2}",
    'SELECT v FROM iox."t"',
]


@pytest.mark.parametrize("sql", BOUNDED)
def test_a_slice_of_no_more_files_than_the_limit_is_read(
    files_api: Api, ten: str, sql: str
) -> None:
    answer = files_api.query(
        ten, sql.format(*(f"to_timestamp_nanos({n * MINUTE})" for n in range(10)))
    )
    assert answer.status == 200, answer.data


@pytest.mark.parametrize("sql", TOO_WIDE)
def test_a_query_over_more_files_than_the_limit_is_refused_whatever_it_asks(
    files_api: Api, ten: str, sql: str
) -> None:
    answer = files_api.query(
        ten, sql.format(*(f"to_timestamp_nanos({n * MINUTE})" for n in range(10)))
    )
    assert answer.status == 500
    # The limit's number, not that of the files.
    assert answer.data.startswith(
        b"External error: Query would scan 3 Parquet files, exceeding the file limit."
    )


def test_what_is_in_the_log_alone_is_read_and_not_listed(files_api: Api, database: str) -> None:
    write_files(files_api, database)
    late = [f"t v={n}i {n * MINUTE}" for n in range(4)]
    assert write(files_api, database, *late).status == 204
    # Its newest span stays in the log; with one more file the limit would be reached.
    assert listed(files_api, database) == [(1, n * MINUTE, n * MINUTE) for n in range(3)]
    assert files_api.count(database, "t") == 4


def test_a_row_may_be_in_several_files_and_is_one_merged_field_by_field(
    files_api: Api, database: str
) -> None:
    for line in ("t,k=a v=1i,w=1i 5", "t,k=b v=9i 7\nt,k=a w=2i 5"):
        assert write(files_api, database, line).status == 204
        write_files(files_api, database)
    assert listed(files_api, database) == [(1, 5, 5), (2, 5, 7)]
    sql = "SELECT * EXCLUDE (time) FROM t WHERE time <= to_timestamp_nanos(5)"
    assert files_api.sql(database, sql) == [{"k": "a", "v": 1, "w": 2}]
    # What is in the log is merged with them, and gets a file of its own for the same time.
    assert write(files_api, database, "t,k=a v=4i,x=3i 5").status == 204
    assert files_api.sql(database, sql) == [{"k": "a", "v": 4, "w": 2, "x": 3}]
    write_files(files_api, database)
    assert listed(files_api, database) == [(1, 5, 5), (1, 5, 5), (2, 5, 7)]
    assert files_api.sql(database, sql) == [{"k": "a", "v": 4, "w": 2, "x": 3}]


def test_files_are_listed_equal_after_a_restart_and_go_on(tmp_path: Path) -> None:
    kept: StandInOptions = OPTIONS | {"data_dir": tmp_path}
    with running_stand_in(**kept) as stand_in:
        api = Api(stand_in.url)
        for n in range(5):
            write(api, "plant", f"t,k=a v={n}i {n * MINUTE}", f"t,k=b v={n}i {2 * MINUTE}")
        api.write("gone", "t v=1i 1")
        api.delete("gone")
        before, paths = listed(api, "plant"), api.sql("plant", "SELECT * FROM system.parquet_files")
        assert len(before) == 5
        stand_in.kill()
    with running_stand_in(**kept) as stand_in:
        api = Api(stand_in.url)
        assert listed(api, "plant") == before
        assert api.sql("plant", "SELECT * FROM system.parquet_files") == paths
        assert api.query("plant", "SELECT COUNT(*) FROM t").status == 500
        write_files(api, "plant")
        after = listed(api, "plant")
        assert len(after) > len(before)
        assert sum(rows for rows, _, _ in after) == 10
        stand_in.stop()
    with running_stand_in(**kept) as stand_in:
        assert listed(Api(stand_in.url), "plant") == after


def test_a_large_answer_comes_in_pieces_and_is_whole(api: Api, database: str) -> None:
    text = "x" * 100
    lines = [f'big,n=d{n} s="{text}",v={n}i 7' for n in range(30_000)]
    assert write(api, database, *lines).status == 204
    # A point again, after its block was divided and put away.
    assert write(api, database, "big,n=d5 v=-5i 7\nbig,n=d6,k=x v=-5i 7").status == 204
    answer = api.query(database, "SELECT * FROM big", format="jsonl")
    rows = [json.loads(line) for line in answer.data.splitlines()]
    assert len(rows) == 30_001
    assert sum(row["v"] for row in rows) == sum(range(30_000)) - 5 - 5 - 5
    assert {len(row["s"]) for row in rows if "s" in row} == {100}


@pytest.mark.parametrize("late", [False, True])
def test_rows_are_merged_wherever_they_are_kept(api: Api, database: str, late: bool) -> None:
    """Blocks that are divided, put away and opened again hold each point once."""
    for start in range(0, 80_000, 40_000):
        lines = [f"t,d=x{n % 3} v={n}i {n}000" for n in range(start, start + 40_000)]
        assert write(api, database, *lines).status == 204
    assert api.count(database, "t") == 80_000
    times = range(0, 80_000, 1_000) if late else range(79_000, 80_000)
    assert write(api, database, *(f"t,d=x{n % 3} w=1.5 {n}000" for n in times)).status == 204
    sql = "SELECT COUNT(*) AS n, SUM(v) AS v, SUM(w) AS w FROM t"
    rows = [{"n": 80_000, "v": sum(range(80_000)), "w": 1.5 * len(times)}]
    assert api.sql(database, sql) == rows
