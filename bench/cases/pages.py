"""How long pages of the console and answers of the service take, with many tenants."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from bench.place import ContenderFailed, Place, Taken, inside
from bench.values import column
from tests.web.conftest import Web, platform

TITLE = "a page, an answer; tenants"
BARE = "GET /healthz"


def fill(web: Web, tenants: int) -> None:
    """Make tenants with a history, one in ten of them without a database."""
    web.db.execute(
        "INSERT INTO tenants (tenant_id, name) "
        f"SELECT 't' || n, 'Tenant ' || n FROM generate_series(1, {tenants}) n",
        "INSERT INTO influxops.tenants (namespace, tenant, state, database, target, error) "
        "SELECT 'default', tenant_id, CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'ready' END, "
        "'telemetry_' || tenant_id, CASE WHEN n % 10 > 0 THEN 'eu1' END, "
        "CASE WHEN n % 10 = 0 THEN 'no server has a place' ELSE '' END "
        "FROM (SELECT tenant_id, row_number() OVER (ORDER BY tenant_id) AS n FROM tenants "
        "WHERE tenant_id LIKE 't%') AS t",
        "INSERT INTO influxops.history (namespace, run, who, event, tenant, target, database) "
        "SELECT 'default', 'run-' || n / 500, 'ops@host', 'created', tenant, target, database "
        "FROM (SELECT *, row_number() OVER (ORDER BY tenant) AS n FROM influxops.tenants) AS t "
        "ORDER BY n",
        "ANALYZE",
    )


def ask(web: Web, path: str, told: str) -> Taken:
    """Ask for a page, which has to tell something."""
    html = "text/html" if not path.startswith(("/operator", "/healthz")) else "application/json"
    answers = []
    found = inside(lambda: answers.append(web.ask("GET", path, headers={"Accept": html})))
    if answers[0].status != 200 or told not in answers[0].data.decode():
        raise ContenderFailed(f"{path} is {answers[0].status} and does not tell {told!r}")
    return found


def run(place: Place, tenants: int) -> None:
    """Ask for each in turns."""
    with (
        place.servers() as (influx,),
        tempfile.TemporaryDirectory() as folder,
        platform(Path(folder), place.postgres, influx, "[web]\ntimeout = 1\n") as web,
    ):
        fill(web, tenants)
        pages = {
            "tenants, first page": ("/", f"{tenants:,} tenants, page 1 of"),
            "tenants, last page": (f"/?page={-(-tenants // 50)}", f"{tenants:,} tenants, page"),
            "tenants, a search": ("/?q=t17", "t17"),
            "one tenant": ("/tenant?id=t17", "t17"),
            "fleet": ("/fleet", "eu1"),
            "runs": ("/runs", "run-"),
            "GET tenants": ("/operator/tenants", "t1"),
            "GET one tenant": ("/operator/tenants/t17", "t17"),
            "GET fleet": ("/operator/fleet", "eu1"),
        }
        measures = {BARE: partial(ask, web, "/healthz", "")}
        measures |= {name: partial(ask, web, path, told) for name, (path, told) in pages.items()}
        place.in_turns(TITLE, column(tenants), measures, 3 * place.sizes.rounds, BARE)
