"""What a change of the registry leaves behind, by whatever program, and what it costs nobody."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import LiteralString

import psycopg
import pytest

from influxops_devserver.postgres import EmbeddedPostgres, embedded_postgres
from tests.integration.command import Cli
from tests.pg import TestDatabase, new_database, standby_of
from tests.queue.conftest import CONFIG, Queued

#: Gives a connection of the database's owner.
Connect = Callable[[], psycopg.Connection[tuple[object, ...]]]


@pytest.fixture
def connect(db: TestDatabase) -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(db.conninfo))


@pytest.fixture
def registry(db: TestDatabase) -> TestDatabase:
    db.registry()
    return db


@pytest.fixture
def triggered(queued: Queued, registry: TestDatabase) -> TestDatabase:
    """A registry with triggers."""
    queued("--trigger")
    return registry


def hints(db: TestDatabase) -> list[str]:
    """Give what is noted, each as often as it is."""
    with psycopg.connect(db.conninfo) as connection:
        rows = connection.execute("SELECT namespace, tenant FROM influxops_queue.hints ORDER BY 2")
        found = list(rows)
    assert {namespace for namespace, _ in found} <= {"default"}
    return [tenant for _, tenant in found]


def record(db: TestDatabase, tenant: str, state: str, namespace: str = "default") -> None:
    with psycopg.connect(db.conninfo) as connection:
        connection.execute(
            "INSERT INTO influxops.tenants (namespace, tenant, state, database, target) "
            "VALUES (%s, %s, %s, 'telemetry', 'eu1')",
            [namespace, tenant, state],
        )


# What leaves a hint -----------------------------------------------------------------------------


def test_a_statement_names_each_new_tenant_once(triggered: TestDatabase) -> None:
    triggered.execute(
        "INSERT INTO device_registry (tenant_id) "
        "VALUES ('b'), ('a'), ('b'), (NULL), (''), (' '), (E'\\t\\n'), ('Ä ''\"')"
    )
    assert hints(triggered) == ["a", "b", "Ä '\""]


def test_what_the_ledger_has_leaves_none_unless_it_is_going_or_gone(
    triggered: TestDatabase,
) -> None:
    for state in ("pending", "allocated", "ready", "lost", "retiring", "retired"):
        record(triggered, state, state)
    record(triggered, "other", "ready", namespace="another")
    triggered.execute(
        "INSERT INTO device_registry (tenant_id) SELECT tenant FROM influxops.tenants"
    )
    assert hints(triggered) == ["other", "retired", "retiring"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE device_registry SET tenant_id = 'new' WHERE tenant_id = 'old'",
        "INSERT INTO device_registry (device_id, tenant_id) VALUES (1, 'new') "
        "ON CONFLICT (device_id) DO UPDATE SET tenant_id = excluded.tenant_id",
        "MERGE INTO device_registry d USING (VALUES (1, 'new'), (9, 'new')) v (id, tenant) "
        "ON d.device_id = v.id WHEN MATCHED THEN UPDATE SET tenant_id = v.tenant "
        "WHEN NOT MATCHED THEN INSERT (device_id, tenant_id) VALUES (v.id, v.tenant)",
        "WITH moved AS (DELETE FROM device_registry RETURNING device_id) "
        "INSERT INTO device_registry (device_id, tenant_id) SELECT 5, 'new' FROM moved",
    ],
    ids=["update", "on conflict", "merge", "with"],
)
def test_any_kind_of_change_leaves_one(triggered: TestDatabase, change: LiteralString) -> None:
    triggered.execute("INSERT INTO device_registry (device_id, tenant_id) VALUES (1, 'old')")
    record(triggered, "old", "ready")
    triggered.execute("DELETE FROM influxops_queue.hints")
    triggered.execute(change)
    assert set(hints(triggered)) == {"new"}


def test_copy_leaves_them(triggered: TestDatabase, connect: Connect) -> None:
    with (
        connect() as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY device_registry (tenant_id) FROM STDIN") as copy,
    ):
        for number in range(1000):
            copy.write_row([f"t{number % 50:02}"])
    assert hints(triggered) == [f"t{number:02}" for number in range(50)]


@pytest.mark.parametrize(
    ("type_", "value", "id_"),
    [
        ("integer", "7", "7"),
        ("char(12)", "acme", "acme"),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ],
)
def test_ids_of_any_type_are_written_as_the_source_reads_them(
    queued: Queued, db: TestDatabase, type_: str, value: str, id_: str
) -> None:
    with psycopg.connect(db.conninfo) as connection:
        connection.execute(f'CREATE TABLE "Dev.ices" ("Te nant" {type_})'.encode())
    queued("--trigger", source='table = \'"Dev.ices"\'\ncolumn = "Te nant"')
    with psycopg.connect(db.conninfo) as connection:
        connection.execute('INSERT INTO "Dev.ices" VALUES (%s)', [value])
    assert hints(db) == [id_]


def test_a_column_may_have_what_quotes_the_functions_body(queued: Queued, db: TestDatabase) -> None:
    db.execute('CREATE TABLE device_registry ("of $influxops$" text)')
    queued("--trigger", source='column = "of $influxops$"')
    db.execute("INSERT INTO device_registry VALUES ('acme')")
    assert hints(db) == ["acme"]


def test_a_partitioned_table_notes_what_is_written_by_its_name(
    queued: Queued, db: TestDatabase
) -> None:
    db.execute(
        "CREATE TABLE device_registry (device_id int, tenant_id text) "
        "PARTITION BY HASH (device_id)",
        "CREATE TABLE part0 PARTITION OF device_registry FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "CREATE TABLE part1 PARTITION OF device_registry FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    )
    queued("--trigger")
    db.execute(
        "INSERT INTO device_registry SELECT n, 't' || n FROM generate_series(1, 9) AS n",
        "UPDATE device_registry SET device_id = device_id + 1, tenant_id = 'u' WHERE device_id = 1",
    )
    assert hints(db) == [*(f"t{number}" for number in range(1, 10)), "u"]


def test_a_rolled_back_change_leaves_none(triggered: TestDatabase, connect: Connect) -> None:
    with connect() as connection:
        connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
        connection.rollback()
    assert hints(triggered) == []


def test_an_application_needs_no_right_on_the_ledger(
    triggered: TestDatabase, role: Callable[..., str]
) -> None:
    name = role(
        "GRANT INSERT ON device_registry TO {role}",
        "GRANT USAGE ON SEQUENCE device_registry_device_id_seq TO {role}",
    )
    conninfo = psycopg.conninfo.make_conninfo(triggered.conninfo, user=name, password="x")
    with psycopg.connect(conninfo) as connection:
        # What it calls by the names of PostgreSQL's own means nothing to the trigger.
        connection.execute("CREATE TEMP TABLE pg_class ()")
        connection.execute("SET search_path = pg_temp, public, pg_catalog")
        connection.execute("INSERT INTO public.device_registry (tenant_id) VALUES ('a')")
    assert hints(triggered) == ["a"]
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE mine (tenant_id text)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM influxops_queue.hints")


# Nobody waits, and nothing aborts ---------------------------------------------------------------


def test_applications_with_the_same_new_tenant_do_not_wait_for_each_other(
    triggered: TestDatabase, connect: Connect
) -> None:
    first, second = connect(), connect()
    second.execute("SET lock_timeout = '1ms'")
    for connection in (first, second):
        connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('a'), ('b')")
    # And the other way round, where unique keys would deadlock.
    second.execute("INSERT INTO device_registry (tenant_id) VALUES ('d'), ('c')")
    first.execute("INSERT INTO device_registry (tenant_id) VALUES ('c'), ('d')")
    second.commit()
    first.commit()
    assert hints(triggered) == sorted("aabbccdd")


@pytest.mark.parametrize(
    "fault",
    [
        "DROP TABLE influxops_queue.hints",
        "DROP TABLE influxops.tenants CASCADE",
        "ALTER TABLE influxops_queue.hints ADD CONSTRAINT no CHECK (false)",
        "ALTER TABLE device_registry RENAME tenant_id TO tenant",
    ],
    ids=["no hints", "no ledger", "refused", "renamed"],
)
def test_a_fault_does_not_abort_a_change(
    triggered: TestDatabase, fault: LiteralString, connect: Connect
) -> None:
    triggered.execute(fault)
    with connect() as connection:
        connection.execute("INSERT INTO device_registry VALUES (1, 'a')")
        connection.execute("UPDATE device_registry SET device_id = 2")
    with connect() as connection:
        assert list(connection.execute("SELECT * FROM device_registry")) == [(2, "a")]


@pytest.mark.parametrize("table", ["influxops.tenants", "influxops_queue.hints"])
def test_a_locked_table_keeps_no_application(
    triggered: TestDatabase, connect: Connect, table: LiteralString
) -> None:
    locker = connect()
    locker.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    with connect() as connection:
        began = time.monotonic()
        connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
        took = time.monotonic() - began
        # The application's own patience is as it was.
        assert list(connection.execute("SHOW lock_timeout")) == [("0",)]
        connection.commit()
        assert list(connection.execute("SELECT tenant_id FROM device_registry")) == [("a",)]
    assert took < 5


def test_an_application_may_prepare_its_transaction(cli: Cli, another: EmbeddedPostgres) -> None:
    """NOTIFY would refuse that."""
    with new_database(another) as db:
        db.registry()
        there = Cli(cli.folder, db.environment)
        there.config(CONFIG.format(source="", ledger="", url="http://127.0.0.1:9"))
        for command in (["ledger", "install"], ["queue", "install", "--trigger"]):
            assert there(*command).code == 0
        with psycopg.connect(db.conninfo) as connection:
            connection.tpc_begin("x")
            connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
            connection.tpc_prepare()
            connection.tpc_commit()
        assert hints(db) == ["a"]


# Telling, and the cost --------------------------------------------------------------------------


def test_the_workers_are_told_once_a_transaction_and_of_new_tenants_only(
    triggered: TestDatabase, connect: Connect
) -> None:
    record(triggered, "known", "ready")
    listener, application = connect(), connect()
    listener.autocommit = True
    listener.execute("LISTEN influxops_queue")
    application.execute("INSERT INTO device_registry (tenant_id) VALUES ('known')")
    application.commit()
    for tenant in ("a", "b", "c"):
        application.execute("INSERT INTO device_registry (tenant_id) VALUES (%s)", [tenant])
    application.commit()
    application.execute("NOTIFY influxops_queue, 'end'")
    application.commit()
    told = [each.payload for each in listener.notifies(timeout=10, stop_after=2)]
    assert told == ["", "end"]


def test_a_plan_for_many_rows_does_not_make_each_row_after_it_read_the_ledger(
    triggered: TestDatabase, connect: Connect
) -> None:
    with connect() as connection:
        connection.execute(
            "INSERT INTO influxops.tenants (namespace, tenant, state) "
            "SELECT 'default', 't' || n, 'pending' FROM generate_series(1, 5000) AS n"
        )
        connection.execute("ANALYZE influxops.tenants")
        connection.execute("SELECT pg_stat_force_next_flush()")
    before = scans(connect)
    with connect() as connection:
        connection.execute(
            "INSERT INTO device_registry (tenant_id) "
            "SELECT 't' || n FROM generate_series(1, 5000) AS n"
        )
        connection.execute("INSERT INTO device_registry (tenant_id) VALUES ('t1')")
        connection.execute("SELECT pg_stat_force_next_flush()")
    assert scans(connect) == before
    assert hints(triggered) == []


def scans(connect: Connect) -> object:
    """Return how often all of the ledger's tenants were read."""
    with connect() as connection:
        query = "SELECT seq_scan FROM pg_stat_user_tables WHERE relid = %s::regclass"
        return connection.execute(query, ["influxops.tenants"]).fetchone()


# What is refused --------------------------------------------------------------------------------


def place(server: EmbeddedPostgres, database: str) -> str:
    """Give the settings that lead to a database."""
    return f'host = "{server.host}"\nport = {server.port}\ndatabase = "{database}"'


@pytest.fixture(scope="session")
def another() -> Iterator[EmbeddedPostgres]:
    """Another server, where a transaction may be prepared."""
    with embedded_postgres(options={"max_prepared_transactions": "5", "fsync": "off"}) as server:
        yield server


def refused(
    queued: Queued, source: str = "", ledger: str = "", env: dict[str, str] | None = None
) -> str:
    """Install with triggers, which fails; return what is said."""
    cli = queued(source=source, ledger=ledger)
    done = cli("queue", "install", "--trigger", env=env)
    assert done.code in (1, 2)
    assert "installed" not in done.out
    return done.err


@pytest.mark.parametrize(
    ("make", "why"),
    [
        ("CREATE VIEW devices AS SELECT * FROM device_registry", "is a view"),
        (
            "CREATE MATERIALIZED VIEW devices AS SELECT * FROM device_registry",
            "is a materialized view",
        ),
        ("CREATE TABLE devices (id text)", "has no column tenant_id"),
        ("CREATE TABLE another (id text)", "its table devices is not there"),
        (
            "CREATE TABLE parent (tenant_id text) PARTITION BY HASH (tenant_id); CREATE TABLE "
            "devices PARTITION OF parent FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
            "is a partition",
        ),
        ("CREATE SEQUENCE devices", "is no table"),
    ],
    ids=["view", "materialized view", "no column", "no table", "partition", "sequence"],
)
def test_what_can_have_no_trigger_is_refused(
    queued: Queued, registry: TestDatabase, make: LiteralString, why: str
) -> None:
    registry.execute(make)
    said = refused(queued, 'table = "devices"')
    assert "source:registry: no trigger can be installed" in said
    assert why in said
    assert "hint" in said


def test_a_foreign_table_is_refused(queued: Queued, db: TestDatabase) -> None:
    db.execute(
        "CREATE FOREIGN DATA WRAPPER wrapper",
        "CREATE SERVER away FOREIGN DATA WRAPPER wrapper",
        "CREATE FOREIGN TABLE device_registry (tenant_id text) SERVER away",
        superuser=True,
    )
    assert "is a foreign table" in refused(queued)


def test_a_query_is_refused(queued: Queued, registry: TestDatabase) -> None:
    said = refused(queued, "query = \"SELECT 'a' AS tenant_id\"")
    assert "it has a custom query" in said


def test_a_registry_in_another_database_is_refused(queued: Queued, registry: TestDatabase) -> None:
    with new_database(registry.server) as other:
        said = refused(queued, ledger=place(other.server, other.name))
    assert "it is in another database than the ledger" in said


def test_a_registry_on_another_server_is_refused(
    queued: Queued, registry: TestDatabase, another: EmbeddedPostgres
) -> None:
    ledger = place(registry.server, registry.name)
    said = refused(queued, ledger=ledger, env=another.environment)
    assert "it is in another database than the ledger" in said


def test_a_standby_is_refused(
    queued: Queued, registry: TestDatabase, postgres: EmbeddedPostgres
) -> None:
    with standby_of(postgres) as standby:
        ledger = place(postgres, registry.name)
        said = refused(queued, ledger=ledger, env=standby.environment)
    assert "it is read from a standby" in said


def test_the_same_database_by_another_name_is_taken(queued: Queued, registry: TestDatabase) -> None:
    address = place(registry.server, registry.name).replace("127.0.0.1", "localhost")
    queued("--trigger", ledger=address)
    registry.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
    assert hints(registry) == ["a"]


def test_without_a_registry_in_postgresql_there_is_nothing_to_do(
    cli: Cli, db: TestDatabase
) -> None:
    cli.config(
        '[sources.list]\nkind = "static"\ntenants = ["a"]\n[ledger]\nkind = "postgres"\n'
        '[targets.eu1]\nkind = "influxdb3"\nurl = "http://127.0.0.1:9"\n'
    )
    assert cli("ledger", "install").code == 0
    done = cli("queue", "install", "--trigger")
    assert done.code == 2
    assert "no source is a registry in PostgreSQL" in done.err


def test_who_may_make_no_trigger_is_told_what_to_grant(
    queued: Queued, db: TestDatabase, role: Callable[..., str]
) -> None:
    db.execute("CREATE SCHEMA iot", "CREATE TABLE iot.device_registry (tenant_id text)")
    user = role(
        f"GRANT CREATE ON DATABASE {db.name} TO {{role}}",
        "GRANT USAGE ON SCHEMA iot TO {role}",
        "GRANT SELECT ON iot.device_registry TO {role}",
    )
    cli = queued(source='table = "iot.device_registry"')
    db.execute("DROP SCHEMA influxops, influxops_queue CASCADE")
    env = {"PG_USER": user, "PG_PASS": "x"}
    assert cli("ledger", "install", env=env).code == 0
    done = cli("queue", "install", "--trigger", env=env)
    assert done.code == 1
    grant = f'GRANT TRIGGER ON "iot"."device_registry" TO "{user}"'
    assert f"the ledger's user {user} may make no trigger on iot.device_registry" in done.err
    assert grant in done.err
    with psycopg.connect(db.conninfo) as connection:
        connection.execute(grant.encode())
    assert cli("queue", "install", "--trigger", env=env).code == 0
    db.execute("INSERT INTO iot.device_registry (tenant_id) VALUES ('a')")
    with psycopg.connect(db.superuser_conninfo) as connection:
        found = connection.execute("SELECT tenant FROM influxops_queue.hints").fetchall()
    assert found == [("a",)]


# Installing again -------------------------------------------------------------------------------


def test_installing_again_changes_nothing_and_locks_nothing(
    queued: Queued, registry: TestDatabase, connect: Connect
) -> None:
    cli = queued("--trigger")
    with connect() as application:
        application.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
        done = cli("queue", "install", "--trigger")
    assert done.code == 0, done.all
    assert "nothing to do" in done.out


def test_a_busy_registry_is_not_waited_for_long(
    queued: Queued, registry: TestDatabase, connect: Connect
) -> None:
    cli = queued()
    with connect() as application:
        application.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
        done = cli("queue", "install", "--trigger")
    assert done.code == 1
    assert "lock timeout" in done.err
    assert "another session holds a lock on it: try again" in done.err
    assert cli("queue", "install", "--trigger").code == 0


def test_another_column_takes_the_place_of_the_first(
    queued: Queued, registry: TestDatabase
) -> None:
    queued("--trigger")
    registry.execute("ALTER TABLE device_registry ADD owner text")
    queued("--trigger", source='column = "owner"')
    registry.execute("INSERT INTO device_registry (tenant_id, owner) VALUES ('a', 'b')")
    assert hints(registry) == ["b"]


def test_a_disabled_trigger_is_told(queued: Queued, registry: TestDatabase) -> None:
    cli = queued("--trigger")
    registry.execute("ALTER TABLE device_registry DISABLE TRIGGER USER")
    done = cli("queue", "install", "--trigger")
    assert done.code == 1
    assert "is disabled" in done.err
    assert "ENABLE TRIGGER" in done.err


def test_namespaces_that_share_a_ledger_have_their_own(
    queued: Queued, registry: TestDatabase
) -> None:
    queued("--trigger")
    queued("--trigger", ledger='namespace = "a rather long name, with some ümlauts in it"')
    registry.execute("INSERT INTO device_registry (tenant_id) VALUES ('a')")
    with psycopg.connect(registry.conninfo) as connection:
        query = "SELECT count(DISTINCT namespace), count(*) FROM influxops_queue.hints"
        assert connection.execute(query).fetchone() == (2, 2)
