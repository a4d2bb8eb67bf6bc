"""A tenant's data as files and back, with the real command line, PostgreSQL and stand-ins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.integration.test_moving import LEDGER, fill, story
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in

DATABASE = "telemetry_acme"


@pytest.fixture
def servers(stand_in: GiveStandIn) -> dict[str, Influx]:
    return {name: stand_in(max_databases=None) for name in ("eu1", "eu2")}


@pytest.fixture
def ops(cli: Cli, db: TestDatabase, servers: dict[str, Influx]) -> Cli:
    """Give the command line, with two recorded tenants on the first of two servers."""
    db.registry("acme", "beta")
    cli.config(targets_toml(dict(servers), LEDGER))
    assert cli("ledger", "install").code == 0
    assert cli("ensure").code == 0
    return cli


def contents(server: Influx, database: str = DATABASE) -> dict[str, list[Any]]:
    """Give the series key and all rows of each table but the marker's."""
    tables = server.rows(
        "_internal",
        "SELECT table_name, series_key_columns FROM system.tables WHERE deleted = false "
        f"AND database_name = '{database}' AND table_name <> '_init'",
    )
    found = {}
    for table in tables:
        name = table["table_name"]
        rows = server.rows(database, f'SELECT * FROM "{name}"')
        key = table["series_key_columns"]
        found[name] = [key, *sorted(rows, key=lambda row: sorted(map(str, row.items())))]
    return found


def drop(server: Influx, database: str = DATABASE) -> None:
    answer = server.request("DELETE", f"/api/v3/configure/database?db={database}")
    assert answer.status == 200, answer.data


def test_a_lost_tenant_comes_back_from_its_export_on_another_server(
    ops: Cli, servers: dict[str, Influx]
) -> None:
    fill(servers["eu1"], DATABASE, 3_000)
    before = contents(servers["eu1"])
    done = ops("export", "acme", "--output", "out")
    assert done.code == 0, done.all
    assert "OK telemetry_acme: exported" in done.out
    drop(servers["eu1"])
    assert "lost" in ops("status").all
    done = ops("import", "out", "--to", "eu2")
    assert done.code == 0, done.all
    assert contents(servers["eu2"]) == before
    done = ops("ensure")
    assert done.code == 0, done.all
    assert story(ops, "acme") == ["created", "exported", "created", "imported"]
