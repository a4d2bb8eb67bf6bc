"""One PostgreSQL and three servers for all cases; each has tenants and records of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg

from influxops import Provisioner
from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure, Operation
from influxops.errors import InfluxopsError
from influxops.runtime.context import RunContext
from influxops.testing import Runner
from influxops_ansible.ensure import ensure as task
from influxops_queue.worker.provisioning import Making
from tests.integration.servers import Influx
from tests.pg import TestDatabase

#: Where nobody answers.
AWAY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Answer:
    """What a door says of a tenant."""

    is_there: bool
    reason: str = ""


@dataclass
class Case:
    """One tenant of one case, behind one door."""

    db: TestDatabase
    servers: dict[str, Influx]
    folder: Path
    name: str
    targets: tuple[str, ...] = ("a", "b")
    extra: str = ""
    options: dict[str, str] = field(default_factory=dict)  # more of a target's section, by its name
    table: str = ""  # the registry; empty for the case's own
    ledger: str = ""
    source: str = ""
    tenant: str = ""
    patience: float = 20.0  # seconds that a Provisioner has for the tenant

    def __post_init__(self) -> None:
        self.tenant = self.tenant or self.name
        self.execute(f"CREATE TABLE {self.name} (tenant_id text PRIMARY KEY)")
        self.register(self.tenant)

    def execute(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.db.conninfo, autocommit=True) as connection:
            connection.execute(statement.encode(), values)

    def register(self, tenant: str) -> None:
        self.execute(f"INSERT INTO {self.name} VALUES (%s)", tenant)

    @property
    def database(self) -> str:
        return f"telemetry_{self.tenant}"

    @property
    def config(self) -> Path:
        """The configuration as it is now, in a file."""
        text = f'{self.extra}\n[sources.registry]\nkind = "postgres"\n{self.source}\n'
        text += f'table = "{self.table or self.name}"\n'
        text += f'[ledger]\nkind = "postgres"\nnamespace = "{self.name}"\n{self.ledger}\n'
        for name in self.targets:
            url = self.servers[name].url if name in self.servers else AWAY
            text += f'[targets.{name}]\nkind = "influxdb3"\nurl = "{url}"\n'
            text += f"{self.options.get(name, '')}\n"
        path = self.folder / f"{self.name}.toml"
        path.write_text(text)
        return path

    def run(self, operation: Operation | None = None, *tenants: str) -> None:
        """Make a run over all, before the door is tried."""
        with Engine(load_config(self.config)) as engine:
            context = RunContext(tenants=frozenset(tenants) or None)
            engine.run(operation or Ensure(), context, tell=False)

    def create(self, target: str) -> None:
        """Create the tenant's database past influxops."""
        body = {"db": self.database}
        done = self.servers[target].request("POST", "/api/v3/configure/database", json=body)
        assert done.status == 200, done.data

    def delete(self, target: str) -> None:
        """Delete the tenant's database past influxops."""
        path = f"/api/v3/configure/database?db={self.database}"
        done = self.servers[target].request("DELETE", path)
        assert done.status == 200, done.data

    @property
    def homes(self) -> set[str]:
        """The targets that hold the tenant's database."""
        return {name for name, each in self.servers.items() if self.database in each.databases()}

    def clean(self) -> None:
        """Delete the tenant's databases: servers are shared."""
        for name in self.homes:
            self.delete(name)

    def history(self) -> list[str]:
        """What the history has of the tenant."""
        query = "SELECT event || ' ' || outcome FROM influxops.history WHERE tenant = %s"
        with psycopg.connect(self.db.conninfo) as connection:
            return [row[0] for row in connection.execute(query, [self.tenant])]


Door = Callable[[Case], Answer]


def by_command(case: Case) -> Answer:
    """`influxops ensure TENANT`, in this process."""
    done = Runner(case.config)("ensure", case.tenant, "--format", "json")
    return Answer(done.exit_code == 0, done.output + done.errors)


def by_task(case: Case) -> Answer:
    """The Ansible module's own function."""
    result = task({"config": str(case.config), "state": "present"}, check_mode=False)
    told = json.dumps([result.values, result.warnings, result.failure], default=str)
    return Answer(not result.failure, told)


@contextlib.contextmanager
def _provisioner(case: Case) -> Iterator[Provisioner]:
    made = Provisioner.from_config(case.config, full_runs=None, timeout=case.patience)
    try:
        yield made
    finally:
        made.close(0.0)


def by_provisioner(case: Case) -> Answer:
    """`Provisioner.ensure`."""
    with _provisioner(case) as made:
        found = made.ensure(case.tenant)
    return Answer(found.is_ready, found.reason)


def by_service(case: Case) -> Answer:
    """What the service awaits for a request."""
    with _provisioner(case) as made:
        found = asyncio.run(made.aensure(case.tenant))
    return Answer(found.is_ready, found.reason)


def by_worker(case: Case) -> Answer:
    """What a worker does for a job, without the queue."""
    making = Making(load_config(case.config), lambda target: None)
    try:
        placed = making.place([case.tenant])
        targets, tried, made, why = placed.targets, set[str](), None, placed.trouble
        record = None
        while left := targets - tried:
            target = min(left)
            tried.add(target)
            made = making.make(target, [case.tenant])
            targets, why = targets | made.targets, why or made.trouble
        why = why or making._told.get(case.tenant, "")
        with Engine(load_config(case.config)) as engine:
            assert engine.ledger is not None
            with contextlib.suppress(InfluxopsError):
                record = engine.ledger.load_records(None, RunContext()).records.get(case.tenant)
                why = why or (record.error if record is not None else "")
        is_there = bool(made and made.ready) or (record is not None and record.is_provisioned)
        return Answer(is_there and not why, why)
    finally:
        making.close()


DOORS: dict[str, Door] = {
    "command": by_command,
    "task": by_task,
    "provisioner": by_provisioner,
    "worker": by_worker,
    "service": by_service,
}


@contextlib.contextmanager
def variables(given: dict[str, str]) -> Iterator[None]:
    """Set environment variables."""
    with patch.dict(os.environ, given):
        yield
