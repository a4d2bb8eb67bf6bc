"""Adopting and retiring, with the real command line, a real PostgreSQL and stand-ins."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = [pytest.mark.stand_in, pytest.mark.installed("ledger install")]

LEDGER = '[ledger]\nkind = "postgres"\n'
TENANTS = ("acme", "beta", *(f"t{number}" for number in range(10)))


@pytest.fixture
def server(stand_in: GiveStandIn) -> Influx:
    return stand_in(max_databases=None)


@pytest.fixture
def kept(cli: Cli, db: TestDatabase, server: Influx) -> Cli:
    """Give the command line, with tenants whose databases are recorded."""
    db.registry(*TENANTS)
    cli.config(targets_toml({"eu1": server}, LEDGER))
    assert cli("ensure").code == 0
    return cli


def telemetry(server: Influx, database: str, age: timedelta) -> None:
    at = int((datetime.now(UTC) - age).timestamp() * 10**9)
    server.write(database, f"telemetry,device=d1 temperature=21.5 {at}")


def gone_from_the_registry(db: TestDatabase, tenant: str) -> None:
    with psycopg.connect(db.conninfo) as connection:
        connection.execute("DELETE FROM device_registry WHERE tenant_id = %s", [tenant])


def make_due(db: TestDatabase) -> None:
    db.execute("UPDATE influxops.tenants SET drop_after = now() WHERE state = 'retiring'")


def story(cli: Cli, tenant: str) -> list[str]:
    """Give the events of a tenant's history."""
    return [line.split()[2] for line in cli("history", tenant).lines]


def test_a_database_of_any_name_becomes_a_tenants(kept: Cli, server: Influx) -> None:
    server.create("factory7", retention_period="90d")
    telemetry(server, "factory7", timedelta(days=3))
    plan = kept("adopt", "acme=factory7", "--dry-run")
    assert "PLAN adopt and add marker to factory7 on eu1" in plan.out
    assert "influxops adopt acme=factory7 makes these changes" in plan.out
    assert story(kept, "acme") == ["created"]

    done = kept("adopt", "acme=factory7")
    assert done.code == 0
    assert "OK factory7: adopted, marker added" in done.out
    assert "telemetry_acme on eu1 belongs to no tenant" in done.out
    assert server.markers("factory7") == 1
    assert server.retention("factory7") == 90 * 86400
    assert kept("where", "acme", "--format", "json").json["database"] == "factory7"
    assert kept("ensure").fine >= {"factory7"}
    assert story(kept, "acme") == ["created", "adopted", "completed"]


@pytest.mark.parametrize(
    ("pair", "code", "said"),
    [
        ("acme=factory8", 1, "did you mean factory7?"),
        ("amce=factory7", 2, "did you mean acme?"),
        ("acme=telemetry_beta", 1, "is recorded for tenant 'beta'"),
        ("acme=", 2, "is no TENANT or TENANT=DATABASE"),
    ],
)
def test_what_cannot_be_adopted_is_told(
    kept: Cli, server: Influx, pair: str, code: int, said: str
) -> None:
    server.create("factory7")
    done = kept("adopt", pair)
    assert done.code == code
    assert said in done.all
    assert "Traceback" not in done.all


@pytest.mark.parametrize("measurements", [["m"], ["cpu", "mem"]], ids=["one", "two"])
def test_a_tenant_that_is_written_to_in_any_measurement_is_not_dropped(
    kept: Cli, db: TestDatabase, server: Influx, measurements: list[str]
) -> None:
    def written(age: timedelta) -> None:
        at = int((datetime.now(UTC) - age).timestamp() * 10**9)
        for number, name in enumerate(measurements):
            server.write("telemetry_acme", f"{name},host=h value=1 {at + number * 10**9}")

    gone_from_the_registry(db, "acme")
    written(timedelta(days=2))
    assert kept("retire", "acme", "--after", "1s").code == 0
    written(timedelta(hours=1))
    make_due(db)
    refused = kept("retire", "--due")
    assert refused.code == 4
    assert f"UTC in {measurements[-1]}" in refused.out
    assert "telemetry_acme" in server.databases()
    assert kept("unretire", "acme").code == 0
    assert kept("retire", "acme").code == 4
    assert kept("retire", "acme", "--allow", "recent-telemetry").code == 0


def test_the_configuration_says_which_measurements_are_telemetry(
    kept: Cli, db: TestDatabase, server: Influx
) -> None:
    kept.config(targets_toml({"eu1": server}, LEDGER) + 'telemetry = ["telemetry", "cpu"]\n')
    gone_from_the_registry(db, "acme")
    gone_from_the_registry(db, "beta")
    server.write("telemetry_acme", "health,host=h value=1")
    server.write("telemetry_beta", "cpu,host=h value=1")
    assert kept("retire", "acme").code == 0
    assert kept("retire", "beta").code == 4
    assert 'telemetry", "cpu"' in kept("config").out.replace("'", '"')


def test_a_tenant_is_retired_and_its_database_dropped_when_it_is_due(
    kept: Cli, db: TestDatabase, server: Influx
) -> None:
    refused = kept("retire", "acme")
    assert refused.code == 4
    assert "--allow still-registered" in refused.out
    gone_from_the_registry(db, "acme")
    telemetry(server, "telemetry_acme", timedelta(hours=1))
    refused = kept("retire", "acme")
    assert refused.code == 4
    assert "--allow recent-telemetry" in refused.out

    done = kept("retire", "acme", "--after", "3d", "--allow", "recent-telemetry")
    assert done.code == 0
    assert "OK telemetry_acme: retiring (data until " in done.out
    early = kept("retire", "--due")
    assert (early.code, "nothing is due; 1 tenant is retiring" in early.out) == (0, True)
    assert "it is retiring" in kept("where", "acme").err
    assert "telemetry_acme" in server.databases()

    make_due(db)
    assert kept("retire", "--due").code == 4  # there was telemetry recently
    assert "telemetry_acme" in server.databases()
    dropped = kept("retire", "--due", "--allow", "recent-telemetry", "--format", "json").json
    assert "telemetry_acme" not in server.databases()
    (outcome,) = dropped["outcomes"]
    (row,) = server.rows(
        "_internal",
        "SELECT hard_deletion_time FROM system.databases WHERE deleted "
        "AND database_name LIKE 'telemetry_acme-%' ORDER BY database_name DESC LIMIT 1",
    )
    assert outcome["until"].rstrip("Z") == row["hard_deletion_time"].rstrip("Z")
    assert story(kept, "acme") == ["created", "retiring", "dropped"]
    assert kept("ensure").code == 0
    assert kept("unretire", "acme").code == 1


def test_what_is_due_is_tested_again_and_who_is_back_is_kept(
    kept: Cli, db: TestDatabase, server: Influx
) -> None:
    gone_from_the_registry(db, "acme")
    assert kept("retire", "acme").code == 0
    make_due(db)
    db.execute("ALTER TABLE device_registry RENAME TO elsewhere")
    postponed = kept("retire", "--due")
    assert postponed.code == 1
    assert "postponed: not every source could be read" in postponed.out
    db.execute("ALTER TABLE elsewhere RENAME TO device_registry")
    db.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
    back = kept("retire", "--due")
    assert back.code == 0
    assert "OK telemetry_acme: unretired" in back.out
    assert "a source has it again, so it is kept" in back.out
    assert "telemetry_acme" in server.databases()
    assert story(kept, "acme") == ["created", "retiring", "unretired"]


def test_two_runs_at_once_drop_what_is_due_once(
    kept: Cli, db: TestDatabase, server: Influx
) -> None:
    gone_from_the_registry(db, "acme")
    gone_from_the_registry(db, "beta")
    assert kept("retire", "acme", "beta").code == 0
    make_due(db)
    with kept.running("retire", "--due") as one, kept.running("retire", "--due") as other:
        codes = {one.wait(60), other.wait(60)}
    assert codes <= {0, 1}
    assert kept("retire", "--due").code == 0
    assert not {"telemetry_acme", "telemetry_beta"} & {*server.databases()}
    assert story(kept, "acme").count("dropped") == 1


def test_a_late_writer_is_found_and_named_and_what_it_made_retired_again(
    kept: Cli, db: TestDatabase, server: Influx
) -> None:
    gone_from_the_registry(db, "acme")
    assert kept("retire", "acme").code == 0
    make_due(db)
    assert kept("retire", "--due").code == 0
    telemetry(server, "telemetry_acme", timedelta(days=2))
    plan = kept("plan")
    assert "is on eu1 again: a late write probably created it" in plan.out
    assert "influxops retire acme" in plan.out
    assert kept("retire", "acme").code == 0


def test_without_a_ledger_the_commands_say_what_to_do(
    cli: Cli, db: TestDatabase, server: Influx
) -> None:
    db.registry("acme")
    cli.config(targets_toml({"eu1": server}))
    for command in (
        ("adopt", "acme=x"),
        ("retire", "acme"),
        ("retire", "--due"),
        ("unretire", "a"),
    ):
        done = cli(*command)
        assert done.code == 2
        assert "no ledger is configured" in done.err
        assert "influxops ledger install" in done.err


def test_the_journal_and_the_metrics_tell_of_it(
    kept: Cli, db: TestDatabase, server: Influx
) -> None:
    journal, metrics = kept.folder / "changes.jsonl", kept.folder / "influxops.prom"
    kept.config(
        targets_toml(
            {"eu1": server},
            f'{LEDGER}[reporters.audit]\nkind = "journal"\npath = "{journal}"\n'
            f'[reporters.metrics]\nkind = "prometheus"\npath = "{metrics}"\n',
        )
    )
    kept("ensure")
    gone_from_the_registry(db, "acme")
    kept("retire", "acme")
    make_due(db)
    kept("retire", "--due")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [(line["action"], bool(line["until"])) for line in lines] == [
        ("retire", True),
        ("drop", True),
    ]
    text = metrics.read_text()
    assert re.search(r'^influxops_changes_total{action="retire",.*} 1\.0$', text, re.MULTILINE)
    # What the last run over all tenants found stays.
    assert re.search(rf'^influxops_tenants{{.*state="ok"}} {len(TENANTS)}\.0$', text, re.MULTILINE)
