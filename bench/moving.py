"""How long a whole `influxops move --writers-paused` takes beside a bare copy of the same rows.

python bench/moving.py [ROWS] [--groups N] [--runs 3] [--json]

Two stand-ins whose log is flushed each second, and a PostgreSQL with registry and ledger; the rows
(200,000 unless told otherwise) are in three tables a group. In turns a process of its own copies
them bare (read once, written once, nothing checked: `bench/copying.py`), and another one is the
command line, from its start to its exit: it makes the database, copies, reads the copy back,
confirms that nothing came, and cuts over. Each has a fresh server to copy to. It prints medians,
the ratio (at most 1.5 from 100,000 rows on), CPU time and the peak of memory (at most 100 MB). A
move of 18 small tables, `3000 --groups 6`, is to take at most 3 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.copying import DATABASE, fill, lines  # noqa: E402
from influxops_devserver.postgres import EmbeddedPostgres  # noqa: E402
from influxops_devserver.testing import running_stand_in  # noqa: E402
from tests.pg import new_database, postgres_server  # noqa: E402

Measured = dict[str, float]
_TENANT = DATABASE.removeprefix("telemetry_")
_INFLUXOPS = str(Path(sys.executable).with_name("influxops"))
_CONFIG = '[sources.registry]\nkind = "postgres"\n[ledger]\nkind = "postgres"\n'
_TARGET = '[targets.{}]\nkind = "influxdb3"\nurl = "{}"\nread_timeout = 120\n'


def compare(rows: int, groups: int, runs: int) -> dict[str, Measured]:
    """Return the medians of the bare copy and of the whole move, which take turns, by name."""
    found: dict[str, list[Measured]] = {"bare": [], "move": []}
    with running_stand_in(max_databases=None) as source, postgres_server() as postgres:
        fill(source.url, lines(rows, groups))
        for _ in range(runs):
            found["bare"].append(_bare(source.url, groups))
            found["move"].append(_move(source.url, rows, postgres))
    return {
        name: {key: statistics.median(each[key] for each in all_) for key in all_[0]}
        for name, all_ in found.items()
    }


def _bare(source: str, groups: int) -> Measured:
    with running_stand_in(max_databases=None) as target:
        script = str(ROOT / "bench/copying.py")
        command = [sys.executable, script, "--bare", source, target.url, str(groups)]
        return _measured(command, os.environ)[0]


def _move(source: str, rows: int, postgres: EmbeddedPostgres) -> Measured:
    with (
        running_stand_in(max_databases=None) as target,
        new_database(postgres) as database,
        tempfile.TemporaryDirectory() as folder,
    ):
        database.registry(_TENANT)
        config = Path(folder, "influxops.toml")
        env = {**os.environ, **database.environment, "INFLUXOPS_CONFIG": str(config)}
        config.write_text(_CONFIG + _TARGET.format("eu1", source))
        for words in (["ledger", "install"], ["ensure"]):
            _measured([_INFLUXOPS, *words], env)
        config.write_text(config.read_text() + _TARGET.format("eu2", target.url))
        command = [_INFLUXOPS, "move", _TENANT, "--to", "eu2", "--writers-paused"]
        found, told = _measured(command, env)
        assert f"{rows:,} rows" in told, told
        return found


def _measured(command: list[str], env: Mapping[str, str]) -> tuple[Measured, str]:
    """Run a command that must succeed; return its seconds, CPU seconds, MiB at most, and output."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        took, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
        out.seek(0)
        told = out.read()
    assert process.returncode == 0, (command, told)
    return {"seconds": took, "cpu": cpu, "memory": usage.ru_maxrss / 1024}, told


def main() -> None:
    """Measure and tell."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("rows", type=int, nargs="?", default=200_000)
    options.add_argument("--groups", type=int, default=1)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    found = compare(given.rows, given.groups, given.runs)
    ratio = found["move"]["seconds"] / found["bare"]["seconds"]
    if given.json:
        told = {"rows": given.rows, "tables": 3 * given.groups, **found, "ratio": ratio}
        print(json.dumps(told))
        return
    print(f"{given.rows:,} rows in {3 * given.groups} tables, medians of {given.runs}")
    for name, each in found.items():
        print(
            f"{name}  {each['seconds']:7.2f} s  {each['cpu']:6.2f} s of CPU time  "
            f"{each['memory']:4.0f} MiB at most"
        )
    print(f"move / bare: {ratio:.2f} (at most 1.5 from 100,000 rows on)")


if __name__ == "__main__":
    main()
