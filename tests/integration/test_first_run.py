"""The main job, from the environment alone: every tenant of the registry has its database."""

from __future__ import annotations

import time
import uuid

import pytest

from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase


def test_a_tenant_of_the_registry_gets_a_database_with_a_marker(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("enabled", "enabled", "enabled")
    done = ops("ensure")
    assert done.code == 0
    assert "OK telemetry_enabled: created" in done.lines
    (marker,) = influx.rows("telemetry_enabled", "SELECT * FROM _init LIMIT 1")
    assert marker["tenant"] == "enabled"
    assert marker["source"] == "provisioning"
    assert (marker["value"], marker["initialized"]) == (1, 1)


def test_the_second_run_writes_nothing_and_asks_twice_at_most(
    ops: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    # Names that no other test has just dropped: of such a database the marker is read back.
    ids = [f"{prefix}-{uuid.uuid4().hex[:8]}" for prefix in ("acme", "enabled")]
    db.registry(*ids)
    proxy = proxied(influx)
    through = {"INFLUXDB_URL": proxy.url}
    assert ops("ensure", env=through).code == 0
    assert proxy.writes
    proxy.seen.clear()
    again = ops("ensure", env=through)
    assert again.code == 0
    assert f"OK telemetry_{ids[1]}" in again.lines
    assert proxy.writes == []
    assert 1 <= len(proxy.seen) <= 2
    assert influx.markers(f"telemetry_{ids[1]}") == 1


def test_the_exit_code_of_a_plan_tells_whether_something_is_to_do(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("enabled")
    before = ops("plan", "--detailed-exitcode")
    assert before.code == 3
    assert "PLAN create telemetry_enabled on default" in before.lines
    assert ops("plan").code == 0
    assert influx.databases() == []
    assert ops("ensure").code == 0
    after = ops("plan", "--detailed-exitcode")
    assert (after.code, after.lines[0]) == (0, "OK telemetry_enabled")


def test_a_dry_run_is_the_plan(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("enabled")
    dry = ops("ensure", "--dry-run")
    assert dry.code == 0
    assert dry.lines[0] == "PLAN create telemetry_enabled on default"
    assert influx.databases() == []


def test_a_run_starts_by_saying_what_it_works_on(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("enabled")
    head = ops("ensure").err
    where = f"iot@127.0.0.1:{db.server.port}/{db.name}"
    assert where in head
    assert influx.url in head
    document = ops("ensure", "--format", "json").json
    assert where in document["sources"][0]["location"]
    target = document["targets"][0]
    assert (target["url"], target["edition"]) == (influx.url, "Core")
    assert target["version"] and target["cluster_uuid"]
    assert target["cluster_uuid"] in head


def test_seven_tenants_and_five_places_are_five_databases_and_two_names(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry(*(f"t{number}" for number in range(1, 8)))
    plan = ops("plan")
    assert plan.code == 0  # an estimate, which the server may disprove
    assert "WARN target default: 7 to create, ~5 slots free (estimated capacity 5)" in plan.out
    done = ops("ensure")
    assert done.code == 1
    # Tenants within the estimated capacity are created, although two writes are in flight.
    assert influx.databases() == [f"telemetry_t{number}" for number in range(1, 6)]
    errors = [line for line in done.lines if line.startswith("ERR")]
    assert [error.split(":")[0] for error in errors] == ["ERR telemetry_t6", "ERR telemetry_t7"]
    again = ops("ensure")
    assert again.code == 1
    assert len(influx.databases()) == 5


@pytest.mark.stand_in
def test_a_thousand_tenants_take_about_a_thousand_requests_and_then_two(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    tenants = [f"tenant-{number:04}" for number in range(1_000)]
    db.registry(*tenants)
    server = stand_in(max_databases=None, wal_flush_interval="1s")
    proxy = proxied(server)
    through = {"INFLUXDB_URL": proxy.url}
    start = time.monotonic()
    done = cli("ensure", env=through)
    assert done.code == 0
    assert time.monotonic() - start < 30
    assert len(proxy.seen) <= 1_010
    assert len(server.databases()) == 1_000
    assert server.markers("telemetry_tenant-0999") == 1
    proxy.seen.clear()
    assert cli("ensure", env=through).code == 0
    assert proxy.writes == []
    assert len(proxy.seen) <= 2
