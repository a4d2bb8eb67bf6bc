"""What influxops costs beside the bare work, as ratios, measured in turns in one run.

    python bench/ratios.py [--runs 15] [--makes 5] [--tenants 1000] [--base PYTHON]

Three ratios: a run with nothing missing beside a script that does the same three requests
(at most 1.5); `--version` and `--help` beside a bare start of Python, and beside those of another
checkout whose interpreter `--base` names (no slower); making databases, its start-up subtracted,
beside the same requests sent bare (at most 1.2). PostgreSQL is real, the server a stand-in with a
write-ahead log that is flushed each second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BARE = [sys.executable, str(ROOT / "bench/bare.py")]
#: Seconds that one command may take.
_STUCK = 120

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


def looking(env: Mapping[str, str], runs: int) -> None:
    """Measure a run with nothing missing."""
    seconds([*program(), "ensure"], env)  # makes what is missing, once
    took = in_turns(
        {
            "ours": lambda: seconds([*program(), "ensure"], env),
            "bare": lambda: seconds([*_BARE, "look"], env),
        },
        runs,
    )
    row("ensure, nothing missing / bare script", took["ours"], took["bare"], "at most 1.5")


def making(env: Mapping[str, str], tenants: int, runs: int) -> None:
    """Measure the making of databases on servers that are fresh each time."""
    from influxops_devserver.testing import running_stand_in

    def on_fresh_server(work: Callable[[dict[str, str]], float]) -> float:
        with running_stand_in(max_databases=None, max_tables=None) as stand_in:
            return work({**env, "INFLUXDB_URL": stand_in.url})

    def ours(there: dict[str, str]) -> float:
        # The start-up is taken at once and there, so that a busy moment meets both.
        whole = seconds([*program(), "ensure"], there)
        return whole - seconds([*program(), "ensure"], there)

    def bare(there: dict[str, str]) -> float:
        command = [*_BARE, "make"]
        return float(
            subprocess.run(
                command, env=there, check=True, capture_output=True, timeout=_STUCK
            ).stdout
        )

    took = in_turns(
        {"ours": lambda: on_fresh_server(ours), "bare": lambda: on_fresh_server(bare)}, runs
    )
    what = f"ensure, {tenants:,} missing, less the start-up / bare"
    row(what, took["ours"], took["bare"], "at most 1.2")
    print("  (the start-up is that of a second run, which finds nothing missing)")


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
            looking(env, options.runs)
        starts(environment(), options.runs, options.base)
        with new_database(server) as db:
            db.registry(*(f"tenant{number}" for number in range(options.tenants)))
            making(environment(**db.environment), options.tenants, options.makes)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
