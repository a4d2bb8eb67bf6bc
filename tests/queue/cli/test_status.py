"""`influxops queue status` and `queue retry`: what waits, for whom, and who works."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import Cli
from tests.integration.proxy import Answer
from tests.pg import TestDatabase
from tests.queue.conftest import Queued
from tests.queue.workers import all_ready, insert, rows, states, until, working


def test_without_a_worker_it_says_so_and_what_to_do(queued: Queued, db: TestDatabase) -> None:
    db.registry()
    cli = queued("--trigger")
    insert(db, ["acme", "beta"])
    done = cli("queue", "status")
    assert done.code == 1
    assert "workers: none alive" in done.out
    assert "hints: 2" in done.out
    assert done.err == "ERR no worker is alive: start one with `influxops worker`\n"
    retried = cli("queue", "retry")
    assert retried.code == 0
    assert "no worker is alive" in retried.err


def test_workers_of_another_ledger_in_the_same_database_are_not_counted(
    queued: Queued, db: TestDatabase
) -> None:
    db.registry()
    cli = queued()
    with working(cli):
        until(lambda: "workers: 1 alive" in cli("queue", "status").out)
        queued(ledger='schema = "other"')
        assert "workers: none alive" in cli("queue", "status").out


@pytest.mark.stand_in
def test_it_shows_who_waits_for_a_target_that_is_away_and_retry_goes_on_at_once(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    gone: list[Answer] = [(503, "text/plain", b"out of order")]
    proxy.before = lambda seen: gone[0]
    cli = queued("--trigger", url=proxy.url)
    with working(cli) as worker:
        until(lambda: cli("queue", "status").code == 0)
        insert(db, ["acme", "beta"])
        until(lambda: states(db) == {"pending": 2})
        done = cli("queue", "status", "--format", "json")
        assert done.code == 1
        found = done.json
        assert found["version"] == 2
        assert len(found["workers"]) == 1
        (waiting,) = found["waiting"]
        assert (waiting["state"], waiting["tenants"], waiting["tried"]) == ("pending", 2, True)
        assert [each["tenant"] for each in found["troubled"]] == ["acme", "beta"]
        assert all("out of order" in each["reason"] for each in found["troubled"])
        shown = cli("queue", "status")
        assert "another try" in shown.out
        assert "ERR acme: " in shown.err
        gone[0] = None
        assert cli("queue", "retry").code == 0
        until(all_ready(db, 2))
        assert cli("queue", "status").code == 0
        worker.end(signal.SIGTERM)
    assert server.databases() == ["telemetry_acme", "telemetry_beta"]


@pytest.mark.stand_in
def test_what_no_database_can_be_called_is_forgotten_or_given_up(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    cli = queued("--trigger", url=stand_in(max_databases=None).url)
    assert cli("ensure").code == 0
    with working(cli):
        for ids in (["bad id", "worse id"], []):
            db.execute("DELETE FROM device_registry WHERE tenant_id <> 'acme'")
            insert(db, ids)
            until(lambda: rows(db, "SELECT FROM influxops_queue.hints") == [])
            until(lambda: states(db) == {"ready": 1, "pending": 2})
        assert cli("queue", "status").code == 1
        # The worker may just be looking at it; then it says to run it again.
        until(lambda: cli("forget", "bad id").lines[0] == "OK tenant 'bad id': forgotten")
        assert "forgotten" in cli("history", "bad id").out
    db.execute(
        "UPDATE influxops.tenants SET state_since = now() - interval '11 minutes' "
        "WHERE tenant = 'worse id'"
    )
    assert cli("ensure").code == 0
    assert "given up" in cli("history", "worse id").out
    with working(cli):
        until(lambda: cli("queue", "status").code == 0)
    again = cli("forget", "worse id", "acme")
    assert again.code == 1
    assert "a source still has it" in again.out
    assert states(db) == {"ready": 1}


@pytest.mark.stand_in
def test_retrying_a_tenant_that_the_ledger_does_not_know_asks_the_sources(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    cli = queued(url=server.url)
    with working(cli):
        done = cli("queue", "retry", "acme", "nobody")
        assert done.code == 0
        assert "acme: the ledger does not know it; looked at again now" in done.out
        document = cli("queue", "retry", "acme", "nobody", "--format", "json").json
        assert document["tenants"].keys() == {"acme", "nobody"}
        until(all_ready(db, 1))
        until(lambda: not rows(db, "SELECT FROM influxops_queue.hints"))
    assert server.databases() == ["telemetry_acme"]


def test_retrying_a_tenant_with_a_slot_lets_the_job_of_its_target_begin(
    queued: Queued, db: TestDatabase
) -> None:
    db.registry()
    cli = queued()
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, database, target) "
        "VALUES ('default', 'acme', 'allocated', 'telemetry_acme', 'eu1')"
    )
    db.execute(
        "SET search_path = influxops_queue; "
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args, "
        "scheduled_at) SELECT 'default', 'create_databases', lock, lock, '{}', "
        "now() + interval '1 h' FROM unnest(ARRAY['default/create_databases/eu1', "
        "'default/create_databases/eu2']) AS lock"
    )
    assert cli("queue", "retry", "acme").code == 0
    query = "SELECT lock FROM influxops_queue.procrastinate_jobs WHERE scheduled_at IS NULL"
    assert rows(db, query) == [("default/create_databases/eu1",)]


@pytest.mark.parametrize("id_", ["", " ", "a\udcff"])
def test_retrying_what_is_no_id_is_refused(queued: Queued, db: TestDatabase, id_: str) -> None:
    db.registry()
    cli = queued()
    done = cli("queue", "retry", "acme", id_)
    assert done.code == 2
    assert "is no tenant's id" in done.err
    assert rows(db, "SELECT FROM influxops_queue.hints") == []


def test_it_counts_those_that_it_does_not_name(queued: Queued, db: TestDatabase) -> None:
    db.registry()
    cli = queued()
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, error) "
        "SELECT 'default', 't' || n, 'pending', 'no free slot' FROM generate_series(1, 1522) AS n"
    )
    assert "and 1,502 more: --format json has them all\n" in cli("queue", "status").err


@pytest.mark.parametrize("command", [("worker",), ("queue", "status"), ("queue", "retry")])
def test_without_an_installed_queue_they_say_what_to_do(
    queued: Queued, db: TestDatabase, command: tuple[str, ...]
) -> None:
    cli = queued()
    db.execute("DROP SCHEMA influxops_queue CASCADE")
    done = cli(*command)
    assert done.code == 1
    assert "there is no queue in the schema influxops_queue" in done.err
    assert "influxops queue install" in done.err


def test_without_the_extra_a_worker_says_what_to_install(
    queued: Queued, db: TestDatabase, tmp_path: Path
) -> None:
    cli = queued()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "procrastinate.py").write_text("raise ImportError('not installed')\n")
    without = Cli(cli.folder, {**cli.variables, "PYTHONPATH": str(tmp_path / "hidden")})
    for command in (("worker",), ("queue", "status")):
        done = without(*command)
        assert done.code == 2
        assert re.search(r"pip install .*\[queue\]", done.err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--full-run-every", "often"], "no duration"),
        (["--listen", "nowhere"], "write HOST:PORT"),
        (["--listen", "192.0.2.1:80"], "cannot listen on 192.0.2.1:80"),
    ],
)
def test_a_worker_refuses_what_cannot_be(queued: Queued, options: list[str], message: str) -> None:
    done = queued()("worker", *options)
    assert done.code == 2
    assert message in done.err


@pytest.mark.stand_in
def test_who_was_wanted_and_is_in_no_source_is_given_up_after_a_while(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    cli = queued(url=stand_in(max_databases=None).url)
    with working(cli):
        db.execute(
            "INSERT INTO influxops.tenants (namespace, tenant, state) "
            "VALUES ('default', 'nobody', 'pending')"
        )
        until(lambda: rows(db, "SELECT FROM influxops.tenants WHERE error <> ''"))
        done = cli("queue", "status")
        assert "nobody: no source has it" in done.err
        db.execute("UPDATE influxops.tenants SET state_since = now() - interval '1 hour'")
        assert cli("queue", "retry").code == 0
        until(lambda: states(db) == {"retired": 1})
        assert cli("queue", "status").code == 0
