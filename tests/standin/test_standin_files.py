"""What the stand-in tells of its files: none until a snapshot, then one a table and ten minutes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from influxops_demo.testing import running_stand_in
from tests.standin.api import Api

# Nothing of this needs a stand-in that others share.
pytestmark = pytest.mark.stand_in

FILES = "SELECT table_name, row_count, min_time, max_time FROM system.parquet_files ORDER BY 3"
MINUTE = 60 * 10**9


def test_what_was_flushed_is_in_files_after_a_snapshot(tmp_path: Path) -> None:
    with running_stand_in(
        data_dir=tmp_path, wal_flush_interval="10ms", wal_snapshot_size=2
    ) as stand_in:
        api = Api(stand_in.url)
        api.write(
            "plant", f"t v=1i {MINUTE}\nt v=2i {2 * MINUTE}\nt v=3i {11 * MINUTE}", precision="ns"
        )
        assert api.sql("plant", FILES) == []
        api.write("plant", "other v=1i 5", precision="nanosecond")
        found = [
            {"table_name": "other", "row_count": 1, "min_time": 5, "max_time": 5},
            {"table_name": "t", "row_count": 2, "min_time": MINUTE, "max_time": 2 * MINUTE},
            {"table_name": "t", "row_count": 1, "min_time": 11 * MINUTE, "max_time": 11 * MINUTE},
        ]
        assert api.sql("plant", FILES) == found
        # Their rows are read as before, each once.
        assert api.count("plant", "t") == 3
        stand_in.kill()
    with running_stand_in(
        data_dir=tmp_path, wal_flush_interval="10ms", wal_snapshot_size=2
    ) as stand_in:
        assert Api(stand_in.url).sql("plant", FILES) == found


def test_a_query_may_read_so_many_files_and_no_more() -> None:
    with running_stand_in(
        wal_flush_interval="10ms", wal_snapshot_size=1, query_file_limit=2
    ) as stand_in:
        api = Api(stand_in.url)
        for number in range(3):
            api.write("plant", f"t v={number}i {number * 10 * MINUTE}", precision="nanosecond")
        answer = api.query("plant", "SELECT * FROM t")
        assert answer.status == 500
        assert answer.data.startswith(
            b"External error: Query would scan 3 Parquet files, exceeding the file limit."
        )
        late = "SELECT v FROM t WHERE time >= '1970-01-01T00:10:00Z'"
        assert len(api.sql("plant", late)) == 2
        early = "SELECT v FROM \"t\" WHERE time < '1970-01-01T00:20:00.000000000Z'"
        assert len(api.sql("plant", early)) == 2
        assert len(api.sql("plant", FILES)) == 3


def test_a_large_answer_comes_in_pieces_and_is_whole() -> None:
    with running_stand_in(wal_flush_interval="10ms") as stand_in:
        api = Api(stand_in.url)
        text = "x" * 100
        lines = (f'big,n=d{n} s="{text}",v={n}i 7' for n in range(30_000))
        assert api.write("plant", "\n".join(lines), precision="nanosecond").status == 204
        # A point again, after its block was divided and put away.
        assert (
            api.write("plant", "big,n=d5 v=-5i 7\nbig,n=d6,k=x v=-5i 7", precision="ns").status
            == 204
        )
        answer = api.query("plant", "SELECT * FROM big", format="jsonl")
        rows = [json.loads(line) for line in answer.data.splitlines()]
        assert len(rows) == 30_001
        assert sum(row["v"] for row in rows) == sum(range(30_000)) - 5 - 5 - 5
        assert {len(row["s"]) for row in rows if "s" in row} == {100}


@pytest.mark.parametrize("late", [False, True])
def test_rows_are_merged_wherever_they_are_kept(late: bool) -> None:
    """Blocks that are divided, put away and opened again hold each point once."""
    with running_stand_in(wal_flush_interval="10ms") as stand_in:
        api = Api(stand_in.url)
        for start in range(0, 120_000, 40_000):
            lines = (f"t,d=x{n % 3} v={n}i {n}000" for n in range(start, start + 40_000))
            assert api.write("plant", "\n".join(lines), precision="nanosecond").status == 204
        assert api.count("plant", "t") == 120_000
        times = range(0, 120_000, 1_000) if late else range(119_000, 120_000)
        lines = (f"t,d=x{n % 3} w=1.5 {n}000" for n in times)
        assert api.write("plant", "\n".join(lines), precision="nanosecond").status == 204
        sql = "SELECT COUNT(*) AS n, SUM(v) AS v, SUM(w) AS w FROM t"
        rows = [{"n": 120_000, "v": sum(range(120_000)), "w": 1.5 * len(times)}]
        assert api.sql("plant", sql) == rows
