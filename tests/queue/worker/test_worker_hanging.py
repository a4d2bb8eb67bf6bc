"""A server that hangs: what waits for it is shown, and goes on when it does."""

from __future__ import annotations

import re
import signal
import threading

import psycopg
import pytest
import urllib3

from influxops_devserver.testing import running_stand_in
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import STUCK
from tests.integration.proxy import Answer, Seen
from tests.pg import TestDatabase
from tests.queue.conftest import Queued
from tests.queue.workers import all_ready, insert, rows, states, until, working

pytestmark = pytest.mark.stand_in


def age(url: str) -> float:
    """How old the oldest tenant that waits is, by the metrics of a worker."""
    text = urllib3.request("GET", f"{url}/metrics").data.decode()
    found = re.search(r"^influxops_queue_oldest_waiting_seconds (\S+)$", text, flags=re.MULTILINE)
    return float(found[1]) if found else 0.0


@pytest.mark.faults
def test_what_waits_for_a_server_that_hangs_is_shown_with_its_age_before_a_worker_has_taken_it(
    queued: Queued, db: TestDatabase
) -> None:
    db.registry()
    with running_stand_in(max_databases=None, max_tables=None) as server:
        cli = queued("--trigger", url=server.url)
        with working(cli, listens=True) as worker:
            insert(db, ["before"])
            until(all_ready(db, 1))
            server.process.send_signal(signal.SIGSTOP)
            insert(db, [f"t{number}" for number in range(600)])
            shown = cli("queue", "status")
            state = cli("queue", "status", "--format", "json").json
            assert (state["hints"], state["waiting"]) == (600, [])
            assert state["oldest_hint_seconds"] is not None
            assert "hints: 600, the oldest waits for" in shown.out
            assert "no tenant waits" not in shown.out
            until(lambda: age(worker.url) > 1)
            server.process.send_signal(signal.SIGCONT)
            until(all_ready(db, 601))
            until(lambda: age(worker.url) == 0)
    shown = cli("queue", "status")
    assert "no tenant waits" in shown.out


def test_a_tenant_waits_since_its_row_and_not_since_a_worker_looked(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    gone: list[Answer] = [(503, "text/plain", b"out of order")]
    proxy.before = lambda seen: gone[0]
    cli = queued("--trigger", url=proxy.url)
    insert(db, ["acme", "acme", "back"])
    db.execute("UPDATE influxops_queue.hints SET noted_at = noted_at - interval '1 h'")
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, state_since) "
        "VALUES ('default', 'back', 'retired', now() - interval '1 day')"
    )
    assert cli("queue", "status", "--format", "json").json["oldest_hint_seconds"] >= 3_600
    with working(cli):
        until(lambda: states(db) == {"pending": 2})
        waiting = cli("queue", "status", "--format", "json").json["waiting"]
        assert [3_600 <= each["oldest_seconds"] < 7_200 for each in waiting] == [True]
        gone[0] = None
        until(all_ready(db, 2))
    ready = "SELECT tenant FROM influxops.tenants WHERE state_since < now() - interval '1 h'"
    assert rows(db, ready) == []


def test_a_job_that_ends_after_its_target_answers_again_puts_nothing_off(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    let_go = threading.Event()

    def away(seen: Seen) -> Answer:
        return None if let_go.is_set() else (503, "text/plain", b"out of order")

    proxy.before = away
    cli = queued("--trigger", url=proxy.url)
    with working(cli, delay=10 * STUCK) as worker:
        insert(db, ["acme"])
        until(lambda: states(db) == {"pending": 1})
        assert "asked again until it answers" in worker.line()
        until(lambda: jobs(db) == ["todo"])
        with psycopg.connect(db.conninfo) as connection:
            connection.execute("LOCK TABLE device_registry IN ACCESS EXCLUSIVE MODE")
            assert cli("queue", "retry").code == 0
            until(lambda: jobs(db) == ["doing"])
            until(lambda: is_waited_for(db))
            let_go.set()
            assert "answers again" in worker.line()
        until(all_ready(db, 1))


def jobs(db: TestDatabase) -> list[str]:
    query = (
        "SELECT status::text FROM influxops_queue.procrastinate_jobs "
        "WHERE task_name = 'retry_unplaced'"
    )
    return [status for (status,) in rows(db, query)]


def is_waited_for(db: TestDatabase) -> bool:
    """Whether somebody waits for the lock on the registry."""
    return bool(rows(db, "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'"))
