"""What can be wrong with the ledger: one clear line each, with what to do, and nothing lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import sql

from influxops.plugin import (
    Check,
    ConfigError,
    DeadlineExceeded,
    Event,
    HistoryEntry,
    HistoryQuery,
    Interrupted,
    LedgerError,
    LedgerUpdate,
    Record,
    RunContext,
    Server,
    State,
)
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_postgres import PostgresLedger
from influxops_postgres.ledger import transaction
from influxops_postgres.ledger.errors import RIGHTS
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeLedger
from tests.postgres.source.test_standby import _catch_up

DOCS = Path(__file__).parents[3] / "docs" / "ledger.md"


def a_place(tenant: str, version: int = 0) -> Record:
    return Record(tenant, State.ALLOCATED, f"telemetry_{tenant}", "eu1", version=version)


WRITING = LedgerUpdate(
    (a_place("acme"),),
    (Server("eu1", "uuid-1"),),
    {"old": "new"},
    frozenset({"registry"}),
    (HistoryEntry(Event.CREATED, "acme"),),
)


def checked(ledger: PostgresLedger) -> dict[str, Check]:
    return {check.name: check for check in ledger.influxops_check(RunContext())}


def a_whole_run(ledger: PostgresLedger) -> None:
    """Call every hook as a run does."""
    context = RunContext()
    with ledger.influxops_session(context):
        ledger.influxops_load_records(None, context)
        ledger.influxops_commit(WRITING, context)
        (there,) = ledger.influxops_load_records(["acme"], context).records.values()
        (taken,) = ledger.influxops_claim([there], context)
        (left,) = ledger.influxops_commit(LedgerUpdate((taken,)), context)
        ledger.influxops_commit(LedgerUpdate(forgotten=(left,)), context)
        assert ledger.influxops_load_records(None, context).records == {}
        assert ledger.influxops_history(HistoryQuery(), context)


@pytest.fixture
def worker(
    ledger: PostgresLedger, database: TestDatabase, make_ledger: MakeLedger
) -> Iterator[PostgresLedger]:
    """A ledger for a role that has just the rights that are documented, on tables of another's."""
    role = sql.Identifier(f"worker_{database.name}")
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'worker'").format(role))
        # Not even what everybody has.
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database.name))
        )
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(database.name), role
            )
        )
        (grants,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
        connection.execute(grants.replace("worker", f"worker_{database.name}").encode())
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PGPASSWORD", "worker")
                yield make_ledger(user=f"worker_{database.name}")
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_the_documented_rights_are_enough_for_a_run(worker: PostgresLedger) -> None:
    a_whole_run(worker)
    checks = checked(worker)
    assert all(check.ok for check in checks.values()), checks
    assert "may read and write the ledger" in checks["rights"].message


@pytest.mark.parametrize(
    ("right", "on"),
    [(right, f"influxops.{table}") for table, rights in RIGHTS.items() for right in rights]
    + [("USAGE", "SCHEMA influxops")],
)
def test_each_missing_right_is_named_with_the_statement_that_grants_it(
    worker: PostgresLedger, database: TestDatabase, right: str, on: str
) -> None:
    role = f"worker_{database.name}"
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        connection.execute(f"REVOKE {right} ON {on} FROM {role}".encode())
        with pytest.raises(LedgerError) as caught:
            a_whole_run(worker)
        grant = f"GRANT {right} ON {on} TO {role}".replace("influxops", '"influxops"', 1)
        grant = grant.replace(role, f'"{role}"')
        assert "lacks rights on the ledger" in caught.value.message
        assert f"{right} ON" in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint == grant
        found = checked(worker)
        assert found["rights"].ok is False
        assert str(found["rights"].hint) == grant
        connection.execute(grant.encode())
    a_whole_run(worker)


def test_who_may_not_make_a_schema_is_told_what_a_dba_can_run(
    make_ledger: MakeLedger, database: TestDatabase, worker: PostgresLedger
) -> None:
    database.execute("DROP SCHEMA influxops CASCADE")
    with pytest.raises(LedgerError, match="cannot be installed: permission denied") as caught:
        list(transaction.installing(worker.settings, RunContext()))
    assert "influxops ledger install --sql" in caught.value.hint


def test_a_plan_reads_the_ledger_on_a_standby_and_a_write_says_why_not(
    ledger: PostgresLedger,
    standby: EmbeddedPostgres,
    make_ledger: MakeLedger,
    database: TestDatabase,
) -> None:
    context = RunContext()
    with ledger.influxops_session(context):
        ledger.influxops_claim([a_place("acme")], context)
    ledger.influxops_commit(LedgerUpdate((a_place("globex"),), entries=WRITING.entries), context)
    _catch_up(database.server, standby)
    copy = make_ledger(port=standby.port)
    records = copy.influxops_load_records(None, RunContext()).records
    # Which runs live cannot be seen from there: what a run has claimed is left alone.
    assert {each.tenant: each.is_claimed for each in records.values()} == {
        "acme": True,
        "globex": False,
    }
    assert len(list(copy.influxops_history(HistoryQuery(), RunContext()))) == 1
    writes: tuple[Callable[[], object], ...] = (
        lambda: copy.influxops_commit(WRITING, RunContext()),
        lambda: copy.influxops_claim([a_place("acme")], RunContext()),
    )
    for write in writes:
        with pytest.raises(LedgerError, match=r"is a standby.*nothing was written"):
            write()
    with (
        pytest.raises(LedgerError, match="a standby holds no locks"),
        copy.influxops_session(RunContext()),
    ):
        pass
    found = checked(copy)
    assert found["role"].ok is False
    assert "plans can read it" in found["role"].message


def test_a_user_whose_transactions_are_read_only_is_told_so(
    ledger: PostgresLedger, database: TestDatabase
) -> None:
    database.execute("ALTER ROLE iot SET default_transaction_read_only = on", superuser=True)
    try:
        assert ledger.influxops_load_records(None, RunContext()).records == {}
        with pytest.raises(LedgerError, match=r"can only be read here.*nothing was written"):
            ledger.influxops_commit(WRITING, RunContext())
        assert checked(ledger)["role"].ok is False
    finally:
        database.execute("ALTER ROLE iot RESET ALL", superuser=True)


@pytest.mark.parametrize(
    ("constraint", "edit", "says"),
    [
        ("state_is_known", "state = 'broken'", "has an unknown state, 'broken'"),
        ("target_is_set", "target = NULL", "has the state ready, and no target"),
        ("target_is_set", "database = ''", "has the state ready, and no database"),
    ],
)
def test_a_row_that_was_edited_into_nonsense_is_named(
    ledger: PostgresLedger,
    database: TestDatabase,
    constraint: LiteralString,
    edit: LiteralString,
    says: str,
) -> None:
    ready = replace(a_place("acme"), state=State.READY)
    ledger.influxops_commit(LedgerUpdate((ready, a_place("globex"))), RunContext())
    update: LiteralString = f"UPDATE influxops.tenants SET {edit} WHERE tenant = 'acme'"
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute(update)
    database.execute(f"ALTER TABLE influxops.tenants DROP CONSTRAINT {constraint}", update)
    with pytest.raises(LedgerError) as caught:
        ledger.influxops_load_records(None, RunContext())
    assert f"the record of 'acme' {says}" in caught.value.message
    assert "correct its row in influxops.tenants" in caught.value.hint
    assert "globex" in ledger.influxops_load_records(["globex"], RunContext()).records


def test_a_time_without_end_is_refused_by_the_table(
    ledger: PostgresLedger, database: TestDatabase
) -> None:
    ledger.influxops_commit(LedgerUpdate((a_place("acme"),)), RunContext())
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute("UPDATE influxops.tenants SET drop_after = 'infinity'")


def test_a_server_that_is_away_and_a_wrong_password_are_told(
    ledger: PostgresLedger, make_ledger: MakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_ledger(port=1)
    monkeypatch.setenv("LEDGER_PASSWORD", "wrong-secret")
    refused = make_ledger(password={"env": "LEDGER_PASSWORD"})
    for each, says in ((away, "refused"), (refused, "password authentication failed")):
        for hook in (each.influxops_claim, each.influxops_session, each.influxops_load_records):
            call: Any = hook
            with pytest.raises(LedgerError, match=says) as caught:
                if hook == each.influxops_session:
                    with call(RunContext()):
                        pass
                elif hook == each.influxops_load_records:
                    call(None, RunContext())
                else:
                    call([a_place("acme")], RunContext())
            assert "wrong-secret" not in str(caught.value)
            assert caught.value.hint
        assert checked(each)["connection"].ok is False


def test_the_default_password_stays_on_this_machine(make_ledger: MakeLedger) -> None:
    with pytest.raises(ConfigError, match="ledger: the ledger is on another machine"):
        make_ledger(host="db.example")


def test_a_transaction_that_met_another_one_is_tried_again(
    ledger: PostgresLedger, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends one of two that wait for each other, and that one begins again."""
    ledger.influxops_commit(LedgerUpdate((a_place("a"), a_place("b"))), RunContext())
    records = ledger.influxops_load_records(None, RunContext()).records
    again = LedgerUpdate(tuple(replace(each, error="x") for each in records.values()))
    # Who looks for a deadlock first is the one that is ended.
    database.execute("ALTER ROLE iot SET deadlock_timeout = '3s'", superuser=True)
    try:
        with (
            psycopg.connect(database.superuser_conninfo) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            other.execute("SET deadlock_timeout = '60s'")
            other.execute("UPDATE influxops.tenants SET attempts = 7 WHERE tenant = 'b'")
            done = pool.submit(ledger.influxops_commit, again, RunContext(60))
            with psycopg.connect(database.superuser_conninfo, autocommit=True) as watch:
                give_up = time.monotonic() + 30
                waits = (
                    "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
                )
                while watch.execute(waits, [other.info.backend_pid]).fetchone() != (1,):
                    assert time.monotonic() < give_up
            # It has `a` and waits for `b`; now this one waits for `a`.
            other.execute("UPDATE influxops.tenants SET attempts = 7 WHERE tenant = 'a'")
            other.rollback()
            found = done.result(60)
    finally:
        database.execute("ALTER ROLE iot RESET ALL", superuser=True)
    assert {each.tenant: each.error for each in found} == {"a": "x", "b": "x"}


def test_a_run_that_is_over_writes_nothing(ledger: PostgresLedger) -> None:
    context = RunContext()
    context.cancel()
    with pytest.raises(Interrupted):
        ledger.influxops_commit(WRITING, context)
    with pytest.raises(Interrupted):
        ledger.influxops_load_records(None, context)
    assert ledger.influxops_load_records(None, RunContext()).records == {}


def test_the_deadline_ends_a_write_that_waits_for_another_one(
    ledger: PostgresLedger, database: TestDatabase
) -> None:
    (there,) = ledger.influxops_commit(LedgerUpdate((a_place("acme"),)), RunContext())
    with psycopg.connect(database.conninfo) as other:
        other.execute("UPDATE influxops.tenants SET attempts = 7")
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            ledger.influxops_commit(LedgerUpdate((replace(there, error="x"),)), RunContext(0.5))
        assert time.monotonic() - started < 6
    assert ledger.influxops_load_records(None, RunContext()).records["acme"].error == ""


def test_doctor_tells_of_runs_at_work_and_of_what_dead_ones_left(ledger: PostgresLedger) -> None:
    assert checked(ledger)["runs"].message == "none at work"
    context = RunContext()
    with ledger.influxops_session(context):
        ledger.influxops_claim([a_place("a"), a_place("b")], context)
        living = checked(ledger)["runs"]
        assert (living.ok, living.message) == (True, "1 run at work on 2 tenants")
    dead = checked(ledger)["runs"]
    assert (dead.ok, dead.message) == (None, "2 tenants left by 1 run that died")


def test_doctor_says_what_is_missing(make_ledger: MakeLedger) -> None:
    found = checked(make_ledger())
    assert found["connection"].ok
    assert found["schema"].ok is False
    assert "there is no ledger" in found["schema"].message
