"""What the source `postgres` reads, and what it says when it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any, LiteralString

import psycopg
import pytest

from influxops.plugin import (
    DeadlineExceeded,
    Finding,
    FindingKind,
    Interrupted,
    RunContext,
    Severity,
    SourceError,
    Tenant,
    parse_duration,
)
from influxops_postgres import PostgresSource
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeSource, seeing_all_rows


def tenants(source: PostgresSource) -> list[Tenant]:
    return [item for item in source.influxops_tenants(RunContext()) if isinstance(item, Tenant)]


def ids(source: PostgresSource) -> list[str]:
    return [tenant.id for tenant in tenants(source)]


def findings(source: PostgresSource) -> list[Finding]:
    return [item for item in source.influxops_tenants(RunContext()) if isinstance(item, Finding)]


def failure(source: PostgresSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        list(source.influxops_tenants(RunContext()))
    assert "\n" not in str(caught.value)
    assert "iot_dev" not in str(caught.value)
    return caught.value


def test_each_tenant_of_the_registry_is_given_once(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme", "globex", "acme", "Acme", "acme ", "zoë", "../x", "a\nb")
    assert set(ids(make_source())) == {"acme", "globex", "Acme", "acme ", "zoë", "../x", "a\nb"}
    assert len(ids(make_source())) == 7


def test_an_empty_registry_gives_nothing(database: TestDatabase, make_source: MakeSource) -> None:
    database.registry()
    assert list(make_source().influxops_tenants(RunContext())) == []


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        ("int", "42", "42"),
        ("bigint", "-7", "-7"),
        ("uuid", "'5b3c2f6e-0d4f-4d5a-9f3e-2f5a8f0c1b2d'", "5b3c2f6e-0d4f-4d5a-9f3e-2f5a8f0c1b2d"),
        ("numeric(6,2)", "1.50", "1.50"),
        ("char(8)", "'acme'", "acme"),
        ("name", "'acme'", "acme"),
    ],
)
def test_ids_of_any_type_are_read_as_text(
    database: TestDatabase, make_source: MakeSource, type_: str, value: str, text: str
) -> None:
    with psycopg.connect(database.conninfo) as connection:
        connection.execute(f"CREATE TABLE device_registry (tenant_id {type_})".encode())
        connection.execute(f"INSERT INTO device_registry VALUES ({value})".encode())
    assert ids(make_source()) == [text]
    assert ids(make_source(query="SELECT tenant_id FROM device_registry")) == [text]


def test_null_and_blank_ids_are_one_finding_that_counts_them(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme", None, None, "", "  \t")
    source = make_source()
    assert ids(source) == ["acme"]
    (finding,) = findings(source)
    assert (finding.kind, finding.severity) == (FindingKind.EMPTY_ID, Severity.ERROR)
    assert finding.message == "4 rows of device_registry have no tenant_id"
    assert finding.tenant is None
    query = finding.hint.removeprefix("find them: ")
    with psycopg.connect(database.conninfo) as connection:
        assert len(connection.execute(query.encode()).fetchall()) == 4


def test_table_schema_and_column_are_quoted(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute(
        'CREATE SCHEMA "Über wachung"',
        'CREATE TABLE "Über wachung"."order; --" ("select ""x" text)',
        """INSERT INTO "Über wachung"."order; --" VALUES ('acme')""",
    )
    source = make_source(table="Über wachung.order; --", column='select "x')
    assert ids(source) == ["acme"]


def test_a_name_with_a_dot_is_written_in_double_quotes(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute(
        'CREATE TABLE "dotted.""name" (tenant_id text)',
        """INSERT INTO "dotted.""name" VALUES ('acme')""",
    )
    assert ids(make_source(table='"dotted.""name"')) == ["acme"]
    assert ids(make_source(table='public."dotted.""name"')) == ["acme"]


def test_a_condition_limits_what_is_read(database: TestDatabase, make_source: MakeSource) -> None:
    database.registry("acme", "globex", "100%")
    condition = "tenant_id LIKE '%%' OR tenant_id LIKE 'a%' -- or what starts with a"
    assert set(ids(make_source(where=condition))) == {"acme", "globex", "100%"}
    assert ids(make_source(where="tenant_id LIKE 'a%' -- only those")) == ["acme"]


def test_views_and_partitioned_tables_are_read_too(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute(
        "CREATE TABLE parts (tenant_id text) PARTITION BY LIST (tenant_id)",
        "CREATE TABLE part_a PARTITION OF parts FOR VALUES IN ('a')",
        "CREATE TABLE part_other PARTITION OF parts DEFAULT",
        "INSERT INTO parts VALUES ('a'), ('b'), ('b')",
        "CREATE VIEW seen AS SELECT tenant_id FROM parts",
    )
    assert ids(make_source(table="parts")) == ["a", "b"]
    assert ids(make_source(table="seen")) == ["a", "b"]


def test_columns_of_an_own_query_are_attributes_or_told_as_ignored_and_null_is_left_out(
    database: TestDatabase, make_source: MakeSource
) -> None:
    query = """
        SELECT '30d' AS retention, t AS tenant_id, NULL AS target, 100 AS database, 'a%b' AS "%s"
          FROM (VALUES ('globex'), ('acme')) v (t)
    """
    attributes = {"retention": "30d", "database": "100"}
    source = make_source(query=query)
    assert tenants(source) == [Tenant("acme", attributes), Tenant("globex", attributes)]
    (finding,) = findings(source)
    assert (finding.kind, finding.severity) == (FindingKind.UNKNOWN_ATTRIBUTE, Severity.INFO)
    assert finding.message == "1 column is ignored: %s"


def test_an_interval_of_an_own_query_is_a_duration_that_influxops_reads(
    database: TestDatabase, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c intervalstyle=iso_8601")
    query = """
        SELECT v::text AS tenant_id, v AS retention
          FROM (VALUES ('30 days'::interval), ('12:00'), ('36 hours'), ('1 day 00:30:05'),
                       ('0'), ('2 weeks'), (NULL)) AS v (v)
    """
    read = {tenant.id: tenant.attributes for tenant in tenants(make_source(query=query))}
    assert {id_: parse_duration(known["retention"]) for id_, known in read.items()} == {
        "30 days": 2_592_000,
        "12:00:00": 43_200,
        "36:00:00": 129_600,
        "1 day 00:30:05": 88_205,
        "00:00:00": 0,
        "14 days": 1_209_600,
    }
    assert all(known["retention"].endswith("s") for known in read.values())


@pytest.mark.parametrize("interval", ["1 mon", "1 year", "1 mon 2 days", "-1 days", "00:00:00.5"])
def test_an_interval_without_a_fixed_length_in_seconds_is_left_for_the_engine_to_refuse(
    database: TestDatabase, make_source: MakeSource, interval: str
) -> None:
    query = f"SELECT 'acme' AS tenant_id, '{interval}'::interval AS retention"
    (tenant,) = tenants(make_source(query=query))
    assert tenant.attributes["retention"] == interval
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(tenant.attributes["retention"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("'x' AS tenant", "has no column tenant_id, but tenant"),
        ("'x' AS \"Tenant_ID\", 1 AS n", "has no column tenant_id, but Tenant_ID and n"),
        ("'x' AS tenant_id, 'y' AS tenant_id", "has more than one column tenant_id"),
        (
            "'x' AS tenant_id, '1d' AS retention, '2d' AS retention",
            "has more than one column retention",
        ),
        ("'x' AS tenant_id, '1d' AS retenion", "has a column retenion; is retention meant?"),
        ("'x' AS tenant_id, '1d' AS \"Retention\"", "a column Retention; is retention meant?"),
        ("'x' AS tenant_id, 'a' AS datbase", "has a column datbase; is database meant?"),
        ("", "the query has no columns"),
    ],
)
def test_a_query_whose_columns_do_not_say_what_is_meant_is_refused(
    database: TestDatabase, make_source: MakeSource, columns: str, message: str
) -> None:
    error = failure(make_source(query=f"SELECT {columns}"))
    assert message in error.message
    assert error.remedy.value == "query"


def test_rows_that_differ_in_what_is_ignored_are_one_tenant(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme", "acme")
    assert tenants(make_source(query="SELECT * FROM device_registry")) == [Tenant("acme")]


def test_an_own_query_gives_equal_rows_once_and_rows_that_disagree_each(
    database: TestDatabase, make_source: MakeSource
) -> None:
    query = """
        SELECT * FROM (VALUES ('a', '1d'), ('a', '1d'), ('b', '1d'), ('b', NULL))
                      AS v (tenant_id, target)
    """
    assert tenants(make_source(query=query)) == [
        Tenant("a", {"target": "1d"}),
        Tenant("b"),
        Tenant("b", {"target": "1d"}),
    ]


def test_empty_ids_of_an_own_query_are_counted(
    database: TestDatabase, make_source: MakeSource
) -> None:
    source = make_source(query="SELECT * FROM (VALUES ('a'), (NULL), (' ')) v (tenant_id)")
    assert [finding.message for finding in findings(source)] == [
        "2 rows of the query have no tenant id"
    ]


def test_reading_is_read_only_and_signed(database: TestDatabase, make_source: MakeSource) -> None:
    database.registry("acme")
    error = failure(make_source(query="DELETE FROM device_registry RETURNING tenant_id"))
    assert "the query tries to write" in error.message
    assert ids(make_source()) == ["acme"]
    query = "SELECT current_setting(s) AS tenant_id FROM (VALUES ('application_name')) v (s)"
    assert ids(make_source(query=query)) == ["influxops"]


def test_a_query_that_gives_no_rows_at_all_is_told(
    database: TestDatabase, make_source: MakeSource
) -> None:
    error = failure(make_source(query="SET search_path = public"))
    assert error.message.endswith("the query gives no rows")


def test_more_than_one_statement_is_refused_before_any_has_run(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme", "globex")
    error = failure(make_source(query="SELECT 'acme'; SELECT 'globex'"))
    assert error.message.endswith("the query is more than one statement")
    assert "one SELECT" in error.hint
    escape = "COMMIT; DELETE FROM device_registry"
    failure(make_source(query=f"SELECT 'acme'; {escape}"))
    error = failure(
        make_source(where=f"true) GROUP BY 1; {escape}; SELECT FROM pg_class WHERE (true")
    )
    assert error.message.endswith(
        "reading device_registry with that condition is more than one statement"
    )
    assert "one condition in `where`" in error.hint
    assert ids(make_source(query="SELECT tenant_id FROM device_registry; -- all of them")) == [
        "acme",
        "globex",
    ]


def test_a_missing_table_with_none_near_is_told_with_those_that_are_there(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute("CREATE SCHEMA fleet", "CREATE TABLE fleet.zebra (id text)")
    assert "there is fleet.zebra: set `table`" in failure(make_source()).hint
    database.execute("CREATE TABLE orders (id text)", "CREATE VIEW bills AS SELECT FROM orders")
    assert "there is bills, orders: set `table`" in failure(make_source()).hint
    assert "there is fleet.zebra: set" in failure(make_source(table="fleet.customers")).hint
    with psycopg.connect(database.conninfo) as connection:
        for number in range(10):
            connection.execute(f"CREATE TABLE many_{number} (id text)".encode())
    assert "bills, many_0, many_1" in failure(make_source()).hint
    assert "many_8, …: set `table`" in failure(make_source()).hint


def test_a_missing_table_is_named_with_the_nearest_there_is(
    database: TestDatabase, make_source: MakeSource
) -> None:
    place = f"iot@127.0.0.1:{database.server.port}/{database.name}"
    error = failure(make_source())
    assert error.message == f"{place} has no table device_registry"
    assert "no tables" in error.hint
    database.execute(
        "CREATE TABLE device_registri (tenant_id text)",
        "CREATE SCHEMA fleet",
        "CREATE TABLE fleet.tenants (tenant_id text)",
    )
    assert "there is device_registri" in failure(make_source()).hint
    assert "there is fleet.tenants" in failure(make_source(table="tenants")).hint
    assert "there is fleet.tenants" in failure(make_source(table="fleet.tenant")).hint


def test_a_missing_column_is_named_with_the_nearest_there_is(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry()
    error = failure(make_source(column="tenantid"))
    assert error.message.endswith("device_registry has no column tenantid")
    assert "there is tenant_id" in error.hint
    assert "there is device_id, tenant_id" in failure(make_source(column="kunde")).hint


def test_what_may_not_be_read_is_told_with_the_grant(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute(
        "CREATE TABLE device_registry (tenant_id text)",
        "CREATE SCHEMA hidden",
        "CREATE TABLE hidden.registry (tenant_id text)",
        superuser=True,
    )
    error = failure(make_source())
    assert "permission denied for table device_registry" in error.message
    assert error.hint == "GRANT SELECT ON device_registry TO iot"
    assert (
        "GRANT USAGE ON SCHEMA hidden TO iot" in failure(make_source(table="hidden.registry")).hint
    )


def test_a_mistake_in_the_condition_or_the_query_is_told_as_such(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry()
    error = failure(make_source(where="deleted IS NULL"))
    assert (
        'reading device_registry with that condition fails: column "deleted" does not exist'
        in error.message
    )
    error = failure(make_source(query="SELEC 1"))
    assert "the query fails: syntax error" in error.message


def test_a_view_that_fails_is_not_blamed_on_a_condition_that_is_not_there(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute("CREATE VIEW broken AS SELECT (1 / (random() * 0)::int)::text AS tenant_id")
    error = failure(make_source(table="broken"))
    assert error.message.endswith("reading broken fails: division by zero")
    assert error.hint.startswith("if broken is a view, correct that")
    error = failure(make_source(table="broken", where="true"))
    assert error.hint == "correct `where`, or the view that it is put to; try it in psql"


def test_no_limit_of_a_statement_and_weeks_for_the_run_fit_together(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme")
    source = make_source(statement_timeout=0, connect_timeout=0)
    found = list(source.influxops_tenants(RunContext(timeout=90 * 86_400)))
    assert found == [Tenant("acme")]


def test_a_query_that_somebody_cancels_is_told_as_such(
    database: TestDatabase, make_source: MakeSource
) -> None:
    source = make_source(query="SELECT pg_sleep(60)::text AS needle")
    raised: list[SourceError] = []
    reader = threading.Thread(target=lambda: raised.append(failure(source)))
    reader.start()
    cancel = """
        SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
         WHERE state = 'active' AND query LIKE '%needle' AND application_name = 'influxops'
    """
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:
        give_up = time.monotonic() + 20
        while connection.execute(cancel).fetchone() == (0,):
            assert time.monotonic() < give_up
    reader.join(20)
    (error,) = raised
    assert error.message.endswith("somebody cancelled the query on the server")
    assert "statement_timeout" not in str(error)


def test_a_query_that_takes_too_long_is_given_up(
    database: TestDatabase, make_source: MakeSource
) -> None:
    error = failure(make_source(query="SELECT pg_sleep(30)::text", statement_timeout="0.1"))
    assert "took longer than the 0.1 s allowed" in error.message
    assert "statement_timeout" in error.hint


def test_the_run_s_deadline_ends_a_query(database: TestDatabase, make_source: MakeSource) -> None:
    source = make_source(query="SELECT pg_sleep(30)::text")
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        list(source.influxops_tenants(RunContext(timeout=0.5)))
    assert time.monotonic() - started < 10


def test_a_cancelled_run_ends_a_query_on_the_server_too(
    database: TestDatabase, make_source: MakeSource
) -> None:
    run = RunContext()
    source = make_source(query="SELECT pg_sleep(60)::text AS needle")
    raised: list[BaseException] = []

    def read() -> None:
        try:
            list(source.influxops_tenants(run))
        except BaseException as error:
            raised.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    asleep = """
        SELECT count(*) FROM pg_stat_activity
         WHERE state = 'active' AND query LIKE '%needle' AND application_name = 'influxops'
    """
    with psycopg.connect(database.superuser_conninfo, autocommit=True) as connection:

        def sleepers() -> Iterable[int]:
            give_up = time.monotonic() + 20
            while time.monotonic() < give_up:
                row = connection.execute(asleep).fetchone()
                yield row[0] if row else 0

        assert any(count == 1 for count in sleepers())
        run.cancel()
        reader.join(20)
        assert not reader.is_alive()
        assert any(count == 0 for count in sleepers())
    assert [type(error) for error in raised] == [Interrupted]


def test_nothing_is_asked_of_a_run_that_is_over(make_source: MakeSource) -> None:
    run = RunContext()
    run.cancel()
    with pytest.raises(Interrupted):
        make_source(port=1).influxops_tenants(run)


def test_reading_takes_four_round_trips(
    database: TestDatabase, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.registry("acme", None)
    source = make_source()
    statements: list[object] = []
    execute = psycopg.Connection.execute

    def count(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        statements.append(query)
        return execute(self, query, *arguments, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", count)
    assert ids(source) == ["acme"]
    # begin, catalog, ids and in the same round trip what they were read from, commit
    assert len(statements) == 5


def _hide(database: TestDatabase, table: LiteralString = "device_registry") -> None:
    """Show the user one tenant of two."""
    database.execute(
        f"CREATE TABLE {table} (tenant_id text)",
        f"INSERT INTO {table} VALUES ('acme'), ('globex')",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY part ON {table} USING (tenant_id = 'acme')",
        f"GRANT SELECT ON {table} TO iot",
        superuser=True,
    )


def hidden(source: PostgresSource) -> list[str]:
    found = findings(source)
    assert all((f.kind, f.severity) == (FindingKind.HIDDEN_ROWS, Severity.WARNING) for f in found)
    return [finding.message for finding in found]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"query": "SELECT tenant_id FROM device_registry"},
        {
            "query": "WITH a AS (SELECT * FROM device_registry) SELECT max(tenant_id) AS tenant_id"
            " FROM a"
        },
        {"table": "seen"},
        {"query": "SELECT tenant_id FROM seen"},
    ],
)
def test_row_level_security_that_may_hide_tenants_is_a_warning(
    database: TestDatabase, make_source: MakeSource, values: dict[str, str]
) -> None:
    _hide(database)
    database.execute("CREATE VIEW seen AS SELECT tenant_id FROM device_registry")
    source = make_source(**values)
    assert ids(source) == ["acme"]
    assert hidden(source) == [
        "row-level security may hide rows of device_registry from iot, and tenants with them"
    ]
    (finding,) = findings(source)
    with seeing_all_rows(database, finding.remedy.text):
        assert "globex" in ids(source)
        assert hidden(source) == []


def test_single_tenants_are_looked_up_among_those_that_row_level_security_shows(
    database: TestDatabase, make_source: MakeSource
) -> None:
    _hide(database)
    source = make_source()
    try:
        found = source.influxops_get_tenants(["acme", "globex"], RunContext())
        assert [tenant.id for tenant in found] == ["acme"]
        assert ids(source) == ["acme"]
    finally:
        source.influxops_close()


def test_a_view_of_somebody_who_sees_everything_hides_nothing(
    database: TestDatabase, make_source: MakeSource
) -> None:
    _hide(database)
    database.execute(
        "CREATE VIEW seen AS SELECT tenant_id FROM device_registry",
        "GRANT SELECT ON seen TO iot",
        "CREATE VIEW mine WITH (security_invoker = true) AS SELECT tenant_id FROM device_registry",
        "GRANT SELECT ON mine TO iot",
        superuser=True,
    )
    assert ids(make_source(table="seen")) == ["acme", "globex"]
    assert hidden(make_source(table="seen")) == []
    assert ids(make_source(table="mine")) == ["acme"]
    assert len(hidden(make_source(table="mine"))) == 1


def test_row_level_security_of_a_table_that_is_not_read_or_is_one_s_own_is_not_told(
    database: TestDatabase, make_source: MakeSource
) -> None:
    _hide(database, "elsewhere")
    database.registry("acme")
    database.execute(
        "ALTER TABLE device_registry ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY nobody ON device_registry USING (false)",
    )
    assert ids(make_source()) == ["acme"]
    assert hidden(make_source()) == []
    database.execute("ALTER TABLE device_registry FORCE ROW LEVEL SECURITY")
    assert ids(make_source()) == []
    assert len(hidden(make_source())) == 1


def test_a_policy_that_restricts_one_that_shows_everything_is_told(
    database: TestDatabase, make_source: MakeSource
) -> None:
    _hide(database)
    database.execute(
        "CREATE POLICY whole ON device_registry FOR SELECT TO iot USING (true)",
        "CREATE POLICY fewer ON device_registry AS RESTRICTIVE USING (tenant_id <> 'globex')",
        superuser=True,
    )
    assert ids(make_source()) == ["acme"]
    assert len(hidden(make_source())) == 1
