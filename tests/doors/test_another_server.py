"""Another server answers at a target's address from the request on that creates a database."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from influxops.config.load import load_config
from influxops_postgres.ledger import schema
from influxops_queue.worker.provisioning import Making
from tests.conftest import GiveStandIn
from tests.doors.world import DOORS, Answer, Case, Door, variables
from tests.faults.answers import Trouble, answering
from tests.integration.servers import Influx
from tests.pg import TestDatabase

pytestmark = pytest.mark.stand_in


def port_of(server: Influx) -> int:
    return int(server.url.rpartition(":")[2])


def by_worker_with_another_connection(case: Case) -> Answer:
    """What a worker does whose threads plan and create on connections of their own."""
    making = Making(load_config(case.config), lambda target: None)
    try:
        making.place([case.tenant])
        with making.engines.borrow():
            made = making.make("a", [case.tenant])
        return Answer(bool(made.ready), made.trouble)
    finally:
        making.close()


@pytest.mark.parametrize("door", [by_worker_with_another_connection, *DOORS.values()])
def test_what_another_server_creates_is_not_called_created(
    door: Door, db: TestDatabase, stand_in: GiveStandIn, tmp_path: Path
) -> None:
    recorded, other = stand_in(max_databases=None), stand_in(max_databases=None)
    with variables(db.environment), answering(port_of(recorded)) as layer:
        with psycopg.connect(db.conninfo, autocommit=True) as connection:
            connection.execute(schema.script("influxops").encode())
        servers = {"a": Influx(f"http://127.0.0.1:{layer.port}")}
        case = Case(db, servers, tmp_path, "registry", ("a",), tenant="first", patience=3.0)
        case.run()  # the ledger knows the server
        case.register("second")
        case.tenant = "second"

        def swap(path: str) -> None:
            layer.behind = port_of(other)

        layer.troubles.append(Trouble("", 1, only_writes=True, act=swap))
        answer = door(case)

        assert layer.troubles[0].met == 1
        assert not answer.is_there, answer
        assert recorded.databases() == ["telemetry_first"]
        assert state(case) in ("allocated", "pending")

        layer.behind = port_of(recorded)
        case.run()
        assert recorded.databases() == ["telemetry_first", "telemetry_second"]
        assert state(case) == "ready"


def test_a_server_that_turns_out_to_be_another_one_is_sent_no_more(
    db: TestDatabase, stand_in: GiveStandIn, tmp_path: Path
) -> None:
    recorded, other = stand_in(max_databases=None), stand_in(max_databases=None)
    with variables(db.environment), answering(port_of(recorded)) as layer:
        with psycopg.connect(db.conninfo, autocommit=True) as connection:
            connection.execute(schema.script("influxops").encode())
        servers = {"a": Influx(f"http://127.0.0.1:{layer.port}")}
        case = Case(db, servers, tmp_path, "registry", ("a",), tenant="first", patience=3.0)
        case.run()
        tenants = [f"next{number}" for number in range(20)]
        for tenant in tenants:
            case.register(tenant)

        def swap(path: str) -> None:
            layer.behind = port_of(other)

        layer.troubles.append(Trouble("", 1, only_writes=True, act=swap))
        making = Making(load_config(case.config), lambda target: None)
        try:
            making.place(tenants)
            with making.engines.borrow():
                made = making.make("a", tenants)
        finally:
            making.close()

        assert "another server answered" in made.trouble
        assert not made.ready
        assert len(other.databases()) <= 4  # those that were under way


def state(case: Case) -> str:
    with psycopg.connect(case.db.conninfo) as connection:
        query = "SELECT state FROM influxops.tenants WHERE tenant = %s"
        row = connection.execute(query, [case.tenant]).fetchone()
    return row[0] if row else ""
