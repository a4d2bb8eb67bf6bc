"""From one row of a registry to its database: a worker, beside `influxops ensure TENANT`, in turns.

    python bench/one_row.py [--runs 20] [--json]

The worker has nothing else to do, and listens; its time is that of the ledger, from before the
insert until the tenant is ready. `ensure TENANT` runs in this process, so without its start-up,
with an engine of its own each time; its row is inserted where no trigger sees it. PostgreSQL is
real, the server is a stand-in with room.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import LiteralString

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.ratios import row
from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.errors import ExitCode
from influxops.runtime.context import RunContext
from influxops_devserver.testing import running_stand_in
from tests.integration.command import Cli
from tests.pg import TestDatabase, new_database, postgres_server
from tests.queue.workers import working

_CONFIG = """
[sources.registry]
kind = "postgres"
[ledger]
kind = "postgres"
[targets.eu1]
kind = "influxdb3"
url = "{}"
"""
_INSERT: LiteralString = "INSERT INTO device_registry (tenant_id) VALUES (%s)"
_READY: LiteralString = """
SELECT extract(epoch FROM created_at - %s)::float8, extract(epoch FROM state_since - %s)::float8
  FROM influxops.tenants WHERE tenant = %s AND state = 'ready'
"""
#: Seconds after which a worker is stuck.
_STUCK = 60.0


def by_worker(db: TestDatabase, tenant: str) -> tuple[float, float]:
    """Insert a row; return the seconds until its database was created, and until it was ready."""
    with psycopg.connect(db.conninfo, autocommit=True) as connection:
        (began,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        connection.execute(_INSERT, [tenant])
        end = time.monotonic() + _STUCK
        while (found := connection.execute(_READY, [began, began, tenant]).fetchone()) is None:
            assert time.monotonic() < end, "no database was created"
            time.sleep(0.02)
        return float(found[0]), float(found[1])


def by_command(db: TestDatabase, tenant: str, config: Path) -> float:
    """Return the seconds of `influxops ensure TENANT`, from reading its configuration on."""
    with psycopg.connect(db.conninfo) as connection:
        connection.execute("ALTER TABLE device_registry DISABLE TRIGGER USER")
        connection.execute(_INSERT, [tenant])
        connection.execute("ALTER TABLE device_registry ENABLE TRIGGER USER")
    began = time.perf_counter()
    with Engine(load_config(config)) as engine:
        report = engine.run(Ensure(), RunContext(60.0, tenants=frozenset([tenant])))
    took = time.perf_counter() - began
    assert report.exit_code is ExitCode.OK
    return took


def measure(runs: int, flush: str) -> dict[str, float]:
    """Return the median seconds of both."""
    with (
        postgres_server() as server,
        new_database(server) as db,
        running_stand_in(max_databases=None, max_tables=None, wal_flush_interval=flush) as stand_in,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name)
        db.registry()
        db.execute("CREATE INDEX ON device_registry (tenant_id)")
        cli = Cli(folder, db.environment)
        cli.config(_CONFIG.format(stand_in.url))
        for command in (["ledger", "install"], ["queue", "install", "--trigger"]):
            assert cli(*command).code == 0
        os.environ |= db.environment
        config = folder / "influxops.toml"
        took: dict[str, list[float]] = {"created": [], "ready": [], "command": []}
        with working(cli):
            for number in range(-1, runs):  # the first ones connect, and import
                times = *by_worker(db, f"row{number}x"), by_command(db, f"named{number}x", config)
                for each, seconds in zip(took.values(), times, strict=True):
                    each += [seconds] if number >= 0 else []
        return {name: statistics.median(times) for name, times in took.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--flush", default="1s", help="how often the server flushes its log")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took = measure(options.runs, options.flush)
    if options.json:
        print(json.dumps({**took, "ratio": took["ready"] / took["command"]}))
        return
    beside = took["command"]
    row("one row until its database / ensure TENANT", took["created"], beside, "at most 2")
    row("one row until it is ready / ensure TENANT", took["ready"], beside, "at most 2")


if __name__ == "__main__":
    main()
