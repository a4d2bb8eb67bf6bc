"""From a row in the registry to a database: what the trigger and workers take.

PYTHONPATH=. python bench/workers.py [WORKERS…]

One tenant at a time while a worker is idle; 1,000 and 10,000 in one statement; both with one, two
and four workers. For a burst, the median and the 99th percentile are of the time from the insert
until each tenant was recorded as ready.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from influxops_devserver.postgres import embedded_postgres
from influxops_devserver.testing import running_stand_in
from tests.integration.command import Cli
from tests.pg import TestDatabase, new_database

_CONFIG = """
[sources.registry]
kind = "postgres"

[ledger]
kind = "postgres"

[targets.eu1]
kind = "influxdb3"
url = "{0}"

[targets.eu2]
kind = "influxdb3"
url = "{1}"

[placement]
policy = "spread"
"""

_READY = """
SELECT extract(epoch FROM state_since - %s)::float8 FROM influxops.tenants
 WHERE state = 'ready' AND tenant LIKE %s
"""


def show(what: str, times: Sequence[float], jobs: int) -> None:
    ordered = sorted(times)
    median, late = statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]
    print(
        f"  {what:<28} {median:9.3f} s median, {late:9.3f} s 99 %, {ordered[-1]:9.3f} s all; "
        f"{jobs} jobs",
        flush=True,
    )


@contextlib.contextmanager
def workers(cli: Cli, number: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        processes: list[subprocess.Popen[str]] = []
        for _ in range(number):
            process = stack.enter_context(cli.running("worker", "--full-run-every", "0"))
            processes.append(process)
        for process in processes:
            assert process.stderr is not None
            process.stderr.readline()
        time.sleep(2.0)  # the first look around is over
        yield
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate()


def jobs(db: TestDatabase) -> int:
    with psycopg.connect(db.conninfo) as connection:
        row = connection.execute(
            "SELECT last_value FROM influxops_queue.procrastinate_jobs_id_seq"
        ).fetchone()
    assert row is not None
    return int(row[0])


def insert(db: TestDatabase, name: str, number: int) -> list[float]:
    """Insert tenants in one statement, and return after which time each was ready."""
    with psycopg.connect(db.conninfo, autocommit=True) as connection:
        began = connection.execute("SELECT clock_timestamp()").fetchone()
        assert began is not None
        connection.execute(
            "INSERT INTO device_registry (tenant_id) "
            "SELECT %s || n FROM generate_series(1, %s) AS n",
            [name, number],
        )
        while True:
            found = connection.execute(_READY, [began[0], f"{name}%"]).fetchall()
            if len(found) == number:
                return [seconds for (seconds,) in found]
            time.sleep(0.01 if number == 1 else 0.5)


def measure(db: TestDatabase, folder: Path, urls: Sequence[str], number: int) -> None:
    cli = Cli(folder, db.environment)
    cli.config(_CONFIG.format(*urls))
    for command in (["ledger", "install"], ["queue", "install", "--trigger"]):
        done = cli(*command)
        assert done.code == 0, done.all
    print(f"{number} worker{'s' if number > 1 else ''}, two servers")
    with workers(cli, number):
        before = jobs(db)
        singles = []
        for each in range(20):
            singles += insert(db, f"single{each}x", 1)
            time.sleep(0.2)
        show("20, one after another", singles, jobs(db) - before)
        for burst in (1_000, 10_000):
            before = jobs(db)
            show(f"{burst:,} at once", insert(db, f"burst{burst}x", burst), jobs(db) - before)
    with psycopg.connect(db.conninfo) as connection:
        twice = connection.execute(
            "SELECT count(*) - count(DISTINCT tenant) FROM influxops.history "
            "WHERE event IN ('created', 'found') AND outcome = 'done'"
        ).fetchone()
    assert twice == (0,), twice


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:]] or [1, 2, 4]
    with embedded_postgres() as server:
        for number in numbers:
            with (
                running_stand_in(max_databases=None, max_tables=None) as one,
                running_stand_in(max_databases=None, max_tables=None) as two,
                new_database(server) as db,
                tempfile.TemporaryDirectory() as folder,
            ):
                db.registry()
                db.execute("CREATE INDEX ON device_registry (tenant_id)")
                measure(db, Path(folder), [one.url, two.url], number)


if __name__ == "__main__":
    main()
