"""Passwords and tokens appear nowhere: not in output, not in a log, not in a process list."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import Cli, ended
from tests.integration.proxy import Seen
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in

COMMANDS = (
    ("plan", "-vv"),
    ("ensure", "-vv"),
    ("ensure", "-vv", "--format", "json"),
    ("ensure", "-vv", "--log-format", "json"),
    ("status", "-vv"),
    ("where", "acme", "-vv"),
    ("doctor", "-vv"),
    ("config", "-vv"),
    ("config", "-vv", "--format", "json"),
)


def test_no_command_tells_a_secret(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("acme", "a b")
    server = stand_in(with_auth=True)
    secrets = {server.token, db.server.password, db.conninfo}
    for arguments in COMMANDS:
        done = cli(*arguments, env=server.environment)
        assert done.code in (0, 1)
        for secret in secrets:
            assert secret not in done.all, arguments


def test_no_command_tells_a_secret_that_does_not_work(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(with_auth=True)
    env = {
        "INFLUXDB_URL": server.url,
        "INFLUXDB_TOKEN": "apiv3_not-the-one",
        "PG_PASS": "n0t-the-one",
    }
    for arguments in COMMANDS:
        done = cli(*arguments, env=env)
        assert "not-the-one" not in done.all.replace("n0t", "not"), arguments


def test_a_dsn_hides_its_password(cli: Cli, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("acme")
    server = db.server
    dsn = f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/{db.name}"
    (cli.folder / "dsn").write_text(dsn, encoding="utf-8")
    cli.config('[sources.registry]\nkind = "postgres"\ndsn = {file = "dsn"}\n')
    env = {**stand_in().environment, "PG_HOST": "", "PG_PASS": "", "PG_PORT": "", "PG_DB": ""}
    for arguments in COMMANDS:
        done = cli(*arguments, env=env)
        assert done.code == 0, done.all
        assert server.password not in done.all, arguments


@pytest.mark.parametrize("password", ["s3cr3t/passw0rd", "s3cr3t@passw0rd", "s3cr3t#passw0rd?"])
def test_a_dsn_that_is_not_well_written_hides_its_password(
    cli: Cli, stand_in: GiveStandIn, password: str
) -> None:
    env = {
        **stand_in().environment,
        **dict.fromkeys(("PG_HOST", "PG_PASS", "PG_PORT", "PG_DB", "PG_USER"), ""),
        "PG_DSN": f"postgresql://iot:{password}@localhost:1/iotcloud",
    }
    for arguments in COMMANDS:
        done = cli(*arguments, env=env)
        for part in ("s3cr3t", "passw0rd"):
            assert part not in done.all, arguments


def test_a_secret_in_the_wrong_place_of_the_configuration_is_not_repeated(cli: Cli) -> None:
    mistakes = {
        "url": "https://u:s3cr3t@influx.invalid",
        **dict.fromkeys(("token", "urk", "capacity", "state", "read_timeout"), "apiv3_s3cr3t"),
    }
    for key, value in mistakes.items():
        cli.config(f'[targets.eu1]\nkind = "influxdb3"\n{key} = "{value}"\n')
        done = cli("plan", "-vv")
        assert done.code == 2, done.all
        assert "s3cr3t" not in done.all, key


def test_a_secret_is_in_no_process_list(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry("acme")
    server = stand_in(with_auth=True)
    proxy = proxied(server)
    reached, let_go = threading.Event(), threading.Event()

    def hold(seen: Seen) -> None:
        reached.set()
        let_go.wait(30)

    proxy.before = hold
    env = {"INFLUXDB_URL": proxy.url, "INFLUXDB_TOKEN": server.token}
    with replace(cli, forks=False).running("ensure", env=env) as process:
        assert reached.wait(30)
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        let_go.set()
        assert ended(process).code == 0
    assert "influxops" in shown
    assert server.token not in shown
    assert db.server.password not in shown
