"""What influxops costs beside the bare work, as ratios, measured in turns in one run.

    python bench/ratios.py [--runs 15] [--makes 5] [--tenants 1000] [--base PYTHON]

Four ratios: a run with nothing missing beside a script that does the same three requests
(at most 1.3); `--version` and `--help` beside a bare start of Python; creating databases, its
start-up subtracted, beside the same requests sent bare (at most 1.1); a row that is inserted until
a worker has created its database where three of four servers are full, beside one empty server (at
most 1.5, and one row in the history). The first three also beside another checkout whose
interpreter `--base` names (no slower). PostgreSQL is real, a server is a stand-in with a
write-ahead log that is flushed each second.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import urllib3

if TYPE_CHECKING:
    from influxops_devserver.postgres import EmbeddedPostgres
    from tests.pg import TestDatabase

ROOT = Path(__file__).parents[1]
_BARE = [sys.executable, str(ROOT / "bench/bare.py")]
#: Seconds that one command may take.
_STUCK = 120
_QUEUED = """
[sources.registry]
kind = "postgres"
[ledger]
kind = "postgres"
[placement]
pins = {{pinned = "eu{}"}}
"""
_TARGET = """
[targets.eu{}]
kind = "influxdb3"
url = "{}"
"""

Measure = Callable[[], float]


def program(python: str = sys.executable) -> list[str]:
    """Give the command that runs the influxops of an interpreter's environment."""
    return [str(Path(python).with_name("influxops"))]


def seconds(command: list[str], env: Mapping[str, str]) -> float:
    """Give the wall time of a command that must succeed, in seconds."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            command, env=env, cwd=folder, check=True, capture_output=True, timeout=_STUCK
        )
    return time.perf_counter() - start


def in_turns(measures: Mapping[str, Measure], runs: int) -> dict[str, float]:
    """Give the median of each measure; they take turns, so that a busy moment meets all."""
    times: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            times[name].append(measure())
    return {name: statistics.median(taken) for name, taken in times.items()}


def environment(**variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **variables}


def row(what: str, taken: float, beside: float, target: str) -> None:
    ratio = taken / beside
    print(
        f"{what:<52} {taken * 1000:7.0f} ms {beside * 1000:7.0f} ms {ratio:6.2f} x  {target}",
        flush=True,
    )


def starts(env: Mapping[str, str], runs: int, base: str | None) -> None:
    """Measure `--version` and `--help`."""
    ours, theirs = program(), program(base) if base else None
    for option in ("--version", "--help"):
        measures: dict[str, Measure] = {
            "bare": lambda: seconds([sys.executable, "-c", "pass"], env),
            "ours": lambda option=option: seconds([*ours, option], env),  # type: ignore[misc]
        }
        if theirs:
            measures["base"] = lambda option=option: seconds([*theirs, option], env)  # type: ignore[misc]
        took = in_turns(measures, runs)
        row(f"influxops {option} / python -c pass", took["ours"], took["bare"], "as the base")
        if theirs:
            row(f"influxops {option} / the base's", took["ours"], took["base"], "at most 1.0")


def looking(env: Mapping[str, str], runs: int, base: str | None) -> None:
    """Measure a run with nothing missing."""
    seconds([*program(), "ensure"], env)  # makes what is missing, once
    measures: dict[str, Measure] = {
        "ours": lambda: seconds([*program(), "ensure"], env),
        "bare": lambda: seconds([*_BARE, "look"], env),
    }
    if base:
        measures["base"] = lambda: seconds([*program(base), "ensure"], env)
    took = in_turns(measures, runs)
    row("ensure, nothing missing / bare script", took["ours"], took["bare"], "at most 1.3")
    if base:
        row("ensure, nothing missing / the base's", took["ours"], took["base"], "at most 1.0")


def making(env: Mapping[str, str], tenants: int, runs: int, base: str | None) -> None:
    """Measure the creation of databases on servers that are fresh each time."""
    from influxops_devserver.testing import running_stand_in

    def on_fresh_server(work: Callable[[dict[str, str]], float]) -> float:
        with running_stand_in(max_databases=None, max_tables=None) as stand_in:
            return work({**env, "INFLUXDB_URL": stand_in.url})

    def creating(command: list[str], there: dict[str, str]) -> float:
        # The start-up is taken at once and there, so that a busy moment meets both.
        whole = seconds(command, there)
        return whole - seconds(command, there)

    def ours(there: dict[str, str]) -> float:
        return creating([*program(), "ensure"], there)

    def bare(there: dict[str, str]) -> float:
        command = [*_BARE, "make"]
        return float(
            subprocess.run(
                command, env=there, check=True, capture_output=True, timeout=_STUCK
            ).stdout
        )

    measures: dict[str, Measure] = {
        "ours": lambda: on_fresh_server(ours),
        "bare": lambda: on_fresh_server(bare),
    }
    if base:
        before = [*program(base), "ensure"]
        measures["base"] = lambda: on_fresh_server(lambda there: creating(before, there))
    took = in_turns(measures, runs)
    what = f"ensure, {tenants:,} missing, less the start-up"
    row(f"{what} / bare", took["ours"], took["bare"], "at most 1.1")
    if base:
        row(f"{what} / the base's", took["ours"], took["base"], "at most 1.0")
    print("  (the start-up is that of a second run, which finds nothing missing)")


@contextlib.contextmanager
def worker(server: EmbeddedPostgres, full: int) -> Iterator[TestDatabase]:
    """Run a worker with some full servers and one with room, which has worked there alone yet."""
    from influxops_devserver.testing import running_stand_in
    from tests.integration.command import Cli
    from tests.pg import new_database
    from tests.queue.workers import working

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        db = stack.enter_context(new_database(server))
        db.registry()
        config = _QUEUED.format(full)
        for number in range(full + 1):
            stand_in = stack.enter_context(running_stand_in(max_databases=5))
            config += _TARGET.format(number, stand_in.url)
            for name in range(5 if number < full else 0):
                body = {"db": f"another{name}"}
                urllib3.request("POST", f"{stand_in.url}/api/v3/configure/database", json=body)
        cli = Cli(folder, db.environment)
        cli.config(config)
        for command in (["ledger", "install"], ["queue", "install", "--trigger"]):
            done = cli(*command)
            assert done.code == 0, done.all
        stack.enter_context(working(cli))
        placed(db, "pinned")
        yield db


def placed(db: TestDatabase, tenant: str) -> tuple[float, int]:
    """Insert a row; return the seconds until its database is recorded, and its history's rows."""
    recorded = "SELECT 1 FROM influxops.tenants WHERE tenant = %s AND state = 'ready'"
    history = "SELECT count(*) FROM influxops.history WHERE tenant = %s"
    with psycopg.connect(db.conninfo, autocommit=True) as connection:
        start = time.perf_counter()
        connection.execute("INSERT INTO device_registry (tenant_id) VALUES (%s)", [tenant])
        while connection.execute(recorded, [tenant]).fetchone() is None:
            assert time.perf_counter() - start < _STUCK, "no database was created"
            time.sleep(0.005)
        taken = time.perf_counter() - start
        (entries,) = connection.execute(history, [tenant]).fetchone() or (0,)
    return taken, entries


def placing(server: EmbeddedPostgres, runs: int) -> None:
    """Measure from a row to its database: the first one that a worker has to place itself."""
    entries: list[int] = []

    def first(full: int) -> float:
        with worker(server, full) as db:
            taken, rows = placed(db, "tenant")
        entries.append(rows)
        return taken

    took = in_turns({"full": lambda: first(3), "empty": lambda: first(0)}, runs)
    what = "worker, 3 of 4 servers full / one empty server"
    row(what, took["full"], took["empty"], "at most 1.5")
    print(f"  (rows in a tenant's history: at most {max(entries)}, 1 is right)")


def main() -> None:
    from influxops_devserver.testing import running_stand_in
    from tests.pg import new_database, postgres_server

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--makes", type=int, default=5, help="how often databases are made")
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--base", metavar="PYTHON", help="another checkout's interpreter")
    options = parser.parse_args()
    print(f"{'':<52} {'takes':>10} {'beside':>10} {'ratio':>8}  target")
    with postgres_server() as server:
        with new_database(server) as db, running_stand_in(max_databases=None) as stand_in:
            db.registry(*(f"tenant{number}" for number in range(12)))
            env = environment(**db.environment, INFLUXDB_URL=stand_in.url)
            looking(env, options.runs, options.base)
        starts(environment(), options.runs, options.base)
        with new_database(server) as db:
            db.registry(*(f"tenant{number}" for number in range(options.tenants)))
            making(environment(**db.environment), options.tenants, options.makes, options.base)
        placing(server, options.makes)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
