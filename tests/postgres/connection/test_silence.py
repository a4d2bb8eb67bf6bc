"""A server, or a pooler in between, that says nothing after the login: each wait has a limit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from influxops.plugin import InfluxopsError, Record, RunContext, State
from influxops_devserver.testing import StandIn
from influxops_postgres import PostgresSettings
from influxops_postgres.connection import settings
from influxops_postgres.ledger.transaction import installing
from tests.integration.command import Cli
from tests.line_proxy import LineProxy, line_proxy
from tests.pg import TestDatabase
from tests.pgbouncer import pgbouncer
from tests.postgres.conftest import MakeLedger, MakeSource, where
from tests.postgres.connection.test_hanging import stand_in

pytestmark = pytest.mark.faults

__all__ = ["stand_in"]

#: What a statement may take by the server's clock, in seconds, and an answer by ours.
ALLOWED, LIMIT = "0.5", 1.0
#: Seconds that a busy machine may need beside.
SLACK = 20.0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_SLACK", LIMIT - float(ALLOWED))


@pytest.fixture
def proxy(database: TestDatabase) -> Iterator[LineProxy]:
    with line_proxy(database.server.port) as proxy:
        yield proxy


@contextlib.contextmanager
def given_up(text: str = "no answer within 1 s") -> Iterator[None]:
    """See that the block ends with an error that says so, in time."""
    began = time.monotonic()
    with pytest.raises(InfluxopsError) as caught:
        yield
    assert time.monotonic() - began < LIMIT + SLACK
    assert text in caught.value.message
    assert "pooler in between" in str(caught.value.remedy)


def source_reads(make_source: MakeSource, make_ledger: MakeLedger, **values: object) -> None:
    list(make_source(**values).influxops_tenants(RunContext()))


def source_looks_up(make_source: MakeSource, make_ledger: MakeLedger, **values: object) -> None:
    list(make_source(**values).influxops_get_tenants(["acme"], RunContext()))


def source_locks(make_source: MakeSource, make_ledger: MakeLedger, **values: object) -> None:
    with make_source(**values).influxops_lock(RunContext()):
        pass


def ledger_reads(make_source: MakeSource, make_ledger: MakeLedger, **values: object) -> None:
    make_ledger(**values).influxops_load_records(None, RunContext())


def ledger_writes(make_source: MakeSource, make_ledger: MakeLedger, **values: object) -> None:
    make_ledger(**values).influxops_claim([Record("acme", State.PENDING)], RunContext())


def ledger_lives(make_source: MakeSource, make_ledger: MakeLedger, **values: object) -> None:
    with make_ledger(**values).influxops_session(RunContext()):
        pass


WAYS = [source_reads, source_looks_up, source_locks, ledger_reads, ledger_writes, ledger_lives]
Way = Callable[..., None]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_is_silent_after_the_login_is_given_up(
    database: TestDatabase, make_source: MakeSource, make_ledger: MakeLedger, proxy: LineProxy,
    way: Way,
) -> None:  # fmt: skip
    database.registry("acme")
    proxy.silent_at = b"BEGIN"
    with given_up():
        way(make_source, make_ledger, port=str(proxy.port), statement_timeout=ALLOWED)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mode", ["session", "transaction"])
@pytest.mark.parametrize("way", WAYS)
def test_a_pooler_without_a_free_connection_is_given_up(
    database: TestDatabase, make_source: MakeSource, make_ledger: MakeLedger, mode: str, way: Way
) -> None:
    database.registry("acme")
    with pgbouncer(database, mode, size=1) as bouncer, psycopg.connect(bouncer.conninfo) as taken:
        taken.execute("SELECT 1")
        with given_up():
            way(make_source, make_ledger, port=str(bouncer.port), statement_timeout=ALLOWED)


def test_what_a_pooler_says_itself_comes_with_what_to_do(
    database: TestDatabase, make_source: MakeSource, make_ledger: MakeLedger
) -> None:
    database.registry("acme")
    assert list(installing(make_ledger().settings, RunContext()))
    with pgbouncer(database, "statement") as bouncer:
        for way in WAYS:
            with given_up("statement pooling mode"):
                way(make_source, make_ledger, port=str(bouncer.port))
    with (
        pgbouncer(database, "transaction", size=1, patience=1) as bouncer,
        psycopg.connect(bouncer.conninfo) as taken,
    ):
        taken.execute("SELECT 1")
        with given_up("query_wait_timeout"):
            source_reads(make_source, make_ledger, port=str(bouncer.port))


@pytest.mark.usefixtures("quick")
def test_a_kept_connection_that_fell_silent_is_replaced(
    database: TestDatabase, make_ledger: MakeLedger, proxy: LineProxy
) -> None:
    ledger = make_ledger(port=str(proxy.port), statement_timeout="20")
    assert list(installing(ledger.settings, RunContext()))
    for _ in range(2):  # two of them are kept
        with ledger.influxops_session(RunContext()):
            ledger.influxops_load_records(None, RunContext())
    assert proxy.fall_silent() >= 2
    began = time.monotonic()
    with ledger.influxops_session(RunContext()):
        ledger.influxops_load_records(None, RunContext())
    assert time.monotonic() - began < 3 + SLACK  # one is asked, the others are not


def test_a_run_ends_in_time_where_the_registry_is_silent_after_the_login(
    database: TestDatabase, proxy: LineProxy, stand_in: StandIn, tmp_path: Path
) -> None:
    database.registry("acme")
    cli = Cli(tmp_path, {**database.environment, "PG_PORT": str(proxy.port)})
    cli.config(
        '[sources.registry]\nkind = "postgres"\nstatement_timeout = 0.5\n'
        f'[targets.eu1]\nkind = "influxdb3"\nurl = "{stand_in.url}"\n'
    )
    proxy.silent_at = b"REPEATABLE READ"
    began = time.monotonic()
    done = cli("plan")
    assert time.monotonic() - began < 5.5 + SLACK
    assert done.code == 1, done.all
    assert "no answer within 5.5 s" in done.all
    assert "a pooler in between may have no free connection" in done.all


def test_keepalives_notice_a_server_that_is_gone_unless_they_are_configured(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = PostgresSettings.parse(where(database), as_text=where(database))
    assert made.keywords()["tcp_user_timeout"] == 50_000
    assert made.keywords()["keepalives_idle"] == 20
    own = PostgresSettings.parse({"dsn": "host=localhost keepalives_idle=7 tcp_user_timeout=0"})
    assert own.keywords()["keepalives_idle"] == "7"
    assert own.keywords()["tcp_user_timeout"] == "0"
    monkeypatch.setenv("PGSERVICE", "registry")  # its file may say so, and would lose
    assert made.parameters().keepalives == {}
