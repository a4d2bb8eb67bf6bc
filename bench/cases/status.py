"""`influxops status` of tenants that have telemetry, beside a query a database."""

from __future__ import annotations

import time
from functools import partial

from bench.cases.tenants import setting
from bench.contenders import bare, cli
from bench.place import Place
from bench.values import BARE, column
from tests.integration.servers import Influx

TITLE = "status with telemetry, beside a query a database"
OURS = "influxops status"


def fill(influx: Influx, tenants: int) -> None:
    """Make all databases, each with its marker and a row of telemetry."""
    now = time.time_ns()
    for number in range(tenants):
        lines = (
            f"_init,source=provisioning,tenant=t{number} value=1i,initialized=1i {now}\n"
            f"telemetry,device=a v={number} {now}"
        )
        last = "" if number == tenants - 1 else "&no_sync=true"
        path = f"/api/v3/write_lp?db=telemetry_t{number}{last}"
        assert influx.request("POST", path, body=lines).status == 204


def run(place: Place, tenants: int) -> None:
    """Measure both in turns."""
    with place.registry(tenants) as db, setting(place, db, tenants, 400) as given:
        fill(given.influx, tenants)
        measures = {BARE: partial(bare, given, "count"), OURS: partial(cli, given, "status")}
        many = place.sizes.few if tenants <= 1_000 else 1
        place.in_turns(TITLE, column(tenants), measures, many, BARE)
