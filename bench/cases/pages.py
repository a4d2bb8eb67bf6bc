"""How long the service and its console take for each page, with many tenants."""

from __future__ import annotations

import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import LiteralString

import psycopg
import urllib3

from bench.place import ContenderFailed, Place, Taken, inside
from bench.values import column
from tests.integration.servers import Influx
from tests.web.conftest import Web, platform

TITLE = "a page, an answer; tenants"
BARE = "api: /healthz"
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
    last, one = -(-tenants // 50), f"t{min(77, tenants - 1)}"
    return {
        BARE: "/healthz",
        "tenants": "/",
        "tenants, last page": f"/?page={last}",
        "tenants, searched": f"/?q={one}",
        "tenants, by state": "/?state=ready",
        "tenants, by since": "/?sort=-since",
        "one tenant": f"/tenant?id={one}",
        "fleet": "/fleet",
        "due": "/due",
        "runs": "/runs",
        "one run": "/run?id=run0",
        "audit": "/audit",
        "api: tenants": "/operator/tenants",
        "api: tenants, last page": f"/operator/tenants?page={last}",
        "api: tenants, searched": f"/operator/tenants?search={one}",
        "api: one tenant": f"/operator/tenants/{one}",
        "api: its stats": f"/operator/tenants/{one}/stats",
        "api: fleet": "/operator/fleet",
        "api: /readyz": "/readyz",
        "api: /metrics": "/metrics",
    }


def fill_tables(conninfo: str, tenants: int, identity: str) -> None:
    """Record tenants, as if runs had created their databases on the server of that identity."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in _FILL:
            connection.execute(statement, {"number": tenants, "identity": identity})


def ask(web: Web, pool: urllib3.PoolManager, path: str) -> Taken:
    """Ask for a page, over the connection that is there."""
    token = {"Authorization": f"Bearer {web.admin}"}

    def get() -> None:
        answer = pool.request("GET", web.url + path, headers=token, redirect=False, timeout=120)
        if answer.status != 200:
            raise ContenderFailed(f"{path} is {answer.status}: {answer.data[:300]!r}")

    return inside(get)


def measure(place: Place, influx: Influx, tenants: int) -> None:
    """Ask for each page in turns, at a server that has the databases of all these tenants.

    What the service has read of the servers is some seconds old at most, so that a page now and
    then waits until all databases are listed: that is measured by itself.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        extra = "[web]\ntimeout = 20.0\n"
        web = stack.enter_context(platform(folder, place.postgres, influx, extra))
        identity = influx.request("GET", "/ping").headers["cluster-uuid"]
        fill_tables(web.db.conninfo, tenants, identity)
        pool = urllib3.PoolManager(maxsize=1)
        head, asked = column(tenants), pages(tenants)
        measures = {name: partial(ask, web, pool, path) for name, path in asked.items()}
        place.in_turns(TITLE, head, measures, 2 * place.sizes.rounds, BARE)
        time.sleep(_FRESH)
        place.figure(TITLE, "tenants, servers read", head, [ask(web, pool, "/")], BARE)
