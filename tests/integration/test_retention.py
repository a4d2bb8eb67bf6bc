"""Retention periods: managed where somebody asked, never shortened without being allowed."""

from __future__ import annotations

from tests.conftest import StartProxy
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

DAY = 86_400


def _keep(cli: Cli, period: str) -> None:
    cli.config(f'[database]\nretention = "{period}"\n')


def test_a_new_database_gets_its_retention_period_and_its_marker(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    _keep(ops, "30d")
    assert ops("ensure").code == 0
    assert influx.retention("telemetry_acme") == 30 * DAY
    assert influx.markers("telemetry_acme") == 1
    assert ops("plan", "--detailed-exitcode").code == 0


def test_a_longer_period_is_set_and_a_shorter_one_wants_to_be_allowed(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme")
    influx.create("telemetry_acme", retention_period="30d")
    _keep(ops, "60d")
    assert ops("ensure").code == 0
    assert influx.retention("telemetry_acme") == 60 * DAY
    _keep(ops, "7d")
    refused = ops("ensure")
    assert refused.code == 4
    assert "--allow shorter-retention" in refused.out
    assert influx.retention("telemetry_acme") == 60 * DAY
    assert ops("ensure", "--allow", "shorter-retention").code == 0
    assert influx.retention("telemetry_acme") == 7 * DAY


def test_a_refusal_for_one_tenant_keeps_nobody_else_waiting(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "beta")
    influx.create("telemetry_acme")  # keeps for ever, and any period is shorter than that
    _keep(ops, "30d")
    done = ops("ensure")
    assert done.code == 4
    assert influx.retention("telemetry_acme") is None
    assert influx.markers("telemetry_acme") == 1
    assert influx.retention("telemetry_beta") == 30 * DAY


def test_none_clears_a_period(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("acme")
    influx.create("telemetry_acme", retention_period="30d")
    _keep(ops, "none")
    assert ops("ensure").code == 0
    assert influx.retention("telemetry_acme") is None


def test_what_nobody_manages_is_left_alone(
    ops: Cli, db: TestDatabase, influx: Influx, proxied: StartProxy
) -> None:
    db.registry("acme")
    influx.create("telemetry_acme", retention_period="30d")
    influx.write("telemetry_acme", "_init,source=provisioning,tenant=acme value=1i")
    proxy = proxied(influx)
    assert ops("ensure", env={"INFLUXDB_URL": proxy.url}).code == 0
    assert influx.retention("telemetry_acme") == 30 * DAY
    assert proxy.writes == []


def test_a_database_without_its_marker_gets_it(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry("acme")
    influx.create("telemetry_acme")
    assert "PLAN add marker to telemetry_acme on default" in ops("plan").lines
    assert ops("ensure").code == 0
    assert influx.markers("telemetry_acme") == 1


def test_a_period_that_keeps_nothing_is_reported_wherever_one_looks(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    # The server takes it, and telemetry is lost as it is written: versions 1 and 2 kept for ever.
    db.registry("acme")
    influx.create("telemetry_acme", retention_period="0s")
    ops.config('[reporters.node]\nkind = "prometheus"\npath = "influxops.prom"\n')
    why = "retention period keeps nothing: what is written to it is lost at once"
    for command in (("plan",), ("ensure",), ("ensure", "--verify"), ("ensure", "acme")):
        assert why in " ".join(ops(*command).all.split()), command
    (row,) = ops("status", "--format", "json").json["tenants"]
    assert why in row["message"]
    assert "the retention period of telemetry_acme keeps nothing" in " ".join(
        ops("doctor").all.split()
    )
    metrics = (ops.folder / "influxops.prom").read_text()
    assert 'kind="invalid-retention",severity="warning"} 1.0' in metrics
    _keep(ops, "30d")
    assert why not in " ".join(ops("ensure").all.split())
    assert influx.retention("telemetry_acme") == 30 * DAY


def test_a_period_that_is_set_by_hand_is_held_to_the_servers_limits(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("short", "long", "good")
    influx.create("telemetry_short", retention_period="30m")
    influx.create("telemetry_long", retention_period="106752d")
    influx.create("telemetry_good", retention_period="1h")
    said = " ".join(ops("plan").all.split())
    assert "of 30m is shorter than 1h" in said
    assert "of 106752d is longer than 106751d" in said
    assert "good'" not in said
