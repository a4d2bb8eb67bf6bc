"""A database that is gone, and that a client's write has created again, in real plays."""

from __future__ import annotations

from typing import Any

import urllib3

from influxops_devserver.testing import StandIn
from tests.ansible.conftest import Stage, databases, write
from tests.ansible.test_retiring import command, entry, state, wanted
from tests.pg import TestDatabase

__all__ = ["wanted"]


def recreate(server: StandIn) -> None:
    """Drop the tenant's database past influxops, and write to it as a client does."""
    url = f"{server.url}/api/v3/configure/database?db=telemetry_acme"
    assert urllib3.request("DELETE", url).status == 200
    write(server, "telemetry_acme", "telemetry,device=d1 temperature=21.5")


def test_a_task_fails_until_somebody_decides(
    stage: Stage, server: StandIn, registry: TestDatabase, wanted: dict[str, Any]
) -> None:
    assert stage.ensure(**wanted)["changed"]
    recreate(server)
    played = stage.tasks(
        {"influx_tenant_db": wanted, "check_mode": True},
        {"influx_tenant_db": wanted},
        {"influx_tenant_db": {**wanted, "allow": ["recreate-lost"]}},
        {"influx_tenant_db_info": {n: v for n, v in wanted.items() if n != "state"}},
    )
    checked, failed, half, looked = played.results
    for result in (checked, failed):
        assert (result["failed"], result["changed"]) == (True, False)
        assert "a client has created another one of that name" in result["msg"]
        assert "it holds 1 row in telemetry" in result["msg"]
        assert "`influxops adopt acme`" in result["msg"]
    assert (half["failed"], half["changed"]) == (True, False)
    assert "`allow: [drop]`" in half["msg"]
    assert looked["databases"][0]["exists"] is False
    assert "a client has created" in looked["databases"][0]["message"]
    assert state(registry)[0] == "lost"

    registry.registry("acme")
    command(stage, registry, "adopt", "acme")
    recreate(server)
    played = stage.tasks(
        {"influx_tenant_db": wanted},
        {"influx_tenant_db": {**wanted, "allow": ["recreate-lost", "drop"]}},
        {"influx_tenant_db": wanted},
    )
    lost, done, again = played.results
    assert lost["failed"]
    assert (done["changed"], entry(done)["action"]) == (True, "drop+create")
    assert entry(done)["until"]
    assert (again["changed"], databases(server)) == (False, ["telemetry_acme"])
    assert state(registry)[0] == "ready"
