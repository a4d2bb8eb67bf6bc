"""Another server answers at a target's address from the request on that creates a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from influxops.config.load import load_config
from influxops_postgres.ledger import schema
from influxops_queue.worker.provisioning import Making, Placed
from tests.conftest import GiveStandIn
from tests.doors.world import DOORS, Answer, Case, Door, variables
from tests.faults.answers import Layer, Trouble, answering
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in


def port_of(server: Influx) -> int:
    return int(server.url.rpartition(":")[2])


class Turned(NamedTuple):
    """A tenant `first` that is recorded on a server, and another one that can take its address."""

    case: Case
    layer: Layer
    recorded: Influx
    other: Influx

    def swap(self, path: str) -> None:
        self.layer.behind = port_of(self.other)


@pytest.fixture
def turned(db: TestDatabase, stand_in: GiveStandIn, tmp_path: Path) -> Iterator[Turned]:
    """Let another server answer from the first request on that writes."""
    recorded, other = stand_in(max_databases=None), stand_in(max_databases=None)
    with variables(db.environment), answering(port_of(recorded)) as layer:
        with psycopg.connect(db.conninfo, autocommit=True) as connection:
            connection.execute(schema.script("influxops").encode())
        servers = {"a": Influx(f"http://127.0.0.1:{layer.port}")}
        case = Case(db, servers, tmp_path, "registry", ("a",), tenant="first", patience=3.0)
        case.run()  # the ledger knows the server
        found = Turned(case, layer, recorded, other)
        layer.troubles.append(Trouble("", 1, only_writes=True, act=found.swap))
        yield found


def make_by_another_connection(case: Case, tenants: list[str]) -> Placed:
    """Do what a worker does whose threads plan and create on connections of their own."""
    making = Making(load_config(case.config), lambda target: None)
    try:
        making.place(tenants)
        with making.engines.borrow():
            return making.make("a", tenants)
    finally:
        making.close()


def by_worker_with_another_connection(case: Case) -> Answer:
    made = make_by_another_connection(case, [case.tenant])
    return Answer(bool(made.ready), made.trouble)


@pytest.mark.parametrize("door", [by_worker_with_another_connection, *DOORS.values()])
def test_what_another_server_creates_is_not_called_created(door: Door, turned: Turned) -> None:
    case, layer, recorded = turned.case, turned.layer, turned.recorded
    case.register("second")
    case.tenant = "second"

    answer = door(case)

    assert layer.troubles[0].met == 1
    assert not answer.is_there, answer
    assert recorded.databases() == ["telemetry_first"]
    assert state(case) in ("allocated", "pending")

    layer.behind = port_of(recorded)
    case.run()
    assert recorded.databases() == ["telemetry_first", "telemetry_second"]
    assert state(case) == "ready"


def test_a_server_that_turns_out_to_be_another_one_is_sent_no_more(turned: Turned) -> None:
    tenants = [f"next{number}" for number in range(20)]
    for tenant in tenants:
        turned.case.register(tenant)

    made = make_by_another_connection(turned.case, tenants)

    assert "another server answered" in made.trouble
    assert not made.ready
    assert len(turned.other.databases()) <= 4  # those that were under way


def state(case: Case) -> str:
    with psycopg.connect(case.db.conninfo) as connection:
        query = "SELECT state FROM influxops.tenants WHERE tenant = %s"
        row = connection.execute(query, [case.tenant]).fetchone()
    return row[0] if row else ""
