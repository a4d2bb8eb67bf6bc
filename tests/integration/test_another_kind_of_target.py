"""The core knows no InfluxDB: a PostgreSQL schema a tenant, through the real command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest

from tests.integration.command import Cli, Result
from tests.pg import TestDatabase
from tests.plugin_host.test_plugins_from_elsewhere import Install

EXAMPLE = Path(__file__).parents[2] / "examples" / "schemas"
#: What only InfluxDB 3 has, or calls so; and "?", which stands for what cannot be read.
FOREIGN = re.compile(
    r"influx ?db|marker|telemetry(?!_)|retention|cluster|token|\?|\bcore\b", re.IGNORECASE
)
CODE = """
    from influxops_schemas import SchemaTarget as Plugin
"""


@pytest.fixture
def schemas(cli: Cli, db: TestDatabase) -> Cli:
    """Two tenants in the registry, and a target that keeps schemas in the same database."""
    install = Install(cli.folder / "site")
    found = install("acme-schemas", "schemas", CODE)
    db.registry("acme", "globex")
    cli.config(
        '[sources.registry]\nkind = "postgres"\n'
        '[targets.warehouse]\nkind = "schemas"\nconninfo = {env = "WAREHOUSE"}\n'
    )
    path = f"{found['PYTHONPATH']}:{EXAMPLE}"
    return Cli(cli.folder, {**cli.variables, "PYTHONPATH": path, "WAREHOUSE": db.conninfo})


def names(db: TestDatabase) -> list[str]:
    """The tenants' schemas, asked past influxops."""
    with psycopg.connect(db.conninfo) as connection:
        listing = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'telemetry%' ORDER BY 1"
        return [name for (name,) in connection.execute(listing)]


def plain(done: Result) -> Result:
    """Check that nothing speaks of what this kind of target has not."""
    text = done.all.replace("influxops", "")
    found = [line for line in text.splitlines() if FOREIGN.search(line)]
    assert not found, "\n".join(found)
    return done


def test_schemas_are_planned_made_kept_and_told_without_a_word_of_another_server(
    schemas: Cli, db: TestDatabase
) -> None:
    planned = plain(schemas("plan", "--detailed-exitcode"))
    assert planned.code == 3
    assert "telemetry_acme" in planned.out
    assert names(db) == []
    made = plain(schemas("ensure"))
    assert made.code == 0
    assert names(db) == ["telemetry_acme", "telemetry_globex"]
    assert sum(line.startswith("OK telemetry_") for line in made.lines) == 2
    again = plain(schemas("ensure"))
    assert again.code == 0
    assert plain(schemas("plan", "--detailed-exitcode")).code == 0
    status = plain(schemas("status"))
    assert status.code == 0
    assert "telemetry_globex" in status.out
    where = plain(schemas("where", "acme"))
    assert where.code == 0
    assert "warehouse" in where.out
    doctor = plain(schemas("doctor"))
    assert doctor.code == 0


def test_a_terminal_s_width_is_told_without_a_word_of_another_server(schemas: Cli) -> None:
    schemas("ensure")
    for command in (("plan", "-v"), ("status",), ("ensure", "-v")):
        plain(schemas(*command, env={"COLUMNS": "80", "FORCE_COLOR": "1"}))


def test_a_schema_is_made_again_after_it_was_lost(schemas: Cli, db: TestDatabase) -> None:
    schemas("ensure")
    db.execute("DROP SCHEMA telemetry_acme")
    mended = plain(schemas("ensure"))
    assert mended.code == 0
    assert names(db) == ["telemetry_acme", "telemetry_globex"]


def test_its_own_rule_for_names_holds_a_tenant(schemas: Cli, db: TestDatabase) -> None:
    db.execute("INSERT INTO device_registry (tenant_id) VALUES (repeat('x', 60))")
    done = plain(schemas("ensure"))
    assert done.code == 1
    assert "63 bytes" in done.out
    assert names(db) == ["telemetry_acme", "telemetry_globex"]


def test_what_it_has_not_is_refused_for_it(schemas: Cli, db: TestDatabase) -> None:
    config = (schemas.folder / "influxops.toml").read_text()
    schemas.config(config + '[database]\nretention = "30d"\n')
    done = schemas("plan")
    assert done.code == 2
    assert "warehouse keeps no retention periods" in done.err
    assert names(db) == []


def test_its_report_for_programs_says_nothing_that_was_not_read(schemas: Cli) -> None:
    report = json.loads(schemas("ensure", "--format", "json").out)
    (target,) = report["targets"]
    assert target["name"] == "warehouse"
    assert target["cluster_uuid"] is None
