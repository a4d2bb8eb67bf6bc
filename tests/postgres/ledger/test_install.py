"""The ledger's schema: made once, brought up to date, never guessed at; and the command for it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from influxops.plugin import (
    Event,
    HistoryEntry,
    HistoryQuery,
    LedgerError,
    LedgerUpdate,
    Record,
    RunContext,
    State,
)
from influxops_postgres import PostgresLedger
from influxops_postgres.connection.migrations import Migration, migrations
from influxops_postgres.ledger import schema
from influxops_postgres.ledger.transaction import installing
from tests.earlier import ledger_of_version
from tests.integration.command import Cli
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeLedger

#: The versions that this program knows, and one that it does not.
KNOWN = [each.version for each in migrations("influxops_postgres.ledger")]
NEWEST, LATER = KNOWN[-1], KNOWN[-1] + 1
_LATER = Migration(LATER, "notes", "ALTER TABLE tenants ADD COLUMN note text;\n")


@pytest.fixture
def cli(tmp_path: Path, database: TestDatabase) -> Cli:
    (tmp_path / "influxops.toml").write_text('[ledger]\nkind = "postgres"\n')
    return Cli(tmp_path, database.environment)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this be a later program, with one more migration."""
    known = (*migrations("influxops_postgres.ledger"), _LATER)
    monkeypatch.setattr(schema, "steps", lambda: known)


def versions(ledger: PostgresLedger) -> list[int]:
    return [each.version for each in installing(ledger.settings, RunContext())]


def uses(ledger: PostgresLedger) -> dict[str, object]:
    """Every hook that uses the schema, and what it gives."""
    context = RunContext()
    record = Record("acme", State.PENDING)
    with ledger.influxops_session(context):
        calls: dict[str, Callable[[], object]] = {
            "records": lambda: ledger.influxops_load_records(None, context),
            "reserve": lambda: ledger.influxops_claim([record], context),
            "record": lambda: ledger.influxops_commit(LedgerUpdate((record,)), context),
            "history": lambda: ledger.influxops_history(HistoryQuery(), context),
        }
        found: dict[str, object] = {}
        for name, call in calls.items():
            try:
                found[name] = call()
            except LedgerError as error:
                found[name] = error
    return found


def refusal(ledger: PostgresLedger) -> LedgerError:
    """Return the one error that all hooks raise."""
    found = list(uses(ledger).values())
    assert len({str(each) for each in found}) == 1, found
    assert isinstance(found[0], LedgerError)
    return found[0]


def test_installing_again_changes_nothing(make_ledger: MakeLedger, database: TestDatabase) -> None:
    ledger = make_ledger()
    assert versions(ledger) == KNOWN
    before = dump(database)
    assert versions(ledger) == []
    assert dump(database) == before


def dump(database: TestDatabase, schema: str = "influxops") -> str:
    """What pg_dump says of a schema; who made it when is left out."""
    program = database.server.programs / "pg_dump"
    arguments = ["--schema-only", "--no-owner", f"--schema={schema}", database.superuser_conninfo]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    return "\n".join(line for line in lines if "restrict" not in line)


def test_many_installations_at_once_make_it_once(make_ledger: MakeLedger) -> None:
    together = threading.Barrier(8)

    def run(_: int) -> list[int]:
        ledger = make_ledger()
        together.wait(30)
        return versions(ledger)

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(run, range(8)))
    assert sorted(version for each in done for version in each) == KNOWN


def test_an_installation_that_fails_leaves_nothing_behind(
    make_ledger: MakeLedger, monkeypatch: pytest.MonkeyPatch, database: TestDatabase
) -> None:
    broken = (
        *migrations("influxops_postgres.ledger"),
        Migration(LATER, "x", _LATER.text + "SELECT 1/0;\n"),
    )
    with monkeypatch.context() as patch:
        patch.setattr(schema, "steps", lambda: broken)
        with pytest.raises(LedgerError, match="division by zero; nothing was written"):
            versions(make_ledger())
    assert all(not isinstance(each, LedgerError) for each in uses(make_ledger()).values())
    assert "note" not in dump(database)


def test_a_history_without_doors_stays_and_goes_on_with_them(
    make_ledger: MakeLedger, database: TestDatabase
) -> None:
    ledger = make_ledger()
    versions(ledger)
    ledger_of_version(database, 4)
    database.execute(
        "INSERT INTO influxops.history (namespace, run, who, event, tenant) "
        "VALUES ('default', 'r1', 'ops@host', 'created', 'acme')"
    )
    assert versions(ledger) == [each for each in KNOWN if each > 4]
    entry = HistoryEntry(Event.CREATED, "beta", who="anna", door="console")
    ledger.influxops_commit(LedgerUpdate(entries=(entry,)), RunContext())
    found = [*ledger.influxops_history(HistoryQuery(), RunContext())]
    assert [(each.tenant, each.who, each.door) for each in found] == [
        ("acme", "ops@host", ""),
        ("beta", "anna", "console"),
    ]


def test_a_later_program_brings_the_schema_up_to_date(
    ledger: PostgresLedger, later: None, make_ledger: MakeLedger
) -> None:
    told = refusal(ledger)
    assert f"is of version {NEWEST}, and this influxops works with version {LATER}" in told.message
    assert told.remedy.value == "ledger install"
    assert versions(ledger) == [LATER]
    assert all(not isinstance(each, LedgerError) for each in uses(ledger).values())


#: Tenants of a ledger of version 1: what their records and their histories have, and what they are
#: in version 2.
_OF_VERSION_1 = """
INSERT INTO influxops.tenants
       (namespace, tenant, state, database, target, identity, made, confirmed)
SELECT 'default', id, state, 'telemetry_' || id, 'eu1', 'one', made, confirmed
  FROM (VALUES ('completed', 'ready', '2026-11-01Z'::timestamptz, '2026-11-01Z'::timestamptz),
               ('created', 'ready', '2026-11-01Z', '2026-11-01Z'),
               ('found', 'ready', '2026-11-01Z', NULL),
               ('adopted', 'ready', '2026-11-03Z', '2026-11-03Z'),
               ('failed', 'ready', '2026-11-01Z', '2026-11-01Z'),
               ('moving', 'moving', '2026-11-01Z', '2026-11-01Z'),
               ('retiring', 'retiring', '2026-11-01Z', '2026-11-01Z'),
               ('lost', 'lost', '2026-11-01Z', '2026-11-01Z')) AS t (id, state, made, confirmed);
INSERT INTO influxops.history (namespace, at, run, event, tenant, target, database, ended)
SELECT 'default', '2026-11-02Z', 'run', event, tenant, 'eu1', 'telemetry_' || tenant, ended
  FROM (VALUES ('completed', 'completed', 'done'), ('created', 'created', 'done'),
               ('found', 'found', 'done'), ('adopted', 'completed', 'done'),
               ('failed', 'completed', 'failed')) AS h (tenant, event, ended);
"""
_UNSEEN = {"created", "found", "adopted", "failed"}


def test_an_upgrade_calls_ready_only_those_whose_marker_a_run_has_read_back(
    make_ledger: MakeLedger, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make_ledger()
    first = migrations("influxops_postgres.ledger")[:1]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "steps", lambda: first)
        assert versions(ledger) == [1]
    database.execute(_OF_VERSION_1)
    with psycopg.connect(database.conninfo) as connection:
        before = connection.execute("SELECT tenant, state FROM influxops.tenants").fetchall()
    assert versions(ledger) == KNOWN[1:]
    records = ledger.influxops_load_records(None, RunContext()).records
    assert {id_: record.state.value for id_, record in records.items()} == {
        id_: "unconfirmed" if id_ in _UNSEEN else state for id_, state in before
    }
    # Each is still provisioned: one that is gone is lost.
    assert all(record.is_provisioned for record in records.values())
    assert {id_ for id_, record in records.items() if record.version > 1} == _UNSEEN


def test_an_earlier_program_leaves_the_schema_of_a_later_one_alone(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = (*migrations("influxops_postgres.ledger"), _LATER)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "steps", lambda: known)
        assert versions(ledger) == [LATER]
    told = refusal(ledger)
    knows = f"is of version {LATER}, and this influxops knows no more than version {NEWEST}"
    assert knows in told.message
    assert "update influxops" in told.hint
    with pytest.raises(LedgerError, match=f"of version {LATER}"):
        versions(ledger)


def test_no_schema_and_an_empty_one_are_no_ledger(
    make_ledger: MakeLedger, database: TestDatabase
) -> None:
    told = refusal(make_ledger())
    assert "there is no ledger in the schema influxops" in told.message
    assert told.remedy.value == "ledger install"
    database.execute("CREATE SCHEMA influxops")
    assert "there is no ledger" in refusal(make_ledger()).message
    assert versions(make_ledger()) == KNOWN


def test_a_migration_waits_for_who_is_at_work(
    ledger: PostgresLedger, database: TestDatabase, later: None
) -> None:
    """A transaction that has looked at the version works on the schema that it has seen."""
    with psycopg.connect(database.conninfo) as working, ThreadPoolExecutor(1) as pool:
        working.execute("SELECT max(version) FROM influxops.migrations")
        done = pool.submit(versions, ledger)
        working.execute("SET statement_timeout = '30s'")
        working.execute(
            "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
            " AND relation = 'influxops.migrations'::regclass)"
            " LOOP PERFORM pg_sleep(0.01); END LOOP; END $$"
        )
        assert not done.done()
        working.rollback()
        assert done.result(30) == [LATER]


@pytest.mark.parametrize("schema", ["Ledger 'of\" ours", "select", "ü"])
def test_any_name_of_a_schema_is_quoted(
    make_ledger: MakeLedger, database: TestDatabase, schema: str
) -> None:
    ledger = make_ledger(schema=schema)
    assert versions(ledger) == KNOWN
    assert all(not isinstance(each, LedgerError) for each in uses(ledger).values())
    with psycopg.connect(database.conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", [schema])
        assert row.fetchone() == (1,)


def test_a_schema_that_holds_something_else_is_left_alone(
    make_ledger: MakeLedger, database: TestDatabase
) -> None:
    database.execute("CREATE SCHEMA theirs", "CREATE TABLE theirs.tenants (id text)")
    with pytest.raises(LedgerError, match="holds something else") as caught:
        versions(make_ledger(schema="theirs"))
    assert caught.value.remedy.value == "schema"
    database.execute("SELECT id FROM theirs.tenants")


def test_the_command_installs_once_and_says_so(cli: Cli) -> None:
    first = cli("ledger", "install")
    assert first.code == 0, first.all
    assert f"{len(KNOWN)} steps done, the ledger is of version {NEWEST}" in first.out
    again = cli("ledger", "install")
    assert again.code == 0
    assert f"nothing to do, the ledger is of version {NEWEST}" in again.out
    document = cli("ledger", "install", "--format", "json").json
    assert (document["version"], document["installed"]) == (1, [])
    quiet = cli("ledger", "install", "-q")
    assert (quiet.code, quiet.all) == (0, "")


def test_what_sql_prints_makes_the_same_as_installing(
    cli: Cli, database: TestDatabase, make_ledger: MakeLedger
) -> None:
    printed = cli("ledger", "install", "--sql", env={"PG_PORT": "1"})
    assert printed.code == 0, printed.all
    assert versions(make_ledger()) == KNOWN
    by_program = dump(database)
    database.execute("DROP SCHEMA influxops CASCADE")
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute(printed.out.encode())
    assert dump(database) == by_program
    assert versions(make_ledger()) == []
    assert cli("ledger", "install", "--sql", "--from", str(NEWEST)).out.strip() == ""
    wrong = cli("ledger", "install", "--from", "1")
    assert wrong.code == 2
    assert "--from goes with --sql" in wrong.err


def test_status_says_what_the_ledger_holds(cli: Cli, make_ledger: MakeLedger) -> None:
    none = cli("ledger", "status")
    assert none.code == 1
    assert "there is no ledger in the schema influxops" in none.err
    assert "influxops ledger install" in none.err
    ledger = make_ledger()
    assert versions(ledger) == KNOWN
    assert "no tenant is recorded" in cli("ledger", "status").out
    records = tuple(Record(f"t{number}", State.PENDING) for number in range(3))
    ledger.influxops_commit(LedgerUpdate(records), RunContext())
    shown = cli("ledger", "status")
    assert f"version {NEWEST}" in shown.lines[0]
    assert shown.lines[-1].split() == ["default", "pending", "3"]
    document = cli("ledger", "status", "--format", "json").json
    assert document["schema"] == {"name": "influxops", "version": NEWEST}
    assert document["namespaces"] == {"default": {"pending": 3}}
    assert document["history"]["entries"] == 0


def test_the_commands_say_that_no_ledger_is_configured(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "influxops.toml").write_text("")
    for command in ("install", "status"):
        done = cli("ledger", command)
        assert done.code == 2
        assert "no ledger is configured" in done.err


def test_the_ledger_is_in_the_registry_s_database_unless_it_says_otherwise(
    cli: Cli, tmp_path: Path, database: TestDatabase
) -> None:
    registry = (
        '[sources.registry]\nkind = "postgres"\nhost = "127.0.0.1"\n'
        f'port = {database.server.port}\ndatabase = "{database.name}"\n'
    )
    config = tmp_path / "influxops.toml"
    bare = Cli(tmp_path, {"PG_PASS": database.server.password})
    config.write_text(f'{registry}[ledger]\nkind = "postgres"\nschema = "promises"\n')
    assert bare("ledger", "install").code == 0
    assert "promises" in bare("ledger", "status").lines[0]
    # With a host of its own it has none of the registry's settings, nor its variables.
    config.write_text(f'{registry}[ledger]\nkind = "postgres"\nhost = "localhost"\nport = 1\n')
    away = Cli(tmp_path, database.environment)("ledger", "status")
    assert away.code == 1
    assert "cannot connect to iot@localhost:1/iotcloud" in away.err


def test_the_kind_is_listed_beside_the_source_of_its_name(cli: Cli) -> None:
    rows = [line.split()[:2] for line in cli("plugins").lines]
    assert ["postgres", "source"] in rows
    assert ["postgres", "ledger"] in rows
    shown = cli("plugins", "show", "ledger.postgres")
    assert "postgres: a ledger of influxops" in shown.lines[0]
    assert any(line.startswith("schema ") for line in shown.lines)
