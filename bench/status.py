"""What `influxops status` costs beside the bare queries, with the same number in flight, in turns.

    python bench/status.py [--tenants 1000] [--runs 5] [--json]

Each tenant has a row of telemetry. The bare contender reads the tenants and the inventory, then
asks each database how many rows it has and when the last was written, by psycopg and urllib3
(`bench/bare.py count`). PostgreSQL is real, the server is a stand-in.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import urllib3

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.ratios import ROOT, environment, in_turns, program, row, seconds
from influxops_devserver.testing import running_stand_in
from tests.pg import new_database, postgres_server


def fill(url: str, tenants: int) -> None:
    """Create the databases of tenants, each with its marker and a row of telemetry."""
    pool, now = urllib3.PoolManager(maxsize=1), time.time_ns()
    for number in range(tenants):
        lines = (
            f"_init,source=provisioning,tenant=t{number} value=1i,initialized=1i {now}\n"
            f"telemetry,device=a v={number} {now}"
        )
        last = "" if number == tenants - 1 else "&no_sync=true"
        path = f"{url}/api/v3/write_lp?db=telemetry_t{number}{last}"
        assert pool.request("POST", path, body=lines).status == 204


def measure(tenants: int, runs: int) -> dict[str, float]:
    """Return the median seconds of both."""
    with (
        postgres_server() as server,
        new_database(server) as db,
        running_stand_in(max_databases=None, max_tables=None) as stand_in,
    ):
        db.registry(*(f"t{number}" for number in range(tenants)))
        fill(stand_in.url, tenants)
        env = environment(**db.environment, INFLUXDB_URL=stand_in.url)
        bare = [sys.executable, str(ROOT / "bench/bare.py"), "count"]
        return in_turns(
            {
                "ours": lambda: seconds([*program(), "status"], env),
                "bare": lambda: seconds(bare, env),
            },
            runs,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took = measure(options.tenants, options.runs)
    if options.json:
        figures = {"tenants": options.tenants, **took, "ratio": took["ours"] / took["bare"]}
        print(json.dumps(figures))
        return
    what = f"status of {options.tenants:,} with telemetry / bare"
    row(what, took["ours"], took["bare"], "at most 1.2")


if __name__ == "__main__":
    main()
