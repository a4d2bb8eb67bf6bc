"""What `influxops serve` needs, and what it says where that is not there."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import psycopg
import pytest

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.command import Cli
from tests.integration.servers import Influx
from tests.pg import new_database
from tests.web.conftest import install, serving, write_config

pytestmark = pytest.mark.stand_in


def test_each_thing_that_is_missing_ends_it_with_2_and_is_named(
    tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx
) -> None:
    with new_database(postgres) as db, new_database(postgres) as other:
        db.registry("acme")
        cli = Cli(tmp_path, {"DSN": db.conninfo, "OTHER": other.conninfo})

        def refused(*said: str, used: bool = True) -> None:
            done = cli("serve", "--port", "0")
            assert done.code == 2, done.all
            assert all(each in done.err for each in said), done.err
            checks = cli("doctor", "--format", "json").json["checks"]
            told = [each for each in checks if (each["section"], each["name"]) == ("web", "serve")]
            assert [each["ok"] for each in told] == ([False] if used else [])
            assert all(told[0][part] in done.err for part in ("message", "hint") if used), told

        cli.config('[sources.registry]\nkind = "postgres"\ndsn = {env = "DSN"}\n')
        refused("no source reads the service's table of tenants", "[sources.tenants]", used=False)
        path = tmp_path / "influxops.toml"
        write_config(cli, module_influx.url)
        whole = path.read_text()
        path.write_text(whole.replace('[ledger]\nkind = "postgres"\n', ""))
        refused("no ledger is configured", "influxops ledger install", used=False)
        path.write_text(whole)
        refused("the tables of the service are not there", "influxops db upgrade", used=False)
        path.write_text(whole + "\n[web]\n")
        refused("the tables of the service are not there", "influxops db upgrade")
        path.write_text(whole)
        first = cli("db", "upgrade")
        assert "3 steps done" in first.out
        assert "nothing to do" in cli("db", "upgrade").out
        assert cli("db", "upgrade", "--format", "json").json["installed"] == []
        refused("influxops ledger install")
        assert cli("ledger", "install").code == 0
        elsewhere = '[ledger]\nkind = "postgres"\ndsn = {env = "OTHER"}\n'
        path.write_text(whole.replace('[ledger]\nkind = "postgres"\n', elsewhere))
        refused("ledger is in another database", "one database")
        path.write_text(whole + '\n[web]\ncolumns = {device_id = "serial"}\n')
        refused("device_registry has no column serial", "`columns` of [web]")
        path.write_text(whole + '\n[web]\ncolumns = {device = "serial"}\n')
        refused("maps device, which", "device_id")
        db.execute("ALTER TABLE device_registry ADD model text NOT NULL DEFAULT ''")
        db.execute("ALTER TABLE device_registry ALTER model DROP DEFAULT")
        path.write_text(whole)
        refused("a new device needs model", "device_values")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            path.write_text(whole + '\n[web]\ndevice_values = {model = "m1"}\n')
            done = cli("serve", "--port", str(taken.getsockname()[1]))
            assert (done.code, "cannot be listened on" in done.err) == (2, True)
        gone = cli("serve", "--port", "0", env={"DSN": "host=127.0.0.1 port=9 user=x"})
        assert gone.code == 1
        assert "does PostgreSQL run" in gone.err


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text('import sys\nsys.modules["uvicorn"] = None\n')
    done = Cli(tmp_path, {"PYTHONPATH": str(tmp_path)})("serve")
    assert done.code == 2
    assert "uvicorn, not installed" in done.err
    assert re.search(r"pip install .*\[web\]", done.err)


def test_a_name_that_nobody_can_read_is_refused(tmp_path: Path) -> None:
    for name in ("two\nlines", "\udcff", "x" * 201):
        done = Cli(tmp_path, {})("token", "create", "--role", "operator", "--name", name)
        assert (done.code, "--name" in done.err) == (2, True)


def test_the_tenants_that_devices_have_already_are_tenants_of_the_service(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    with new_database(postgres) as db:
        db.registry("acme", "acme", "beta", None, "", "no tenant's id")
        cli = Cli(tmp_path, {"DSN": db.conninfo})
        write_config(cli, "http://127.0.0.1:9")
        assert cli("db", "upgrade").code == 0
        with psycopg.connect(db.conninfo) as connection:
            rows = connection.execute("SELECT tenant_id, status FROM tenants ORDER BY 1").fetchall()
        assert rows == [("acme", "active"), ("beta", "active")]


def test_a_table_of_devices_that_was_there_is_used_as_it_is(
    tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx
) -> None:
    with new_database(postgres) as db:
        db.execute(
            "CREATE TABLE device_registry (tenant_id text)",
            'CREATE TABLE "Gateways" (serial bigserial PRIMARY KEY, customer text NOT NULL, '
            "model text NOT NULL, seen timestamptz)",
        )
        cli = Cli(tmp_path, {"DSN": db.conninfo})
        extra = """
[web]
device_table = "Gateways"
columns = {device_id = "serial", tenant_id = "customer", last_seen_at = "seen"}
device_values = {model = "m1"}
"""
        write_config(cli, module_influx.url, extra)
        admin, reader = install(cli)
        with serving(cli, db, module_influx, admin, reader) as web:
            created = web.ask("POST", "/operator/tenants", json={"tenant_id": "mapped"})
            assert created.status == 201
            made = web.ask("POST", "/api/admin/devices", json={"tenant_id": "mapped"})
            assert (made.status, made.json()["device_id"]) == (201, "1")
            body = {"tenant_id": "mapped", "device_id": "no number"}
            assert web.ask("POST", "/api/admin/devices", json=body).status == 422
            assert web.rows('SELECT serial, customer, model FROM "Gateways"') == [
                (1, "mapped", "m1")
            ]
            stats = web.ask("GET", "/operator/tenants/mapped/stats").json()["stats"]
            assert stats == {
                "devices": 1,
                "active_devices": None,
                "last_device_at": None,
                "last_seen_at": None,
            }


def test_a_signal_ends_it_well(
    tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx
) -> None:
    with new_database(postgres) as db:
        db.registry()
        cli = Cli(tmp_path, {"DSN": db.conninfo})
        write_config(cli, module_influx.url)
        admin, reader = install(cli)
        for number in (signal.SIGTERM, signal.SIGINT):
            with serving(cli, db, module_influx, admin, reader) as web:
                web.process.send_signal(number)
                assert web.process.wait(30) == 0
                assert "ending" in web.logged()
