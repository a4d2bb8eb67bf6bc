"""Workers among what dies and comes back: nothing is lost, and nothing is made twice."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import pytest
import urllib3

from influxops_devserver.testing import StandIn, running_stand_in
from influxops_queue.worker.health import Health, serve
from influxops_queue.worker.jobs import backoff
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import STUCK, Cli
from tests.integration.proxy import Answer, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase, postgres_server
from tests.queue.conftest import CONFIG, Queued
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

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]

_TENANTS = "SELECT FROM influxops.tenants"
TWO = """
[targets.eu2]
kind = "influxdb3"
url = "{url}"

[placement]
pins = {{late = "eu1", {pins}}}
"""


def installed(cli: Cli) -> None:
    for command in (["ledger", "install"], ["queue", "install", "--trigger"]):
        done = cli(*command)
        assert done.code == 0, done.all


@contextlib.contextmanager
def started_again(server: StandIn, folder: Path) -> Iterator[Influx]:
    with running_stand_in(
        data_dir=folder,
        port=server.port,
        max_databases=None,
        max_tables=None,
    ) as again:
        yield Influx(again.url, "", again)


def test_tenants_that_come_while_influxdb_is_away_are_made_when_it_is_back(
    queued: Queued, db: TestDatabase, tmp_path: Path
) -> None:
    db.registry()
    ids = [f"t{number:03}" for number in range(500)]
    folder = tmp_path / "influxdb"
    with running_stand_in(data_dir=folder, max_databases=None, max_tables=None) as server:
        cli = queued("--trigger", url=server.url)
        with working(cli):
            insert(db, ids[:50])
            until(all_ready(db, 50))
            server.kill()
            for number in range(50, 500, 90):
                insert(db, ids[number : number + 90])
            until(lambda: not rows(db, "SELECT FROM influxops_queue.hints"))
            assert sum(states(db).values()) == 500
            assert states(db)["ready"] == 50
            with started_again(server, folder) as influx:
                until(all_ready(db, 500))
                assert len(influx.databases()) == 500
    check_each_once(db)
    assert jobs_so_far(db) < 60


def test_a_target_that_is_away_holds_up_only_its_own_tenants(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    here, proxy = stand_in(max_databases=None), proxied(stand_in(max_databases=5))
    gone: list[Answer] = [(503, "text/plain", b"out of order")]
    proxy.before = lambda seen: gone[0]
    pins = ", ".join(f't{number} = "eu2"' for number in range(50))
    config = CONFIG.format(source="", ledger="", url=proxy.url)
    cli.config(config + TWO.format(url=here.url, pins=pins))
    installed(cli)
    with working(cli):
        insert(db, ["late"])
        until(lambda: states(db) == {"pending": 1})
        insert(db, [f"t{number}" for number in range(50)])
        until(lambda: states(db) == {"pending": 1, "ready": 50})
        assert len(here.databases()) == 50
        gone[0] = None
        until(all_ready(db, 51))
    check_each_once(db)


def test_what_a_killed_worker_had_in_its_hands_is_made_by_another(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    server = stand_in(max_databases=None, max_tables=None)
    proxy = proxied(server)
    go_on, arrived = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Answer:
        if seen.writes and not go_on.is_set() and len(proxy.writes) > 50:
            arrived.set()
            go_on.wait(STUCK)
        return None

    proxy.before = hold
    cli = queued("--trigger", url=proxy.url)
    try:
        with working(cli) as first:
            insert(db, [f"t{number:04}" for number in range(1_000)])
            assert arrived.wait(STUCK)
            first.process.send_signal(signal.SIGKILL)
            assert first.process.wait(30) == -signal.SIGKILL
        assert server.databases()
        assert "ready" not in states(db)
        with working(cli):
            go_on.set()  # what was on its way when it died arrives as well
            until(all_ready(db, 1_000))
    finally:
        go_on.set()
    assert len(server.databases()) == 1_000
    check_each_once(db)


def test_four_workers_share_the_work_and_make_each_database_once(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    servers = [stand_in(max_databases=None, max_tables=None) for _ in range(2)]
    proxies = [proxied(server) for server in servers]
    policy = '[targets.eu2]\nkind = "influxdb3"\nurl = "{}"\n[placement]\npolicy = "spread"\n'
    config = CONFIG.format(source="", ledger="", url=proxies[0].url)
    cli.config(config + policy.format(proxies[1].url))
    installed(cli)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(working(cli)) for _ in range(4)]
        for first in range(0, 600, 150):
            insert(db, [f"t{number}" for number in range(first, first + 150)])
        until(lambda: any(server.databases() for server in servers), timeout=4 * STUCK)
        workers[0].process.send_signal(signal.SIGKILL)
        workers[0].process.wait(30)
        # What the killed one had claimed is free once its jobs count as stalled. What it created
        # and did not confirm is left to a full run, which these workers do not make.
        there = {"ready", "unconfirmed"}
        until(lambda: states(db).keys() <= there and len(rows(db, _TENANTS)) == 600, 4 * STUCK)
        until(lambda: cli("ensure").code == 0)
        assert states(db) == {"ready": 600}
    found = [server.databases() for server in servers]
    assert len(found[0]) + len(found[1]) == 600
    assert not set(found[0]) & set(found[1])
    check_each_once(db)


def test_what_a_killed_worker_had_not_confirmed_is_left_to_a_full_run_that_comes_soon(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    proxy = proxied(stand_in(max_databases=None))
    cli = queued("--trigger", url=proxy.url)
    planned: LiteralString = (
        "SELECT FROM influxops_queue.procrastinate_jobs WHERE task_name = 'reconcile' AND "
        "status = 'todo' AND scheduled_at "
    )
    with working(cli, "--full-run-every", "1h") as worker:
        until(lambda: rows(db, planned + "> now() + interval '50 min'"))
        no_marker: Answer = (503, "text/plain", b"out of order")
        proxy.before = lambda seen: no_marker if "/write_lp" in seen.path else None
        insert(db, ["acme"])
        until(lambda: states(db) == {"unconfirmed": 1})
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait(30)
    proxy.before = lambda seen: None
    with working(cli, "--full-run-every", "1h"):
        until(lambda: rows(db, "SELECT FROM influxops_queue.procrastinate_workers"))
        assert rows(db, planned + "> now() + interval '50 min'")
        db.execute("UPDATE influxops.tenants SET state_since = state_since - interval '1 min'")
        until(lambda: rows(db, planned + "< now() + interval '31 s'"))
        db.execute(
            "SET search_path = influxops_queue",
            "UPDATE influxops_queue.procrastinate_jobs SET scheduled_at = now()",
        )
        until(all_ready(db, 1))
    check_each_once(db)


def test_workers_go_on_after_a_restart_of_postgres(tmp_path: Path, stand_in: GiveStandIn) -> None:
    server = stand_in(max_databases=None, max_tables=None)
    with postgres_server() as postgres:
        db = TestDatabase(postgres, postgres.database)
        db.registry()
        cli = Cli(tmp_path, db.environment)
        cli.config(CONFIG.format(source="", ledger="", url=server.url))
        installed(cli)
        with working(cli) as worker:
            insert(db, [f"t{number}" for number in range(300)])
            until(server.databases)
            restart = ("restart", "-D", str(postgres.data_dir), "-m", "immediate", "-w")
            postgres.run("pg_ctl", *restart, "-l", str(postgres.work_dir / "again"))
            until(lambda: states(db).get("ready") == 300)
            insert(db, ["after"])
            until(all_ready(db, 301))
            code, said = worker.end(signal.SIGTERM)
        assert code == 0
        assert "retrying automatically" in said
        assert len(server.databases()) == 301
        check_each_once(db)


def test_who_cannot_be_made_is_told_once_and_shown(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, tmp_path: Path
) -> None:
    db.registry()
    server = stand_in(max_databases=1)
    path = tmp_path / "report.json"
    config = CONFIG.format(source="", ledger="", url=server.url)
    reporter = f'[reporters.file]\nkind = "json"\npath = "{path}"\n'
    cli.config(f"{config}capacity = 1\n{reporter}")
    installed(cli)
    with working(cli) as worker:
        insert(db, ["acme"])
        until(all_ready(db, 1))
        insert(db, ["beta"])
        reason = until(lambda: rows(db, "SELECT error FROM influxops.tenants WHERE error <> ''"))
        assert "no free slot" in reason[0][0]
        until(path.exists)
        told = json.loads(path.read_text())
        for _ in range(2):
            assert cli("queue", "retry", "beta").code == 0
            until(lambda: not rows(db, "SELECT FROM influxops_queue.hints"))
        worker.end(signal.SIGTERM)
    assert "no free slot" in json.dumps(told)
    assert [tenant["tenant"] for tenant in told["tenants"]] == ["beta"]
    assert json.loads(path.read_text())["run"] == told["run"]
    shown = cli("status")
    assert "no free slot" in shown.all
    state = cli("queue", "status")
    assert state.code == 1
    assert "beta: " in state.err
    assert "no free slot" in state.err
    assert "no worker is alive" in state.err


def test_what_many_tenants_share_is_said_once(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    config = CONFIG.format(source="", ledger="", url=stand_in(max_databases=1).url)
    cli.config(f"{config}capacity = 1\n")
    installed(cli)
    insert(db, ["acme", *(f"t{number:03}" for number in range(60))])
    with working(cli) as worker:
        until(
            lambda: rows(db, "SELECT count(*) FROM influxops.tenants WHERE error <> ''") == [(60,)]
        )
        _, said = worker.end(signal.SIGTERM)
    assert 1 <= said.count("no free slot") < 10
    assert re.search(r"\d+ tenants \(t\d+, t\d+, t\d+ and \d+ more\): no free slot", said)
    for command in (("status",), ("queue", "status")):
        lines = [line for line in cli(*command).err.splitlines() if "no free slot" in line]
        assert len(lines) == 1, lines
    assert cli("plan").out.count("no free slot") == 1


def test_a_worker_answers_health_checks_and_prometheus(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    cli = queued("--trigger", url=stand_in(max_databases=None).url)
    with working(cli, listens=True) as worker:
        insert(db, ["acme"])
        until(all_ready(db, 1))

        def metrics() -> str:
            return urllib3.request("GET", f"{worker.url}/metrics").data.decode()

        until(lambda: "influxops_queue_ready_seconds_count 1.0" in metrics())
        until(lambda: 'influxops_queue_waiting_tenants{state="allocated"} 0.0' in metrics())
        until(lambda: "influxops_queue_hints 0.0" in metrics())
        answer = urllib3.request("GET", f"{worker.url}/healthz")
        assert (answer.status, answer.data) == (200, b"ok\n")


def test_a_worker_that_cannot_read_the_ledger_any_more_is_not_healthy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    health = Health()
    health.problems["the ledger's database"] = "connection refused"
    server = serve(health, "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/healthz"
        assert urllib3.request("GET", url).status == 200
        monkeypatch.setattr("influxops_queue.worker.health._STALE", 0.0)
        answer = urllib3.request("GET", url, retries=False)
        assert answer.status == 503
        assert answer.data.decode() == (
            "the ledger was last read 0 s ago: the ledger's database: connection refused\n"
        )
    finally:
        server.shutdown()
        server.server_close()


def test_a_ledger_that_is_gone_is_told_in_the_servers_words_and_waited_for(
    queued: Queued, db: TestDatabase
) -> None:
    db.registry()
    with working(queued()) as worker:
        until(lambda: rows(db, "SELECT FROM influxops_queue.procrastinate_workers"))
        db.execute("ALTER SCHEMA influxops RENAME TO away")
        assert worker.line() == (
            'WARNING the ledger\'s database: relation "influxops.tenants" does not exist; '
            "retrying automatically\n"
        )
        db.execute("ALTER SCHEMA away RENAME TO influxops")
        assert worker.line() == "WARNING the ledger's database: all is well again\n"


def test_one_of_the_workers_makes_full_runs(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    cli = queued(url=server.url)
    with working(cli, "--full-run-every", "1h"), working(cli, "--full-run-every", "1h"):
        until(all_ready(db, 1))
        full = (
            "SELECT status::text FROM influxops_queue.procrastinate_jobs WHERE "
            "task_name='reconcile'"
        )
        until(lambda: rows(db, full) == [("todo",)])
    runs = rows(db, "SELECT DISTINCT run FROM influxops.history")
    assert len(runs) == 1
    assert server.databases() == ["telemetry_acme"]


def test_full_runs_drop_what_is_due(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta", "gamma")
    server = stand_in(max_databases=None)
    cli = queued(url=server.url)
    assert cli("ensure").code == 0
    db.execute("DELETE FROM device_registry WHERE tenant_id IN ('beta', 'gamma')")
    assert cli("retire", "beta", "gamma", "--after", "1s", "--allow", "mass-change").code == 0
    server.write("telemetry_gamma", "m,host=h value=1")  # somebody still writes to it
    with working(cli, "--full-run-every", "2s"):
        until(lambda: states(db) == {"ready": 1, "retired": 1, "retiring": 1})
    assert server.databases() == ["telemetry_acme", "telemetry_gamma"]


def test_an_unexpected_answer_is_tried_again(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    proxy = proxied(server)
    failures = iter(range(3))

    def fail(seen: Seen) -> Answer:
        if seen.writes and next(failures, None) is not None:
            return (500, "text/plain", b"no")
        return None

    proxy.before = fail
    cli = queued("--trigger", url=proxy.url)
    with working(cli):
        insert(db, ["acme"])
        until(all_ready(db, 1))
    assert server.databases() == ["telemetry_acme"]


def test_hints_stay_while_the_registry_cannot_be_read(
    queued: Queued, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    cli = queued("--trigger", url=server.url)
    db.execute("ALTER TABLE device_registry RENAME TO elsewhere")
    with working(cli) as worker:
        db.execute("INSERT INTO elsewhere (tenant_id) VALUES ('acme')")
        said = worker.line()
        assert "looking tenants up: source:registry" in said
        assert said.rstrip().endswith("retrying automatically")
        assert rows(db, "SELECT tenant FROM influxops_queue.hints") == [("acme",)]
        db.execute("ALTER TABLE elsewhere RENAME TO device_registry")
        until(all_ready(db, 1))
        code, said = worker.end(signal.SIGTERM)
    assert code == 0
    assert "looking tenants up: all is well again" in said
    assert server.databases() == ["telemetry_acme"]


def test_a_job_that_comes_due_is_begun_though_nothing_notifies_of_that(
    queued: Queued, db: TestDatabase
) -> None:
    db.registry()
    cli = queued()
    with working(cli):
        until(lambda: "workers: 1 alive" in cli("queue", "status").out)
        db.execute(
            "SET search_path = influxops_queue",
            "INSERT INTO influxops_queue.procrastinate_jobs (queue_name, task_name, lock, "
            "queueing_lock, args, scheduled_at) VALUES ('default', 'retry_unplaced', "
            "'default/retry_unplaced', 'default/retry_unplaced', '{\"tries\": 0}', "
            "now() + interval '1s')",
        )
        until(lambda: not rows(db, "SELECT id FROM influxops_queue.procrastinate_jobs"))


def test_what_fails_is_tried_again_less_and_less_often_but_four_times_a_minute() -> None:
    for tries, longest in ((0, 0.5), (1, 1.0), (2, 2.0), (5, 15.0), (10_000, 15.0)):
        assert all(longest / 2 <= backoff(tries) <= longest for _ in range(100))
