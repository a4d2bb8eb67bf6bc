"""A Provisioner of the test's own, over a real PostgreSQL and stand-ins for InfluxDB 3."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops import Provisioner
from influxops_devserver.postgres import EmbeddedPostgres
from tests.conftest import GiveStandIn, targets_toml
from tests.integration.command import STUCK, Cli
from tests.integration.proxy import Proxy
from tests.integration.servers import Influx
from tests.pg import TestDatabase, installed, new_database

#: Gives a Provisioner for some targets, by name; it is closed after the test.
Provide = Callable[..., Provisioner]

LEDGER = '[ledger]\nkind = "postgres"\n'


@pytest.fixture
def db(postgres: EmbeddedPostgres) -> Iterator[TestDatabase]:
    """A database with a ledger, for those that use one."""
    with new_database(postgres, installed(postgres, "ledger install")) as database:
        yield database


@pytest.fixture
def provide(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Provide]:
    # Takes `stand_in`, so that the servers are emptied for the next test after the Provisioner
    # is closed, and what it has sent was answered.
    for name, value in db.environment.items():
        monkeypatch.setenv(name, value)
    before = {*threading.enumerate()}
    with contextlib.ExitStack() as stack:

        def give(
            *,
            extra: str = "",
            source: str = "",
            ledger: bool = False,
            targets: dict[str, Any],
            **options: Any,
        ) -> Provisioner:
            path = configured(cli, targets, extra, ledger=ledger, source=source)
            made = Provisioner.from_config(path, **{"full_runs": None, "timeout": 10.0, **options})
            stack.callback(made.close, 0.0)
            return made

        yield give
    for thread in {*threading.enumerate()} - before:
        if thread.name.startswith("influxops"):
            while thread.ident is None:  # it is being started
                time.sleep(0.001)
            thread.join(5)


def configured(
    cli: Cli,
    targets: dict[str, Influx | Proxy | str],
    extra: str = "",
    *,
    source: str = "",
    ledger: bool = False,
) -> Path:
    """Write a configuration."""
    registry = '[sources.registry]\nkind = "postgres"\n'
    text = targets_toml(targets, extra + (LEDGER if ledger else ""))
    return cli.config(text.replace(registry, registry + source))


def insert(db: TestDatabase, *ids: str) -> None:
    """Register a device of each of these tenants."""
    with psycopg.connect(db.conninfo) as connection:
        connection.cursor().executemany(
            "INSERT INTO device_registry (tenant_id) VALUES (%s)", [(id_,) for id_ in ids]
        )


def until(holds: Callable[[], Any], timeout: float = STUCK) -> Any:
    """Wait for what another process does; return what holds then."""
    end = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.02)
    return found
