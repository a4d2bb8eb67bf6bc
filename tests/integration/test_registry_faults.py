"""What is wrong with the registry: one clear line, an exit code, and nothing written by mistake."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.integration.command import PROGRAM, Cli, Result, ended
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


def test_a_password_with_unescaped_signs_in_a_connection_string_is_in_no_output(ops: Cli) -> None:
    for dsn in ("postgresql://iot:s3cr3t/passw0rd@h/db", "postgresql://iot:s3cr3t@passw0rd@h/db"):
        for command in (("ensure", "-vv"), ("plan", "--format", "json"), ("doctor",)):
            done = ops(*command, env={"PG_DSN": dsn, "PG_HOST": ""})
            assert done.code == 2, done.all
            assert "PG_DSN" in done.all
            assert "s3cr3t" not in done.all
            assert "passw0rd" not in done.all


def test_a_mistyped_host_is_named_beside_the_password_that_it_does_not_get(ops: Cli) -> None:
    env = {"PG_HOST": "db.exmaple", "PG_PASS": ""}
    done = ops("ensure", env=env)
    assert done.code == 2
    assert "another machine (db.exmaple)" in done.err
    assert "check the name of the host" in done.err
    assert "PG_PASS" in done.err
    tried = ops("ensure", env={**env, "PG_PASS": "a-password"})
    assert tried.code == 1
    assert "failed to resolve host" in _error(tried)
    assert "PG_HOST" in _error(tried)


def test_tenants_that_row_level_security_may_hide_are_a_warning_of_a_run(
    ops: Cli, db: TestDatabase
) -> None:
    db.execute(
        "CREATE TABLE device_registry (tenant_id text)",
        "INSERT INTO device_registry VALUES ('acme'), ('globex')",
        "ALTER TABLE device_registry ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY part ON device_registry USING (tenant_id = 'acme')",
        "GRANT SELECT ON device_registry TO iot",
        superuser=True,
    )
    done = ops("plan")
    assert done.code == 0
    (warning,) = (line for line in done.lines if line.startswith("WARN"))
    assert "row-level security may hide rows of device_registry from iot" in warning


def _from_a_pipe(ops: Cli) -> None:
    url = ops.variables["INFLUXDB_URL"]
    ops.config(
        '[sources.extra]\nkind = "file"\npath = "tenants.csv"\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{url}"\n'
    )


def test_a_pipe_that_nobody_writes_to_ends_with_the_run_s_time(ops: Cli) -> None:
    _from_a_pipe(ops)
    os.mkfifo(ops.folder / "tenants.csv")
    started = time.monotonic()
    done = ops("plan", "--timeout", "1s")
    assert done.code == 1
    assert "--timeout" in done.out
    assert time.monotonic() - started < 15


def test_one_signal_ends_a_run_that_waits_for_a_pipe(ops: Cli) -> None:
    _from_a_pipe(ops)
    path = ops.folder / "tenants.csv"
    os.mkfifo(path)
    with ops.running("plan") as process:
        # Opening it to write succeeds once the run is there to read.
        writing = os.open(path, os.O_WRONLY)
        process.send_signal(signal.SIGTERM)
        done = ended(process, 20)
        os.close(writing)
    assert done.code == 130, done.all


def test_standard_input_that_never_ends_ends_with_the_run_s_time(ops: Cli) -> None:
    _from_a_pipe(ops)
    config = ops.folder / "influxops.toml"
    config.write_text(config.read_text().replace('"tenants.csv"', '"-"\nformat = "csv"'))
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [PROGRAM, "plan", "--timeout", "1s"],
            cwd=ops.folder,
            env=ops.environment(None),
            stdin=reading,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 1
    assert "Fatal" not in done.stderr


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
    assert sum(line.startswith("OK telemetry_beta") for line in done.lines) == 1


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
