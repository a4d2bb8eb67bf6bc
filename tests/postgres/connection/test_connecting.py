"""Where the source `postgres` connects, as whom, and what it says when it may not."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops.config.settings import InvalidSettings
from influxops.plugin import ConfigError, DeadlineExceeded, RunContext, SourceError, Tenant
from influxops_postgres import PostgresSettings, PostgresSource
from influxops_postgres.connection.connection import Connection
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeSource


def settings(**values: object) -> PostgresSettings:
    return PostgresSettings.parse(values)


def source(**values: object) -> PostgresSource:
    return PostgresSource("registry", settings(**values))


def ids(source: PostgresSource) -> list[str]:
    return [item.id for item in source.influxops_tenants(RunContext()) if isinstance(item, Tenant)]


def failure(source: PostgresSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        ids(source)
    assert "\n" not in str(caught.value)
    assert "iot_dev" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("host", "ports"), [("127.0.0.1,{0}", "1,{1}"), ("{0},127.0.0.1", "{1},1")]
)
def test_several_hosts_have_a_port_each_as_libpq_takes_them(
    cli: Cli, db: TestDatabase, host: str, ports: str
) -> None:
    db.registry("acme")
    given = [db.environment[name] for name in ("PG_HOST", "PG_PORT")]
    env = {"PGHOST": host.format(*given), "PGPORT": ports.format(*given)}
    done = cli("plan", env={"PG_HOST": "", "PG_PORT": "", **env})
    assert ", 1 tenant" in done.err
    wrong = cli("plan", env={"PG_PORT": "5432,x"})
    assert (wrong.code, "or one for each host" in wrong.err) == (2, True)


@pytest.mark.parametrize(
    ("values", "text", "host", "is_default"),
    [
        ({}, "iot@localhost/iotcloud (device_registry.tenant_id)", "localhost", True),
        (
            {"host": "db.example", "port": 5433, "database": "x", "user": "me"},
            "me@db.example:5433/x (device_registry.tenant_id)",
            "db.example",
            False,
        ),
        (
            {"host": "localhost"},
            "iot@localhost/iotcloud (device_registry.tenant_id)",
            "localhost",
            False,
        ),
        (
            {"host": "::1", "port": 1},
            "iot@[::1]:1/iotcloud (device_registry.tenant_id)",
            "::1",
            False,
        ),
        (
            {"host": "/run/postgresql", "table": "iot.t", "column": "c"},
            "iot@/run/postgresql/iotcloud (iot.t.c)",
            None,
            False,
        ),
        (
            {"dsn": "postgresql://me@a:1,db.example:2/x", "query": "SELECT 1"},
            "me@a:1,db.example:2/x (own query)",
            "a",
            False,
        ),
        (
            {"dsn": "postgresql://localhost,db.example/x"},
            "iot@localhost,db.example/x (device_registry.tenant_id)",
            "db.example",
            False,
        ),
        ({"dsn": "dbname=x"}, "iot@localhost/x (device_registry.tenant_id)", "localhost", True),
        (
            {"dsn": "host=localhost hostaddr=192.0.2.7"},
            "iot@localhost/iotcloud (device_registry.tenant_id)",
            "192.0.2.7",
            False,
        ),
    ],
)
def test_the_location_says_who_reads_what_where(
    values: dict[str, object], text: str, host: str | None, is_default: bool
) -> None:
    location = settings(**values).location()
    assert (location.text, location.host, location.is_default) == (text, host, is_default)


def test_a_service_counts_as_another_machine_whose_parts_libpq_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSERVICE", "registry")
    location = settings(user="me").location()
    assert location.text == "me@service registry (device_registry.tenant_id)"
    assert location.is_remote
    assert not location.is_default


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:hunter22@db.example/x",
        "postgresql://db.example/x?password=hunter22",
        "host=db.example password=hunter22",
        "host=db.example sslpassword=hunter22",
        "host=db.example password='hunter22",
        "postgresql://me:hunter22@db.example:port:/x",
        "host=db.example hunter22",
        "postgresql://me:hunter22/x@db.example/x",
        "postgresql://me:x@hunter22@db.example/x",
        "postgresql://me:x?hunter22@db.example/x",
        "postgresql://me:hunter22",
        "postgres://db.example/x@hunter22",
    ],
)
def test_a_literal_dsn_with_a_password_or_a_mistake_is_refused_and_not_repeated(dsn: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings(dsn=dsn)
    assert "hunter22" not in str(caught.value)
    assert "connection string" in str(caught.value)


def test_a_secret_dsn_that_is_none_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY", "hunter22")
    with pytest.raises(ConfigError) as caught:
        source(dsn={"env": "REGISTRY"})
    assert "hunter22" not in str(caught.value)
    assert "REGISTRY" in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:x/hunter22@db.example/iotcloud",
        "postgresql://me:hunter22/x@db.example/iotcloud",
        "postgresql://me:x@hunter22@db.example/iotcloud",
        "postgresql://me:hunter22",
    ],
)
def test_a_secret_dsn_whose_password_has_unescaped_signs_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    monkeypatch.setenv("REGISTRY", dsn)
    registry = settings(dsn={"env": "REGISTRY"})
    for use in (registry.location, lambda: PostgresSource("registry", registry)):
        with pytest.raises(ConfigError) as caught:
            use()
        assert "hunter22" not in str(caught.value)
        assert "REGISTRY" in str(caught.value)


def test_escaped_signs_are_part_of_the_password_which_is_known_as_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REGISTRY", "postgresql://me:hunter%2F%4022@db.example/iotcloud")
    registry = settings(dsn={"env": "REGISTRY"})
    assert registry.location().text == "me@db.example/iotcloud (device_registry.tenant_id)"
    assert "hunter/@22" in [secret.reveal() for secret in registry.secrets()]


def test_a_part_that_the_connection_string_gives_is_to_be_mended_there(
    database: TestDatabase,
) -> None:
    dsn = f"postgresql://iot@127.0.0.1:{database.server.port}/nowhere"
    assert failure(source(dsn=dsn)).hint == "check `dsn`"


def test_a_password_may_begin_and_end_with_spaces(
    database: TestDatabase, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.registry("acme")
    database.execute("CREATE ROLE spacy LOGIN PASSWORD ' se cret '", superuser=True)
    try:
        database.execute("GRANT SELECT ON device_registry TO spacy")
        monkeypatch.setenv("SPACY", " se cret ")
        assert ids(make_source(user="spacy", password={"env": "SPACY"})) == ["acme"]
    finally:
        database.execute("DROP OWNED BY spacy", "DROP ROLE spacy", superuser=True)


def test_a_connection_that_comes_after_it_was_left_behind_is_closed(
    database: TestDatabase, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, go_on, made = Connection.connect, threading.Event(), threading.Event()
    late: list[psycopg.Connection[Any]] = []

    def slow(**keywords: Any) -> Any:
        assert go_on.wait(20)
        late.append(connect(**keywords))
        made.set()
        return late[0]

    monkeypatch.setattr(Connection, "connect", slow)
    with pytest.raises(DeadlineExceeded):
        make_source().influxops_tenants(RunContext(timeout=0.1))
    go_on.set()
    assert made.wait(20)
    give_up = time.monotonic() + 20
    while not late[0].closed:
        assert time.monotonic() < give_up


def test_a_secret_dsn_brings_its_password_and_settings_win_over_its_parts(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.registry("acme")
    server = database.server
    dsn = f"postgresql://iot:iot_dev@127.0.0.1:{server.port}/nowhere"
    monkeypatch.setenv("REGISTRY", dsn)
    reader = source(dsn={"env": "REGISTRY"}, database=database.name)
    assert ids(reader) == ["acme"]
    location = settings(dsn={"env": "REGISTRY"}).location()
    assert location.text == f"iot@127.0.0.1:{server.port}/nowhere (device_registry.tenant_id)"


def test_the_default_password_never_goes_to_another_machine() -> None:
    for where in ({"host": "db.example"}, {"dsn": "host=localhost hostaddr=192.0.2.7"}):
        with pytest.raises(ConfigError) as caught:
            source(**where)
        assert caught.value.exit_code == 2
        assert caught.value.message.startswith("source registry: ")
        assert "another machine" in caught.value.message
        assert str(next(iter(where.values()))).rpartition("=")[2] in caught.value.message
        assert caught.value.remedy.value == "password"
        assert "check the name of the host" in caught.value.hint
        assert "iot_dev" not in str(caught.value)


def test_libpq_s_own_ways_to_a_password_stand_in_for_the_default_one(
    monkeypatch: pytest.MonkeyPatch, nobodys_home: Path
) -> None:
    source(host="db.example", sslcert="client.crt")
    source(dsn="service=registry")
    for name in ("PGPASSWORD", "PGSERVICE", "PGSSLCERT"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "x")
            source(host="db.example")
    (nobodys_home / ".pgpass").touch()
    source(host="db.example")


def test_the_password_is_read_when_it_is_needed(
    database: TestDatabase, make_source: MakeSource, tmp_path: Path
) -> None:
    database.registry("acme")
    file = tmp_path / "password"
    file.write_text("wrong\n")
    reader = make_source(password={"file": str(file)})
    error = failure(reader)
    assert error.message == (
        f"cannot connect to iot@127.0.0.1:{database.server.port}/{database.name}: "
        'password authentication failed for user "iot"'
    )
    assert error.hint == "check `password`, and the user's name"
    file.write_text("iot_dev\n")
    assert ids(reader) == ["acme"]


def test_a_password_file_is_used_and_a_gap_in_it_is_told(
    database: TestDatabase,
    make_source: MakeSource,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    database.registry("acme")
    file = tmp_path / "passwords"
    file.write_text(f"127.0.0.1:{database.server.port}:*:iot:iot_dev\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert ids(make_source()) == ["acme"]
    file.write_text("db.example:*:*:iot:iot_dev\n")
    error = failure(make_source())
    assert error.message.endswith("no password supplied")
    assert "password file" in error.hint


def test_a_service_file_is_used(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    database.registry("acme")
    file = tmp_path / "services"
    file.write_text(
        f"[registry]\nhost=127.0.0.1\nport={database.server.port}\nuser=iot\npassword=iot_dev\n"
        f"dbname={database.name}\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    assert ids(source(dsn="service=registry")) == ["acme"]
    monkeypatch.setenv("PGSERVICE", "registry")
    assert ids(source()) == ["acme"]


def test_libpq_s_variables_keep_working(
    database: TestDatabase, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    query = "SELECT current_setting('search_path') AS tenant_id"
    assert ids(make_source(query=query)) == ["elsewhere"]
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    assert "not in hot standby mode" in failure(make_source(query=query)).message


def test_a_unix_socket_is_reached_by_its_folder(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme")
    assert ids(make_source(host=str(database.server.work_dir))) == ["acme"]


def test_a_server_that_is_down_is_one_line(make_source: MakeSource) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        error = failure(make_source(port=port, database="x"))
        assert error.message == f"cannot connect to iot@127.0.0.1:{port}/x: Connection refused"
        assert error.hint.startswith("check `host` and the port; ")
        several = failure(make_source(host="127.0.0.1,localhost", port=port, database="x"))
        assert several.message.endswith(f"localhost:{port}/x: Connection refused")


def test_a_server_that_never_answers_is_given_up(make_source: MakeSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = failure(make_source(port=port, database="x", connect_timeout="2"))
        assert error.message == f"cannot connect to iot@127.0.0.1:{port}/x: no answer within 2 s"


def test_what_else_keeps_one_out_has_its_reason_and_advice(
    database: TestDatabase, make_source: MakeSource
) -> None:
    error = failure(make_source(database="nowhere"))
    assert error.message.endswith('database "nowhere" does not exist')
    assert error.hint == "check `database`"
    error = failure(make_source(sslmode="require"))
    assert error.message.endswith("server does not support SSL, but SSL was required")
    assert "sslmode" in error.hint
    error = failure(make_source(host="nowhere.invalid", password={"env": "HOME"}))
    assert "failed to resolve host 'nowhere.invalid'" in error.message


@pytest.mark.parametrize(
    "values",
    [
        {"query": "SELECT 1", "table": "devices"},
        {"query": "SELECT 1", "where": "true"},
        {"table": "a.b.c"},
        {"table": ""},
        {"table": '"open'},
        {"port": 0},
        {"sslmode": "yes"},
        {"password": "literal"},
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        settings(**values)


def test_making_a_source_imports_no_psycopg() -> None:
    code = (
        "import sys, influxops_postgres as p; p.PostgresSource('s', p.PostgresSettings()); "
        "p.PostgresSettings().location(); print('psycopg' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
