"""Processes: what one forgot when it was killed, forks, and the end of an interpreter."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from influxops_devserver.testing import running_stand_in
from influxops_postgres.connection.connection import Connection
from tests.conftest import GiveStandIn, StartProxy
from tests.integration.command import Cli
from tests.integration.proxy import Answer, Seen
from tests.integration.servers import Influx
from tests.pg import TestDatabase
from tests.provisioner.conftest import Provide, configured, insert, until

pytestmark = pytest.mark.stand_in


@contextlib.contextmanager
def application(cli: Cli, code: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of an application in a process of its own."""
    script = cli.folder / "application.py"
    script.write_text(textwrap.dedent(code))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=cli.folder,
        stdin=subprocess.PIPE,
        env={**cli.environment(None), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def test_importing_influxops_stays_cheap() -> None:
    code = (
        "import sys, influxops; heavy = {'psycopg', 'urllib3', 'pluggy', 'asyncio', 'msgspec'}; "
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys(); "
        "from influxops import Provisioner, EnsureResult, InvalidRequest"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("ledger", [False, True], ids=["request", "in its transaction"])
def test_an_application_killed_right_after_its_commit_loses_nothing(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, ledger: bool
) -> None:
    db.registry()
    server = stand_in(max_databases=None)
    configured(cli, {"eu1": server}, ledger=ledger)
    create = f"""
        import os, signal, psycopg
        from influxops import Provisioner
        made = Provisioner.from_config(full_runs=None)
        with psycopg.connect(os.environ["CONNINFO"]) as connection:
            connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('acme')")
            if {ledger}:
                assert made.enqueue("acme", connection).reason.startswith("noted")
        if not {ledger}:
            made.submit("acme")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = Cli(cli.folder, {**cli.variables, "CONNINFO": db.conninfo})
    with application(killed, create) as process:
        assert process.wait(30) == -9
    assert server.databases() == []
    assert (not ledger) or recorded(db) == {"acme": "pending"}
    start = """
        import sys
        from influxops import Provisioner
        with Provisioner.from_config():
            sys.stdin.read()
    """
    with application(cli, start):
        until(lambda: server.databases() == ["telemetry_acme"])
        until(lambda: server.markers("telemetry_acme") == 1)
        until(lambda: not ledger or recorded(db) == {"acme": "ready"})


@pytest.mark.parametrize("ending", ["killed", "closed"])
def test_what_could_not_be_made_outlives_the_application_in_the_ledger(
    cli: Cli, db: TestDatabase, ending: str
) -> None:
    db.registry("acme", "beta", "gamma")
    configured(cli, {"eu1": "http://127.0.0.1:1"}, ledger=True)
    code = f"""
        from influxops import Provisioner
        made = Provisioner.from_config(full_runs=None, timeout=5.0)
        print(made.ensure("acme").status, made.submit("beta"), made.ensure("unheard-of").status)
        if {ending == "closed"}:
            made.submit("gamma")
            made.close(timeout=20.0)
        input()
    """
    with application(cli, code) as process:
        assert process.stdout is not None
        told = process.stdout.readline().split()
        assert told == ["queued", "True", "queued"]
        there = ["acme", "beta"] + (["gamma"] if ending == "closed" else [])
        until(lambda: recorded(db) == dict.fromkeys(there, "pending"))
        process.kill()


def recorded(db: TestDatabase) -> dict[str, str]:
    """Give the state of each tenant that the ledger has."""
    with psycopg.connect(db.conninfo) as connection:
        return dict(connection.execute("SELECT tenant, state FROM influxops.tenants").fetchall())


def test_a_provisioner_may_be_made_before_a_fork(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    ids = [f"t{number}" for number in range(8)]
    db.registry(*ids, "parent")
    server = stand_in(max_databases=None)
    configured(cli, {"eu1": server})
    code = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from influxops import Provisioner
        made = Provisioner.from_config(timeout=20.0)
        assert made.ensure("parent").is_ready
        children = []
        for number in range(8):
            child = os.fork()
            if child == 0:
                found = made.ensure(f"t{number}")
                known = made.ensure("parent")
                made.close()
                os._exit(0 if found.is_ready and known.status == "existing" else 1)
            children.append(child)
        codes = [os.waitpid(child, 0)[1] for child in children]
        assert made.ensure("parent").is_ready
        print(codes)
    """
    with application(cli, code) as process:
        out, err = process.communicate(timeout=60)
    assert (out.strip(), err) == (str([0] * 8), "")
    assert len(server.databases()) == 9


@pytest.mark.parametrize("ending", ["", "made.close()", "raise SystemExit(0)"])
def test_an_interpreter_ends_though_a_server_hangs(
    cli: Cli, db: TestDatabase, stand_in: GiveStandIn, proxied: StartProxy, ending: str
) -> None:
    db.registry("acme")
    proxy = proxied(stand_in(max_databases=None))
    go_on, arrived = threading.Event(), threading.Event()

    def hold(seen: Seen) -> Answer:
        arrived.set()
        go_on.wait(60)
        return 503, "text/plain", b"nobody waits for it, and the next test has this server"

    proxy.before = hold
    configured(cli, {"eu1": proxy})
    code = f"""
        from influxops import Provisioner
        made = Provisioner.from_config(timeout=30.0)
        made.submit("acme")
        input()
        print("ends", flush=True)
        {ending}
    """
    script = textwrap.dedent(code)
    try:
        with application(cli, script) as process:
            assert arrived.wait(30)
            out, err = process.communicate("\n", timeout=15)
        assert (process.returncode, out, err) == (0, "ends\n", "")
    finally:
        go_on.set()


def test_full_runs_create_and_complete_and_do_nothing_else(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme", "beta", "gamma")
    server = stand_in(max_databases=None)
    server.create("telemetry_acme", retention_period="7d")
    server.write("telemetry_acme", "_init value=1i")
    server.create("telemetry_beta", retention_period="30d")
    made = provide(
        targets={"eu1": server}, extra='[database]\nretention = "30d"\n', full_runs=300.0
    )
    made.start()
    until(lambda: "telemetry_gamma" in server.databases())
    until(lambda: len(server.rows("_internal", _MARKED)) == 3)
    assert server.retention("telemetry_acme") == 7 * 86_400
    assert server.retention("telemetry_gamma") == 30 * 86_400


_MARKED = "SELECT table_name FROM system.tables WHERE table_name = '_init' AND deleted = false"


def test_full_runs_go_on_and_say_what_has_changed(
    provide: Provide, db: TestDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    db.registry("acme")
    caplog.set_level(logging.INFO, "influxops")
    with running_stand_in(max_databases=None, wal_flush_interval="50ms") as server:
        made = provide(targets={"eu1": server.url}, full_runs=0.3)
        made.start()
        until(lambda: any("1 database made" in r.message for r in caplog.records))
        insert(db, "beta")
        until(lambda: "telemetry_beta" in Influx(server.url).databases())
        server.kill()
        until(lambda: any("eu1" in r.message for r in caplog.records))
        time.sleep(1.0)
    told = [r.message for r in caplog.records if "full run" in r.message and "eu1" in r.message]
    assert len(told) == 1


def test_one_process_at_a_time_makes_full_runs_of_a_ledger(
    provide: Provide, cli: Cli, db: TestDatabase, stand_in: GiveStandIn
) -> None:
    db.registry("acme")
    server = stand_in(max_databases=None)
    first, second = (provide(targets={"eu1": server}, ledger=True, full_runs=0.2) for _ in range(2))
    first.start()
    until(lambda: server.databases())
    second.start()
    until(lambda: gates(db) == 1)
    first.close(0.0)
    insert(db, "beta")
    until(lambda: "telemetry_beta" in server.databases())


def gates(db: TestDatabase) -> int:
    with psycopg.connect(db.superuser_conninfo) as connection:
        row = connection.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND datname = current_database() "
            "AND application_name = 'influxops application'"
        ).fetchone()
        assert row is not None
        return int(row[0])


def test_its_threads_end_with_it(provide: Provide, db: TestDatabase, stand_in: GiveStandIn) -> None:
    db.registry("acme")
    made = provide(targets={"eu1": stand_in(max_databases=None)}, full_runs=300.0)
    with made:
        assert made.ensure("acme").is_ready
    assert made.ensure("acme").status == "existing"
    assert made.ensure("beta").status == "queued"
    assert made.submit("beta") is False
    with contextlib.suppress(AssertionError):
        until(lambda: not influxops_threads())
    assert influxops_threads() == []


def test_connections_serve_the_next_tenants_and_are_let_go_when_none_comes(
    provide: Provide, db: TestDatabase, stand_in: GiveStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"t{number}" for number in range(10)]
    db.registry(*ids)
    made = provide(targets={"eu1": stand_in(max_databases=None)}, ledger=True)
    connect, opened = Connection.connect, []

    def counted(*arguments: Any, **keywords: Any) -> Connection:
        opened.append(1)
        return connect(*arguments, **keywords)

    monkeypatch.setattr(Connection, "connect", counted)
    assert {made.ensure(id_).status for id_ in ids} == {"created"}
    assert 0 < len(opened) < 2 * len(ids)
    assert connections(db) > 0
    monkeypatch.setattr("influxops.provisioner.engine_pool.IDLE", 0.1)
    assert made.ensure("t0", target="eu1").status == "existing"
    assert made.locate("unheard-of").status == "failed"
    made.ensure("another")
    until(lambda: connections(db) == 0)
    insert(db, "later")
    assert made.ensure("later").status == "created"


def connections(db: TestDatabase) -> int:
    """Count those of influxops to the test's database."""
    with psycopg.connect(db.superuser_conninfo) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name LIKE 'influxops%'"
        ).fetchone()
        assert row is not None
        return int(row[0])


def influxops_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("influxops-")]
