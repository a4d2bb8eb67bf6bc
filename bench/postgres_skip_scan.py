"""Full scan or skip scan: what reading the tenant ids of a large registry costs either way.

    python bench/postgres_skip_scan.py [--rows 300000] [--tenants 1000] [--rounds 7]

Both queries run by turns on one connection, so that only their ratio matters and not the machine.
Exits with 1 if they give different ids, or if the plugin would choose the slower one although it
takes twice as long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import psycopg

from influxops.plugin import RunContext
from influxops_devserver.postgres import embedded_postgres
from influxops_postgres import PostgresSettings
from influxops_postgres.source.registry import AFTER, ids_query, look_up
from influxops_postgres.source.transaction import reading


def fill(conninfo: str, rows: int, tenants: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE device_registry (device_id text PRIMARY KEY, tenant_id text, model text)"
        )
        connection.execute(
            "INSERT INTO device_registry SELECT 'device-' || n,"
            " 'tenant-' || (n * 7919::bigint %% %s), 'sensor, second generation'"
            " FROM generate_series(1, %s) AS n",
            (tenants, rows),
        )
        connection.execute("CREATE INDEX ON device_registry (tenant_id)")
        connection.execute("VACUUM ANALYZE device_registry")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with embedded_postgres(options={"autovacuum": "off"}) as server:
        fill(server.conninfo(), arguments.rows, arguments.tenants)
        settings = PostgresSettings.parse(
            {"dsn": f"host={server.work_dir} port={server.port}", "statement_timeout": 0}
        )
        seconds: dict[bool, list[float]] = {False: [], True: []}
        ids: dict[bool, set[str | None]] = {}
        with reading(settings, RunContext()) as session:
            chosen = look_up(session).skipping_pays
            for _ in range(arguments.rounds):
                for skip in (False, True):
                    started = time.perf_counter()
                    found = session.texts(ids_query(settings, skip=skip), AFTER)
                    ids[skip] = {row[0] for row in found.rows}
                    seconds[skip].append(time.perf_counter() - started)
    full, skip_scan = (statistics.median(seconds[skip]) for skip in (False, True))
    print(
        f"{arguments.rows:,} rows, {len(ids[True]):,} tenants: full scan {1000 * full:.1f} ms, "
        f"skip scan {1000 * skip_scan:.1f} ms, ratio {full / skip_scan:.1f}; "
        f"the plugin chooses the {'skip' if chosen else 'full'} scan"
    )
    if ids[False] != ids[True]:
        print("the two give different ids", file=sys.stderr)
        return 1
    if (skip_scan if chosen else full) > 2 * (full if chosen else skip_scan):
        print("the plugin chooses the slower one", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
