"""What pages and answers say of the past."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import new_database
from tests.web.conftest import REGISTRY, Web, install, serving, write_config

PAGE = {"Accept": "text/html"}


@pytest.fixture
def in_tokyo(tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx) -> Iterator[Web]:
    """A service whose database has another time zone than UTC."""
    with new_database(postgres) as db:
        db.execute(REGISTRY)
        db.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Asia/Tokyo''', "
            "current_database()); END $$",
            superuser=True,
        )
        cli = Cli(tmp_path, {"DSN": db.conninfo})
        write_config(cli, module_influx.url)
        admin, reader = install(cli)
        with serving(cli, db, module_influx, admin, reader) as web:
            yield web


def test_times_are_in_utc_whatever_the_time_zone_of_the_database(in_tokyo: Web) -> None:
    in_tokyo.db.execute(
        "INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme')",
        "INSERT INTO influxops.tenants (namespace, tenant, state, state_since) "
        "VALUES ('default', 'acme', 'pending', '2026-03-01T10:00:00Z')",
        "INSERT INTO influxops.history (namespace, at, run, who, event, tenant) "
        "VALUES ('default', '2026-03-01T10:00:00Z', 'r1', 'ops@host', 'created', 'acme')",
    )
    tenant = in_tokyo.ask("GET", "/operator/tenants/acme").json()
    assert tenant["influxdb"]["since"] == "2026-03-01T10:00:00Z"
    assert tenant["created_at"].endswith("Z")
    page = in_tokyo.ask("GET", "/tenant?id=acme", headers=PAGE).data.decode()
    assert "2026-03-01 10:00:00" in page


def test_a_run_is_summed_up_by_what_it_did_and_not_by_what_it_tried(web: Web) -> None:
    web.db.execute(
        "INSERT INTO influxops.history (namespace, run, who, event, tenant, outcome) "
        "VALUES ('default', 'tried', 'ops@host', 'created', 'one', 'done'), "
        "('default', 'tried', 'ops@host', 'created', 'two', 'full'), "
        "('default', 'tried', 'ops@host', 'created', 'three', 'full')"
    )
    page = web.ask("GET", "/runs", headers=PAGE).data.decode()
    (row,) = [row for row in page.split("<tr>") if ">tried</a>" in row]
    assert "1 created" in row
    assert "2 not well" in row
