"""Workers whose connections to PostgreSQL fall silent, or are ended by it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import psycopg
import pytest
import urllib3

from tests.conftest import GiveStandIn
from tests.integration.command import Cli
from tests.line_proxy import line_proxy
from tests.pg import TestDatabase
from tests.queue.conftest import Queued
from tests.queue.workers import all_ready, insert, until, working

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]

#: Seconds that a worker of these tests waits for PostgreSQL.
LIMIT = 2.0

#: What it prints on SIGTERM, and nothing else.
ENDING = "\ninfluxops: stopping gracefully; press Ctrl-C again to abort\n"

#: Seconds that a busy machine may need beside.
SLACK = 15.0
LISTENING = b"influxops worker"


def is_listening(began: bytes) -> bool:
    return LISTENING in began


def is_for_jobs(began: bytes) -> bool:
    return LISTENING not in began


@pytest.mark.parametrize("chosen", [is_listening, is_for_jobs, lambda began: True])
def test_a_worker_whose_connections_fall_silent_begins_again_with_new_ones(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, chosen: Callable[[bytes], bool]
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    with line_proxy(db.server.port) as proxy:
        cli = queued("--trigger", url=server.url)
        behind = Cli(cli.folder, {**cli.variables, "PG_PORT": str(proxy.port)})
        with working(behind, listens=True, limit=LIMIT) as worker:
            insert(db, ["before"])
            until(all_ready(db, 1))
            assert proxy.fall_silent(chosen)
            began = time.monotonic()
            insert(db, ["after"])
            until(all_ready(db, 2))
            took = time.monotonic() - began
            until(lambda: "all is well again" in worker.line())
            health = urllib3.request("GET", f"{worker.url}/healthz")
            state = cli("queue", "status")
            code, said = worker.end(signal.SIGTERM)
        assert health.status == 200
        assert "workers: 1 alive" in state.out, state.all
    assert took < 3 * LIMIT + SLACK
    assert code == 0
    assert said == ENDING


@pytest.mark.parametrize("name", ["influxops worker%", "influxops"])
def test_why_postgres_ended_a_session_is_told_once(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, name: str
) -> None:
    db.registry()
    cli = queued("--trigger", url=stand_in(max_databases=None).url)
    with working(cli, limit=LIMIT) as worker:
        insert(db, ["before"])
        until(all_ready(db, 1))
        with psycopg.connect(db.superuser_conninfo) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE %s",
                [name],
            )
        assert worker.line() == (
            "WARNING the ledger's database: terminating connection due to administrator command; "
            "retrying automatically\n"
        )
        assert worker.line() == "WARNING the ledger's database: all is well again\n"
        insert(db, ["after"])
        until(all_ready(db, 2))
        code, said = worker.end(signal.SIGTERM)
    assert (code, said) == (0, ENDING)
