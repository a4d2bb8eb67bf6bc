"""What is wrong with the registry: one clear line, an exit code, and nothing written by mistake."""

from __future__ import annotations

import re
import socket

import pytest

from tests.integration.command import Cli, Result
from tests.integration.servers import Influx
from tests.pg import TestDatabase


def _error(done: Result) -> str:
    """The one ERR line."""
    (error,) = (line for line in done.lines if line.startswith("ERR"))
    return error


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_a_registry_that_is_down_is_named_and_nothing_is_written(ops: Cli, influx: Influx) -> None:
    port = _unused_port()
    done = ops("ensure", env={"PG_PORT": str(port)})
    assert done.code == 1
    assert f"127.0.0.1:{port}" in _error(done)
    assert influx.databases() == []


def test_a_wrong_password_is_said_without_saying_the_password(ops: Cli, db: TestDatabase) -> None:
    db.registry("acme")
    done = ops("ensure", "-vv", env={"PG_PASS": "wr0ng-s3cret"})
    assert done.code == 1
    assert "password" in _error(done)
    assert "wr0ng-s3cret" not in done.all


def test_a_database_that_is_not_there_is_named(ops: Cli) -> None:
    done = ops("ensure", env={"PG_DB": "iotclod"})
    assert done.code == 1
    assert "iotclod" in _error(done)


def test_a_missing_table_is_named(ops: Cli) -> None:
    done = ops("ensure")
    assert done.code == 1
    assert "has no table device_registry" in _error(done)


def test_a_missing_column_is_named(ops: Cli, db: TestDatabase) -> None:
    db.execute("CREATE TABLE device_registry (device_id text, tenant text)")
    done = ops("ensure")
    assert done.code == 1
    assert "tenant_id" in _error(done)


def test_a_table_that_may_not_be_read_is_named(ops: Cli, db: TestDatabase) -> None:
    db.execute("CREATE TABLE device_registry (tenant_id text)", superuser=True)
    done = ops("ensure")
    assert done.code == 1
    assert "device_registry" in _error(done)
    assert re.search("right|permission|may not", done.out)


def test_an_empty_registry_is_no_error(ops: Cli, db: TestDatabase, influx: Influx) -> None:
    db.registry()
    done = ops("ensure")
    assert (done.code, done.lines) == (0, ["No tenants found in device_registry"])
    assert influx.databases() == []


def test_an_empty_registry_is_refused_where_tenants_have_databases(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry()
    influx.create("telemetry_acme")
    refused = ops("ensure")
    assert refused.code == 4
    assert "--allow empty-source" in refused.out
    assert ops("ensure", "--allow", "empty-source").code == 0
    assert influx.databases() == ["telemetry_acme"]


def test_databases_of_others_do_not_make_an_empty_registry_suspicious(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry()
    influx.create("something_else")
    assert ops("ensure").code == 0


TWO_SOURCES = """
[sources.registry]
kind = "postgres"
{query}
[sources.extra]
kind = "static"
tenants = {tenants}
"""


def test_one_tenant_from_two_sources_is_one_tenant(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "beta")
    ops.config(TWO_SOURCES.format(query="", tenants='["beta", "gamma"]'))
    done = ops("ensure")
    assert done.code == 0
    assert influx.databases() == ["telemetry_acme", "telemetry_beta", "telemetry_gamma"]
    assert done.lines.count("OK telemetry_beta") == 1


def test_a_tenant_that_two_sources_describe_differently_is_held(
    ops: Cli, db: TestDatabase, influx: Influx
) -> None:
    db.registry("acme", "beta")
    query = "query = \"SELECT DISTINCT tenant_id, '7d' AS retention FROM device_registry\""
    ops.config(TWO_SOURCES.format(query=query, tenants='["beta"]'))
    done = ops("ensure")
    assert done.code == 1
    assert influx.databases() == ["telemetry_acme"]
    assert "retention" in _error(done) and "beta" in _error(done)


@pytest.mark.parametrize("broken", ["registry", "extra"])
def test_one_source_that_fails_keeps_no_other_from_being_served(
    ops: Cli, db: TestDatabase, influx: Influx, broken: str
) -> None:
    if broken == "extra":
        db.registry("acme")
        ops.config(
            '[sources.registry]\nkind = "postgres"\n'
            '[sources.extra]\nkind = "file"\npath = "tenants.csv"\n'
        )
    else:
        ops.config(TWO_SOURCES.format(query="", tenants='["acme"]'))
    done = ops("ensure")
    assert done.code == 1
    assert influx.databases() == ["telemetry_acme"]
    assert f"source {broken}" in _error(done)
