"""`influxops queue install`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg import sql

from influxops_queue.db import queries
from tests.conftest import GiveStandIn
from tests.earlier import ledger_of_version, queue_before_its_names
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.queue.conftest import CONFIG, Queued
from tests.queue.workers import all_ready, rows, states, until, working


def test_installing_again_changes_nothing(queued: Queued, db: TestDatabase) -> None:
    cli = queued()
    done = cli("queue", "install")
    assert done.code == 0, done.all
    assert "nothing to do, the queue is in the schema influxops_queue" in done.out
    assert cli("queue", "install", "--format", "json").json["installed"] == []


def test_who_notes_that_a_tenant_is_wanted_tells_the_workers(
    queued: Queued, db: TestDatabase
) -> None:
    queued()
    with psycopg.connect(db.conninfo, autocommit=True) as connection:
        connection.execute("LISTEN influxops_queue")
        for state in ("retired", "pending"):
            connection.execute(
                "INSERT INTO influxops.tenants (namespace, tenant, state) "
                "VALUES ('default', %(state)s, %(state)s)",
                {"state": state},
            )
            told = [each.channel for each in connection.notifies(timeout=2, stop_after=1)]
            assert told == (["influxops_queue"] if state == "pending" else [])


def installed(db: TestDatabase) -> list[str]:
    with psycopg.connect(db.conninfo) as connection:
        rows = connection.execute("SELECT step FROM influxops_queue.installed ORDER BY 1")
        return [step for (step,) in rows]


def test_an_older_schema_gets_what_came_since(queued: Queued, db: TestDatabase) -> None:
    cli = queued()
    before = installed(db)
    last = [step for step in before if step.startswith("procrastinate 03.04.00")]
    assert len(last) == 2
    # As it was before these two steps, but for a value of a type, which cannot be taken away.
    db.execute(
        "DROP FUNCTION influxops_queue.procrastinate_retry_job_v2",
        "ALTER TYPE influxops_queue.procrastinate_job_event_type RENAME VALUE 'retried' TO 'was'",
        "DELETE FROM influxops_queue.installed WHERE step LIKE 'procrastinate 03.04.00%'",
    )
    done = cli("queue", "install")
    assert done.code == 0, done.all
    assert [line.removeprefix("installed ") for line in done.lines[:-1]] == last
    assert installed(db) == before


def test_what_workers_look_for_every_few_seconds_is_found_without_reading_all_tenants(
    queued: Queued, db: TestDatabase
) -> None:
    queued()
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, database, target) "
        "SELECT 'default', 't' || n, 'ready', 'd' || n, 'eu1' FROM generate_series(1, 5000) n",
        "ANALYZE influxops.tenants",
    )
    tenants = sql.Identifier("influxops", "tenants")
    with psycopg.connect(db.conninfo) as connection:
        for query in (queries._LEFT_UNCONFIRMED, queries._WAITING):
            asked = sql.SQL("EXPLAIN ") + query.format(tenants=tenants, held=queries._HELD)
            plan = str(connection.execute(asked, {"namespace": "default"}).fetchall())
            assert "Seq Scan on tenants" not in plan, plan


def test_a_newer_schema_is_left_alone(queued: Queued, db: TestDatabase) -> None:
    cli = queued()
    db.execute("INSERT INTO influxops_queue.installed (step) VALUES ('influxops 9999 more')")
    done = cli("queue", "install")
    assert done.code == 1
    assert "is newer than this influxops: it has influxops 9999 more" in done.err
    assert "update influxops" in done.err


def test_installations_at_once_do_no_harm(queued: Queued, db: TestDatabase) -> None:
    db.registry()
    cli = queued()
    steps = installed(db)
    db.execute("DROP SCHEMA influxops_queue CASCADE")
    command = ("queue", "install", "--trigger")
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(cli.running(*command)) for _ in range(3)]
        for process in running:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, out + err
    assert installed(db) == steps


def test_without_a_ledger_it_says_what_to_do(cli: Cli, db: TestDatabase) -> None:
    cli.config('[targets.eu1]\nkind = "influxdb3"\nurl = "http://127.0.0.1:9"\n')
    done = cli("queue", "install")
    assert done.code == 2
    assert "the queue needs a ledger" in done.err
    assert "[ledger]" in done.err


def test_without_the_ledgers_schema_it_says_what_to_do(cli: Cli, db: TestDatabase) -> None:
    cli.config(CONFIG.format(source="", ledger="", url="http://127.0.0.1:9"))
    done = cli("queue", "install")
    assert done.code == 1
    assert "run influxops ledger install first" in done.err
    with psycopg.connect(db.conninfo) as connection:
        there = connection.execute("SELECT to_regnamespace('influxops_queue')").fetchone()
    assert there == (None,)


def test_without_procrastinate_it_says_what_to_install(
    cli: Cli, db: TestDatabase, tmp_path: Path
) -> None:
    cli.config(CONFIG.format(source="", ledger="", url="http://127.0.0.1:9"))
    broken = tmp_path / "without"
    broken.mkdir()
    (broken / "procrastinate.py").write_text("raise ImportError('not here')")
    done = cli("queue", "install", env={"PYTHONPATH": str(broken)})
    assert done.code == 2
    assert re.search(r"pip install .*\[queue\]", done.err)


def test_a_user_who_may_make_no_schema_is_told_so(
    queued: Queued, db: TestDatabase, role: Callable[..., str]
) -> None:
    cli = queued()
    db.execute("DROP SCHEMA influxops_queue CASCADE")
    name = role("GRANT USAGE ON SCHEMA influxops TO {role}")
    done = cli("queue", "install", env={"PG_USER": name, "PG_PASS": "x"})
    assert done.code == 1
    assert "permission denied for database" in done.err
    assert "run it as the user who owns the ledger's schema" in done.err


def test_tenants_and_jobs_of_an_earlier_version_are_done_after_an_upgrade(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    """A tenant that waits, one with a target, and jobs under the names of then."""
    cli = queued(url=stand_in(max_databases=None).url)
    db.registry("acme", "beta")
    ledger_of_version(db, 3)
    queue_before_its_names(db)
    db.execute(
        "INSERT INTO influxops.tenants (namespace, tenant, state, database, target) VALUES "
        "('default', 'acme', 'wanted', '', NULL), "
        "('default', 'beta', 'reserved', 'telemetry_beta', 'eu1')",
        "SET search_path = influxops_queue; INSERT INTO procrastinate_jobs "
        "(queue_name, task_name, lock, queueing_lock, args) VALUES "
        "('default', 'make', 'default/make/eu1', 'default/make/eu1', '{\"target\": \"eu1\"}'), "
        "('default', 'again', 'default/again', 'default/again', '{}')",
    )
    for command in ("ledger", "queue"):
        done = cli(command, "install")
        assert done.code == 0, done.all
    assert states(db) == {"pending": 1, "allocated": 1}
    jobs = (
        "SELECT task_name, lock, queueing_lock FROM influxops_queue.procrastinate_jobs ORDER BY 1"
    )
    assert rows(db, jobs) == [
        ("create_databases", *["default/create_databases/eu1"] * 2),
        ("retry_unplaced", *["default/retry_unplaced"] * 2),
    ]
    with working(cli):
        until(all_ready(db, 2))


def test_a_job_that_an_earlier_version_still_queues_is_done(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    cli = queued(url=stand_in(max_databases=None).url)
    db.execute(
        "SET search_path = influxops_queue; INSERT INTO procrastinate_jobs "
        "(queue_name, task_name, lock, queueing_lock, args) VALUES "
        "('default', 'make', 'default/make/eu1', 'default/make/eu1', '{\"target\": \"eu1\"}')",
    )
    gone = "SELECT count(*) FROM influxops_queue.procrastinate_jobs WHERE task_name = 'make'"
    with working(cli):
        until(lambda: rows(db, gone) == [(0,)])
