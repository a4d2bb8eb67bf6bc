"""One new tenant, from its request to its database, by each door; all with a ledger."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import urllib3

from bench.contenders import Setting, check, play, prepare
from bench.place import ContenderFailed, Place, Taken, config, environment, inside, program
from influxops import Provisioner
from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.runtime.context import RunContext
from tests.integration.command import Cli
from tests.queue.workers import working
from tests.web.conftest import REGISTRY, install, serving

TITLE = "one new tenant until its database is there"
COMMAND, ROW = "ensure TENANT, no start-up", "row, until its database"
READY = "row, until it is ready"
_SOURCES = """
dsn = {env = "DSN"}
[sources.tenants]
kind = "postgres"
dsn = {env = "DSN"}
table = "tenants"
"""
#: Seconds after which a tenant is called forgotten.
_STUCK = 60.0


@dataclass(frozen=True)
class Doors:
    """All doors of one ledger, open at once."""

    given: Setting
    connection: psycopg.Connection
    engine: Engine
    provisioner: Provisioner
    ask: Callable[..., urllib3.BaseHTTPResponse]
    numbers: Iterator[int]
    #: How long each row took until it was ready.
    ready_after: list[Taken | float] = field(default_factory=list)

    def new(self) -> str:
        return f"t{next(self.numbers)}"

    def bare(self) -> Taken:
        """Write a marker in the ordinary way, which waits for the flush."""
        path = f"/api/v3/write_lp?db=telemetry_{self.new()}"
        return inside(lambda: self.given.influx.request("POST", path, body="_init value=1i"))

    def register(self) -> str:
        tenant = self.new()
        row = "INSERT INTO device_registry (device_id, tenant_id) VALUES (%s, %s)"
        self.connection.execute(row, [tenant, tenant])
        return tenant

    def ready(self, tenant: str) -> None:
        """Wait until the ledger says that a tenant has its database."""
        query = "SELECT 1 FROM influxops.tenants WHERE tenant = %s AND state = 'ready'"
        end = time.monotonic() + _STUCK
        while self.connection.execute(query, [tenant]).fetchone() is None:
            if time.monotonic() > end:
                raise ContenderFailed(f"{tenant} has no database")
            time.sleep(0.002)

    def unseen(self) -> str:
        """Register a tenant without the trigger."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            return self.register()

    def command(self) -> Taken:
        tenant = self.unseen()
        found = self.given.timed(program(), "--config", "influxops.toml", "ensure", tenant)
        self.ready(tenant)
        return found

    def run(self) -> Taken:
        named = RunContext(tenants=frozenset({self.unseen()}))
        return inside(lambda: self.engine.run(Ensure(), named, tell=False))

    def task(self) -> Taken:
        path, tenant = str(self.given.folder / "influxops.toml"), self.unseen()
        found = play(self.given, {"influx_tenant_db": {"config": path, "tenant": tenant}})
        self.ready(tenant)
        return found

    def call(self) -> Taken:
        tenant = self.unseen()
        found = inside(lambda: self.provisioner.ensure(tenant))
        self.ready(tenant)
        return found

    def row(self) -> Taken:
        """Insert a row; the ledger's clock says when its database was there."""
        (began,) = self.connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        tenant = self.register()
        self.ready(tenant)
        query = (
            "SELECT extract(epoch FROM created_at - %s)::float8, "
            "extract(epoch FROM state_since - %s)::float8 FROM influxops.tenants WHERE tenant = %s"
        )
        made, ready = self.connection.execute(query, [began, began, tenant]).fetchone() or (0, 0)
        self.ready_after.append(ready)
        return Taken(made)

    def service(self) -> Taken:
        tenant = self.new()
        body = {"tenant_id": tenant, "name": tenant}
        found = inside(lambda: self.ask("POST", "/operator/tenants", json=body))
        self.ready(tenant)
        return found


@contextlib.contextmanager
def doors(place: Place) -> Iterator[Doors]:
    """Open all doors."""
    with contextlib.ExitStack() as stack:
        db = stack.enter_context(place.database())
        db.execute(REGISTRY)
        (influx,) = stack.enter_context(place.servers(databases=100))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        given = replace(prepare(folder, db, influx, 0, 120), variables={"DSN": db.conninfo})
        os.environ["DSN"] = db.conninfo  # this process is the case's own
        cli = Cli(folder, {"DSN": db.conninfo, **environment()}, forks=False)
        path = cli.config(config(influx.url, ledger=True, extra=_SOURCES))
        admin, reader = install(cli)
        done = cli("queue", "install", "--trigger")
        if done.code:
            raise ContenderFailed(done.all)
        stack.enter_context(working(cli))
        web = stack.enter_context(serving(cli, db, influx, admin, reader))
        engine = stack.enter_context(Engine(load_config(path)))
        made = stack.enter_context(Provisioner.from_config(path, full_runs=None, timeout=_STUCK))
        connection = stack.enter_context(psycopg.connect(db.superuser_conninfo, autocommit=True))
        yield Doors(given, connection, engine, made, web.ask, itertools.count())


def run(place: Place, _size: int) -> None:
    """Measure each door in turns."""
    with doors(place) as all_:
        measures = {
            COMMAND: all_.run,
            "an ordinary write": all_.bare,
            "influxops ensure TENANT": all_.command,
            "Ansible module": all_.task,
            "Provisioner.ensure": all_.call,
            ROW: all_.row,
            "POST to the service": all_.service,
        }
        for each in measures.values():
            each()  # each connection is there
        place.in_turns(TITLE, "", measures, place.sizes.rounds, COMMAND)
        place.figure(TITLE, READY, "", all_.ready_after[1:], COMMAND)
        check(all_.given.influx, next(all_.numbers), marks=True)
