"""The skip scan: the same tenants as a full scan finds, where it pays and only there."""

from __future__ import annotations

import logging
import random
import time

import psycopg
import pytest

from influxops.plugin import Finding, FindingKind, RunContext, Tenant
from influxops_postgres import PostgresSettings, PostgresSource
from influxops_postgres.source.registry import AFTER, ids_query
from influxops_postgres.source.transaction import reading
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeSource

_ALPHABET = "aAbBzZäÄß09_-. '\"%\\{}\u0301\u4e16\U0001f600"


def sql(database: TestDatabase, *statements: str) -> None:
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def fleet(database: TestDatabase, type_: str = "text", *, index: str = "(tenant_id)") -> None:
    """Make a registry that is worth a skip scan: 3,000 devices of three tenants."""
    sql(
        database,
        f"CREATE TABLE device_registry (device_id serial PRIMARY KEY, tenant_id {type_})",
        "INSERT INTO device_registry (tenant_id)"
        f" SELECT (n % 3)::text::{type_.split(' COLLATE')[0]} FROM generate_series(1, 3000) n",
    )
    if index:
        sql(database, f"CREATE INDEX ON device_registry {index}")
    sql(database, "ANALYZE device_registry")


def way(source: PostgresSource, caplog: pytest.LogCaptureFixture) -> str:
    """Read the three tenants of the fleet, and give how that was done."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "influxops"):
        items = list(source.influxops_tenants(RunContext()))
    assert [item.id for item in items if isinstance(item, Tenant)] == ["0", "1", "2"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "influxops"]
    return line.partition(": ")[2]


@pytest.mark.parametrize(
    "type_", ["text", "varchar(50)", "char(9)", "integer", "bigint", "smallint"]
)
def test_a_large_table_with_an_index_is_read_by_a_skip_scan(
    database: TestDatabase,
    make_source: MakeSource,
    caplog: pytest.LogCaptureFixture,
    type_: str,
) -> None:
    fleet(database, type_)
    assert way(make_source(), caplog) == "skip scan"


def test_an_index_on_more_columns_serves_if_it_leads_with_the_tenant(
    database: TestDatabase, make_source: MakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    fleet(database, index="(tenant_id, device_id)")
    assert way(make_source(), caplog) == "skip scan"


def test_a_domain_is_read_as_its_type_is(
    database: TestDatabase, make_source: MakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    sql(database, "CREATE DOMAIN tenant AS text CHECK (value <> 'x')")
    fleet(database, "tenant")
    assert way(make_source(), caplog) == "skip scan"


def test_a_skip_scan_reads_a_few_rows_a_tenant(
    database: TestDatabase, make_source: MakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    fleet(database)
    read = "SELECT seq_scan, idx_tup_fetch FROM pg_stat_user_tables"
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        before = connection.execute(read).fetchone()
        assert before is not None
        assert way(make_source(), caplog) == "skip scan"
        give_up = time.monotonic() + 20  # statistics come when the other session is gone
        while (after := connection.execute(read).fetchone()) == before:
            assert time.monotonic() < give_up
        assert after is not None
        assert after[0] == before[0], "no scan"
        assert after[1] - before[1] < 20


@pytest.mark.parametrize(
    ("type_", "index", "why"),
    [
        ("text", "", "there is no index"),
        ("text", "(device_id, tenant_id)", "it leads with another column"),
        ("text", "(tenant_id) WHERE device_id > 9", "it has not all rows"),
        ("text", "USING hash (tenant_id)", "it has no order"),
        ("text", "(lower(tenant_id))", "it is on an expression"),
        ("text", "(tenant_id text_pattern_ops)", "it has another order"),
        ("text", '(tenant_id COLLATE "POSIX")', "it has another collation"),
        ("numeric", "(tenant_id)", "1.0 and 1.00 are equal there, and two ids"),
        ("text COLLATE careless", "(tenant_id)", "a and A are equal there, and two ids"),
    ],
)
def test_a_table_is_scanned_where_the_index_does_not_serve(
    database: TestDatabase,
    make_source: MakeSource,
    caplog: pytest.LogCaptureFixture,
    type_: str,
    index: str,
    why: str,
) -> None:
    # A collation for which a and A are equal takes ICU, which this server is built without: so
    # one that only says so of itself.
    sql(database, 'CREATE COLLATION careless FROM "C"')
    database.execute(
        "UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'careless'",
        superuser=True,
    )
    fleet(database, type_, index=index)
    assert way(make_source(), caplog) == "full scan", why


def test_a_condition_a_view_or_a_child_table_means_a_scan(
    database: TestDatabase, make_source: MakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    fleet(database)
    sql(database, "CREATE VIEW seen AS SELECT tenant_id FROM device_registry")
    assert way(make_source(where="true"), caplog) == "full scan"
    assert way(make_source(table="seen"), caplog) == "full scan"
    sql(database, "CREATE TABLE more () INHERITS (device_registry)", "ANALYZE device_registry")
    assert way(make_source(), caplog) == "full scan"


def test_a_table_is_scanned_where_skipping_does_not_pay_or_nobody_knows(
    database: TestDatabase, make_source: MakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    sql(
        database,
        "CREATE TABLE device_registry (tenant_id text)",
        "INSERT INTO device_registry SELECT n % 3 FROM generate_series(1, 3000) n",
        "CREATE INDEX ON device_registry (tenant_id)",
    )
    assert way(make_source(), caplog) == "full scan"  # never analyzed
    sql(database, "ANALYZE device_registry")
    assert way(make_source(), caplog) == "skip scan"
    sql(
        database,
        "TRUNCATE device_registry",
        "INSERT INTO device_registry SELECT n % 3 FROM generate_series(1, 30) n",
        "ANALYZE device_registry",
    )
    assert way(make_source(), caplog) == "full scan"  # ten rows a tenant


def test_null_and_empty_ids_are_found_by_a_skip_scan(
    database: TestDatabase, make_source: MakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    fleet(database)
    sql(database, "INSERT INTO device_registry (tenant_id) VALUES (NULL), (NULL), ('')")
    assert way(make_source(), caplog) == "skip scan"
    items = list(make_source().influxops_tenants(RunContext()))
    assert [(item.kind, item.message) for item in items if isinstance(item, Finding)] == [
        (FindingKind.EMPTY_ID, "some rows of device_registry have no tenant_id")
    ]


@pytest.mark.parametrize(
    "type_",
    [
        "text",
        'text COLLATE "C"',
        'text COLLATE "pg_c_utf8"',
        'varchar(40) COLLATE "pg_unicode_fast"',
        "varchar",
        "char(12)",
        "integer",
        "bigint",
        "uuid",
    ],
)
def test_both_scans_give_the_same_ids(database: TestDatabase, type_: str) -> None:
    """A property: random registries, also with ids that sort oddly, empty ones and NULL."""
    chance = random.Random(type_)
    settings = PostgresSettings.parse(
        {"dsn": f"{database.superuser_conninfo} dbname={database.name}"}
    )
    for _ in range(8):
        count = chance.choice([0, 1, 2, 30])
        values: list[object] = [_value(chance, type_) for _ in range(count)]
        rows = [chance.choice(values) for _ in range(5 * count)]
        rows += [None] * chance.choice([0, 2])
        sql(
            database,
            "DROP TABLE IF EXISTS device_registry",
            f"CREATE TABLE device_registry (tenant_id {type_})",
            "CREATE INDEX ON device_registry (tenant_id)",
        )
        with psycopg.connect(database.conninfo) as connection:
            connection.cursor().executemany(
                "INSERT INTO device_registry VALUES (%s)", [(value,) for value in rows]
            )
        with reading(settings, RunContext()) as session:
            ways = [
                sorted(
                    str(row[0]) for row in session.texts(ids_query(settings, skip=skip), AFTER).rows
                )
                for skip in (False, True)
            ]
        assert ways[0] == ways[1]


def _value(chance: random.Random, type_: str) -> object:
    if type_ == "uuid":
        return f"{chance.getrandbits(128):032x}"
    if type_ in ("integer", "bigint"):
        return chance.randint(-(2**31), 2**31 - 1)
    return "".join(chance.choices(_ALPHABET, k=chance.randint(0, 6)))
