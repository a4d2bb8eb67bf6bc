"""Fixtures for the InfluxDB 3 target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from influxops.plugin import Action, Change, Database
from influxops_devserver.testing import StandInOptions, running_stand_in
from influxops_influxdb3 import InfluxDB3Target
from influxops_influxdb3.http.client import Client
from influxops_influxdb3.settings import InfluxDB3Settings
from tests.devserver.api import Api
from tests.influxdb3.copies import Pair
from tests.influxdb3.double import Double

MakeTarget = Callable[..., InfluxDB3Target]
MakeClient = Callable[..., Client]
Creates = Callable[..., list[Change]]


@pytest.fixture
def server() -> Iterator[Double]:
    double = Double()
    yield double
    double.stop()


@pytest.fixture
def make_target(server: Double) -> Iterator[MakeTarget]:
    made = []

    def make(**settings: Any) -> InfluxDB3Target:
        target = InfluxDB3Target("eu1", InfluxDB3Settings.parse({"url": server.url} | settings))
        made.append(target)
        return target

    yield make
    for target in made:
        target.influxops_close()


@pytest.fixture
def target(make_target: MakeTarget) -> InfluxDB3Target:
    return make_target()


@pytest.fixture
def make_client(server: Double) -> Iterator[MakeClient]:
    made = []

    def make(**settings: Any) -> Client:
        client = Client(InfluxDB3Settings.parse({"url": server.url} | settings))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def creates() -> Creates:
    """Make the changes that create databases for tenants."""

    def make(*tenants: str, retention: int | None = None) -> list[Change]:
        return [
            Change(
                Action.CREATE,
                tenant=tenant,
                target="eu1",
                database=f"telemetry_{tenant}",
                after=Database(retention, complete=True),
            )
            for tenant in tenants
        ]

    return make


@pytest.fixture(scope="session")
def two_servers() -> Iterator[tuple[Api, Api]]:
    """Two stand-ins without limits that all tests of a worker share."""
    options: StandInOptions = {
        "max_databases": None,
        "max_tables": None,
        "wal_flush_interval": "20ms",
    }
    with running_stand_in(**options) as one, running_stand_in(**options) as other:
        yield Api(one.url), Api(other.url)


@pytest.fixture
def pair(two_servers: tuple[Api, Api]) -> Pair:
    """A database to copy from one server to another; not made yet."""
    return Pair(*two_servers)
