"""How long the service and its console take for each page, with few tenants and with many.

    python bench/pages.py [--tenants 10000,100000] [--runs 5] [--json]

Each tenant is registered, has a device, a database on a stand-in, a record in the ledger and an
entry in its history. A page is asked by HTTP, over one connection; what the service has read of
the servers is 5 s old at most, so that a page now and then waits until all databases are listed:
the first column is of such a page.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import LiteralString

import psycopg
import urllib3

sys.path.insert(0, str(Path(__file__).parents[1]))

from influxops_devserver.postgres import EmbeddedPostgres
from influxops_devserver.testing import running_stand_in
from tests.integration.servers import Influx
from tests.pg import postgres_server
from tests.web.conftest import Web, platform

#: Seconds for which the service does not read the servers again.
_FRESH = 5.0
_FILL: tuple[LiteralString, ...] = (
    "INSERT INTO tenants (tenant_id, name) SELECT 't' || n, 'Tenant ' || n "
    "FROM generate_series(1, %(number)s) AS n",
    "INSERT INTO device_registry (device_id, tenant_id) SELECT 'd' || n, 't' || n "
    "FROM generate_series(1, %(number)s) AS n",
    "CREATE INDEX ON device_registry (tenant_id)",
    "INSERT INTO influxops.tenants (namespace, tenant, state, database, target, identity, "
    "created_at, created_by, last_seen_at) SELECT 'default', 't' || n, 'ready', 'telemetry_t' || n,"
    " 'eu1', %(identity)s, now(), 'run', now() FROM generate_series(1, %(number)s) AS n",
    "INSERT INTO influxops.servers (namespace, target, identity, read, unrecorded) "
    "VALUES ('default', 'eu1', %(identity)s, now(), 0) ON CONFLICT DO NOTHING",
    "INSERT INTO influxops.history (namespace, run, event, tenant, target, database) "
    "SELECT 'default', 'run' || n / 20, 'created', 't' || n, 'eu1', 'telemetry_t' || n "
    "FROM generate_series(1, %(number)s) AS n",
    "INSERT INTO operator_audit_log (method, path, tenant, status) "
    "SELECT 'POST', '/operator/tenants', 't' || n, 201 FROM generate_series(1, %(number)s) AS n",
    "VACUUM ANALYZE",
)


def pages(tenants: int) -> dict[str, str]:
    """Return what is asked, by what it is."""
    last = -(-tenants // 50)
    return {
        "tenants": "/",
        "tenants, last page": f"/?page={last}",
        "tenants, searched": "/?q=t77",
        "tenants, by state": "/?state=ready",
        "tenants, by since": "/?sort=-since",
        "one tenant": "/tenant?id=t77",
        "fleet": "/fleet",
        "due": "/due",
        "runs": "/runs",
        "one run": "/run?id=run1",
        "audit": "/audit",
        "api: tenants": "/operator/tenants",
        "api: tenants, last page": f"/operator/tenants?page={last}",
        "api: tenants, searched": "/operator/tenants?search=t77",
        "api: one tenant": "/operator/tenants/t77",
        "api: its stats": "/operator/tenants/t77/stats",
        "api: fleet": "/operator/fleet",
        "readyz": "/readyz",
        "metrics": "/metrics",
    }


def fill(url: str, conninfo: str, tenants: int) -> None:
    """Create the databases of tenants, and all that is recorded of them."""
    pool, now = urllib3.PoolManager(maxsize=1), time.time_ns()
    for number in range(1, tenants + 1):
        line = f"_init,source=provisioning,tenant=t{number} value=1i,initialized=1i {now}"
        last = "" if number == tenants else "&no_sync=true"
        path = f"{url}/api/v3/write_lp?db=telemetry_t{number}{last}"
        answer = pool.request("POST", path, body=line)
        assert answer.status == 204, answer.data
    fill_tables(conninfo, tenants, answer.headers["cluster-uuid"])


def fill_tables(conninfo: str, tenants: int, identity: str) -> None:
    """Record tenants, as if runs had created their databases on the server of that identity."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in _FILL:
            connection.execute(statement, {"number": tenants, "identity": identity})


@contextlib.contextmanager
def filled(server: EmbeddedPostgres, tenants: int) -> Iterator[Web]:
    """Run a service with so many tenants."""
    with (
        running_stand_in(max_databases=None, max_tables=None) as stand_in,
        tempfile.TemporaryDirectory() as folder,
    ):
        influx = Influx(stand_in.url)
        extra = "[web]\ntimeout = 20.0\n"
        with platform(Path(folder), server, influx, extra) as web:
            fill(stand_in.url, web.db.conninfo, tenants)
            yield web


def measure(web: Web, tenants: int, runs: int) -> dict[str, dict[str, float]]:
    """Return bytes, milliseconds of a first request, and the median of those after it."""
    pool = urllib3.PoolManager(maxsize=1)
    token = {"Authorization": f"Bearer {web.admin}"}

    def ask(path: str) -> tuple[float, int]:
        began = time.perf_counter()
        answer = pool.request("GET", web.url + path, headers=token, redirect=False, timeout=120)
        assert answer.status == 200, (path, answer.status, answer.data[:300])
        return (time.perf_counter() - began) * 1000, len(answer.data)

    found: dict[str, dict[str, float]] = {}
    for what, path in pages(tenants).items():
        time.sleep(_FRESH)
        first, size = ask(path)
        median = statistics.median(ask(path)[0] for _ in range(runs))
        found[what] = {"bytes": size, "first_ms": first, "ms": median}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", default="10000,100000")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    numbers: Sequence[int] = [int(text) for text in options.tenants.split(",")]
    took: dict[int, dict[str, dict[str, float]]] = {}
    with postgres_server() as server:
        for number in numbers:
            with filled(server, number) as web:
                took[number] = measure(web, number, options.runs)
    if options.json:
        print(json.dumps(took))
        return
    print(f"{'':26}" + "".join(f"{number:>12,} tenants{'':14}" for number in numbers))
    for what in took[numbers[0]]:
        cells = [took[number][what] for number in numbers]
        line = "".join(
            f"{c['bytes']:9.0f} B {c['first_ms']:8.0f} {c['ms']:8.1f} ms   " for c in cells
        )
        print(f"{what:26}{line}".rstrip())


if __name__ == "__main__":
    main()
