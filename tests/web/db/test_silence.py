"""What commands of the service do where PostgreSQL, or a pooler in between, says nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from influxops.config.load import load_config
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError, Interrupted
from influxops.runtime.context import RunContext
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_postgres.connection.commit import confirmed
from influxops_web.db.connect import DatabaseLocation, connect, locate_database
from tests.integration.command import Cli
from tests.line_proxy import line_proxy
from tests.pg import TestDatabase, new_database
from tests.pg_proxy import Then, pg_proxy
from tests.pgbouncer import pgbouncer
from tests.web.conftest import write_config

#: Seconds that a busy machine may need.
SLACK = 20.0


@pytest.fixture
def db(postgres: EmbeddedPostgres) -> Iterator[TestDatabase]:
    with new_database(postgres) as db:
        yield db


def location(folder: Path, conninfo: str, monkeypatch: pytest.MonkeyPatch) -> DatabaseLocation:
    """The location of the service's database, as a configuration with this string has it."""
    monkeypatch.setenv("DSN", conninfo)
    cli = Cli(folder, {})
    write_config(cli, "http://127.0.0.1:9")
    config = folder / "influxops.toml"
    quick = 'table = "tenants"\nstatement_timeout = 0.5\n'
    config.write_text(config.read_text().replace('table = "tenants"\n', quick))
    with Engine(load_config(config)) as engine:
        return locate_database(engine)


def test_a_command_gives_up_a_server_that_gives_no_first_answer(
    tmp_path: Path, db: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(line_proxy(db.server.port))
        proxy.silent_at = b"SELECT"
        silent = psycopg.conninfo.make_conninfo(db.conninfo, port=proxy.port)
        bouncer = stack.enter_context(pgbouncer(db, "transaction", size=1))
        stack.enter_context(psycopg.connect(bouncer.conninfo)).execute("SELECT 1")
        for conninfo in (silent, bouncer.conninfo):
            began = time.monotonic()
            with (
                pytest.raises(InfluxopsError) as caught,
                connect(location(tmp_path, conninfo, monkeypatch), RunContext()),
            ):
                pass
            assert time.monotonic() - began < SLACK
            assert "no answer within 5.5 s" in caught.value.message
            assert "a pooler in between" in str(caught.value.remedy)


def test_a_server_that_falls_silent_keeps_no_command_beyond_its_time(
    tmp_path: Path, db: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with line_proxy(db.server.port) as proxy:
        proxy.silent_at = b"version"
        there = psycopg.conninfo.make_conninfo(db.conninfo, port=proxy.port)
        began = time.monotonic()
        with (
            pytest.raises(Interrupted),
            connect(location(tmp_path, there, monkeypatch), RunContext(timeout=2)) as connection,
        ):
            connection.execute("SELECT version()")
        assert time.monotonic() - began < 2 + SLACK


def test_a_command_that_is_ended_at_its_commit_does_not_know_whether_that_was_done(
    tmp_path: Path, db: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = RunContext()
    with pg_proxy(db.server.port) as proxy:
        proxy.before = lambda query, pid: Then.LOSE_ANSWER if query == "COMMIT" else Then.PASS_ON
        proxy.after = context.cancel
        there = location(tmp_path, proxy.conninfo(db), monkeypatch)
        with (
            pytest.raises(Interrupted, match="whether it was is not known"),
            connect(there, context) as connection,
            confirmed(connection),
        ):
            connection.execute("CREATE TABLE made ()")


def test_a_connection_that_breaks_in_a_command_says_why(
    tmp_path: Path, db: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pg_proxy(db.server.port) as proxy:
        proxy.before = lambda query, pid: Then.CUT if "version" in query else Then.PASS_ON
        there = location(tmp_path, proxy.conninfo(db), monkeypatch)
        with (
            pytest.raises(InfluxopsError, match=": consuming input failed: "),
            connect(there, RunContext()) as connection,
        ):
            connection.execute("SELECT version()")
