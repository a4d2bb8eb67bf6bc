"""The real service: a process of its own, over a real PostgreSQL and a stand-in for InfluxDB 3."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
import urllib3

from influxops_devserver.postgres import EmbeddedPostgres
from tests import outputs
from tests.integration.command import Cli
from tests.integration.servers import Influx, new_stand_in
from tests.pg import TestDatabase, make_database, new_database

#: The registry as a platform has it, before the service comes.
REGISTRY: LiteralString = """
CREATE TABLE device_registry (
    device_id text PRIMARY KEY,
    tenant_id text NOT NULL,
    name text NOT NULL DEFAULT '',
    status text NOT NULL DEFAULT 'active',
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz
)
"""


@dataclass(frozen=True)
class Web:
    """A service that runs, and what it runs on."""

    url: str
    admin: str  # a token of the role operator_admin
    reader: str  # one of the role operator
    db: TestDatabase
    influx: Influx
    cli: Cli
    process: subprocess.Popen[str]
    log: Path  # its standard error

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request, as operator_admin unless a token is given; an empty one is none."""
        bearer = self.admin if token is None else token
        sent = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return urllib3.request(
            method,
            self.url + path,
            headers={**sent, **(headers or {})},
            retries=False,
            redirect=False,
            timeout=60,
            **arguments,
        )

    def rows(self, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """What a query finds in the service's database."""
        with psycopg.connect(self.db.conninfo) as connection:
            return connection.execute(query, values).fetchall()

    def logged(self) -> str:
        return self.log.read_text()


def write_config(cli: Cli, influx_url: str, extra: str = "") -> None:
    """Write the configuration of docs/service.md, for some server."""
    cli.config(
        f"""{extra}
[sources.registry]
kind = "postgres"
dsn = {{env = "DSN"}}

[sources.tenants]
kind = "postgres"
dsn = {{env = "DSN"}}
table = "tenants"

[ledger]
kind = "postgres"

[targets.eu1]
kind = "influxdb3"
url = "{influx_url}"
"""
    )


def install(cli: Cli) -> tuple[str, str]:
    """Install the ledger and the service's tables; return an admin's and a reader's token."""
    for command in (("ledger", "install"), ("db", "upgrade")):
        done = cli(*command)
        assert done.code == 0, done.all
    made = []
    for role, name in (("operator_admin", "admin"), ("operator", "reader")):
        done = cli("token", "create", "--role", role, "--name", name)
        assert done.code == 0, done.all
        made.append(done.out.strip())
    return made[0], made[1]


@contextlib.contextmanager
def serving(
    cli: Cli, db: TestDatabase, influx: Influx, admin: str, reader: str, *options: str
) -> Iterator[Web]:
    """Run `influxops serve` on a free port."""
    log = cli.folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("w") as err:
        arguments = ["serve", "--port", "0", *options]
        process = cli.start(arguments, None, subprocess.PIPE, err.fileno())
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on http"), line + log.read_text()
            yield Web(line.split()[-1], admin, reader, db, influx, cli, process, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
    outputs.look(log.read_text())


@contextlib.contextmanager
def platform(
    folder: Path, server: EmbeddedPostgres, influx: Influx, extra: str = "", *options: str
) -> Iterator[Web]:
    """Run the service on a database of its own."""
    template, admin, reader = _template(server, folder)
    with new_database(server, template) as db:
        cli = Cli(folder, {"DSN": db.conninfo})
        write_config(cli, influx.url, extra)
        with serving(cli, db, influx, admin, reader, *options) as web:
            yield web


#: What has everything installed, and its tokens, by the folder of its server.
_templates: dict[Path, tuple[str, str, str]] = {}


def _template(server: EmbeddedPostgres, folder: Path) -> tuple[str, str, str]:
    """Give a database in which everything is installed, for copies of it, and its tokens."""
    if server.work_dir not in _templates:
        db = make_database(server)
        db.execute(REGISTRY)
        cli = Cli(folder, {"DSN": db.conninfo})
        write_config(cli, "http://127.0.0.1:9")
        _templates[server.work_dir] = (db.name, *install(cli))
    return _templates[server.work_dir]


@pytest.fixture(scope="module")
def module_influx() -> Iterator[Influx]:
    with new_stand_in(max_databases=None) as server:
        yield server


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, module_influx: Influx
) -> Iterator[Web]:
    """One service for all tests of a module: each takes tenants of its own."""
    folder = tmp_path_factory.mktemp("web")
    # Patience for a machine that is busy with other tests.
    extra = "[web]\nlogin_rate_per_minute = 1000\ntimeout = 20.0\n"
    with platform(folder, postgres, module_influx, extra) as running:
        yield running
