"""`influxops worker`: a row in a registry is a database a moment later."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.conftest import GiveStandIn
from tests.integration.command import STUCK, Cli
from tests.pg import TestDatabase
from tests.queue.conftest import Queued
from tests.queue.workers import (
    all_ready,
    check_each_once,
    insert,
    jobs_so_far,
    rows,
    states,
    until,
    working,
)

pytestmark = pytest.mark.stand_in

_MARKED = "SELECT table_name FROM system.tables WHERE table_name = '_init' AND deleted = false"


def test_a_device_that_any_program_inserts_has_a_database_soon(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    cli = queued("--trigger", url=server.url)
    with working(cli):
        insert(db, ["acme"])
        until(all_ready(db, 1))
        assert server.databases() == ["telemetry_acme"]
        until(lambda: server.rows("_internal", _MARKED))
    check_each_once(db)
    assert rows(db, "SELECT DISTINCT door FROM influxops.history") == [("worker",)]


def test_what_came_while_no_worker_ran_is_made_by_the_next(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    cli = queued("--trigger", url=server.url)
    insert(db, ["acme", "beta"])
    with working(cli):
        until(all_ready(db, 2))
    assert server.databases() == ["telemetry_acme", "telemetry_beta"]


def test_a_thousand_at_once_are_a_few_jobs(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    server = stand_in(max_databases=None, max_tables=None)
    cli = queued("--trigger", url=server.url)
    with working(cli):
        insert(db, [f"t{number}" for number in range(1_000)])
        until(all_ready(db, 1_000))
    assert len(server.databases()) == 1_000
    assert jobs_so_far(db) < 20
    check_each_once(db)


def test_what_an_application_wants_in_the_ledger_is_made(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    cli = queued(url=server.url)
    with working(cli):
        db.execute(
            "INSERT INTO influxops.tenants (namespace, tenant, state) "
            "VALUES ('default', 'acme', 'pending')"
        )
        until(all_ready(db, 1))
    assert server.databases() == ["telemetry_acme"]


def test_a_tenant_that_is_retiring_and_back_is_kept(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta")
    server = stand_in(max_databases=None)
    cli = queued("--trigger", url=server.url)
    assert cli("ensure").code == 0
    db.execute("DELETE FROM device_registry WHERE tenant_id = 'acme'")
    assert cli("retire", "acme", "--after", "1s").code == 0
    assert states(db) == {"ready": 1, "retiring": 1}
    with working(cli):
        insert(db, ["acme"])
        until(all_ready(db, 2))
    assert "nothing is due" in cli("retire", "--due").out
    assert server.databases() == ["telemetry_acme", "telemetry_beta"]


def test_a_device_that_the_source_leaves_out_gets_nothing(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    cli = queued("--trigger", source="where = \"tenant_id <> 'gone'\"", url=server.url)
    with working(cli):
        insert(db, ["gone", "acme"])
        until(all_ready(db, 1))
        until(lambda: not rows(db, "SELECT FROM influxops_queue.hints"))
    assert server.databases() == ["telemetry_acme"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_told_to_stop_ends_with_0(
    queued: Queued, db: TestDatabase, number: int
) -> None:
    db.registry()
    cli = queued("--trigger")
    with working(cli) as worker:
        until(lambda: rows(db, "SELECT FROM influxops_queue.procrastinate_workers"))
        code, said = worker.end(number)
    assert code == 0
    assert "stopping gracefully" in said
    assert rows(db, "SELECT FROM influxops_queue.procrastinate_workers") == []


def test_a_worker_that_is_told_to_stop_before_it_begins_ends_with_0(queued: Queued) -> None:
    cli = queued()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a PostgreSQL that does not answer
        silent.settimeout(STUCK)
        port = {"PG_HOST": "127.0.0.1", "PG_PORT": str(silent.getsockname()[1])}
        with Cli(cli.folder, {**cli.variables, **port}).running("worker") as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=STUCK)
    assert (process.returncode, out) == (0, "")
    assert "error" not in err


def test_a_worker_that_is_told_to_stop_says_of_each_tenant_what_became_of_it(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    server = stand_in(max_databases=None, max_tables=None)
    cli = queued("--trigger", url=server.url)
    with working(cli) as worker:
        insert(db, [f"t{number:04}" for number in range(2_000)])
        until(lambda: server.databases())
        code, _ = worker.end(signal.SIGTERM)
    assert code == 0
    assert len(server.databases()) == states(db).get("ready", 0)
    assert rows(db, "SELECT FROM influxops_queue.procrastinate_jobs WHERE status = 'doing'") == []
    with working(cli):
        until(all_ready(db, 2_000))
    assert len(server.databases()) == 2_000
    check_each_once(db)
