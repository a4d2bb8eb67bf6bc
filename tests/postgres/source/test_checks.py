"""What `influxops doctor` reports of a registry."""

from __future__ import annotations

import time

import pytest

from influxops.plugin import Check, RunContext
from influxops_postgres import PostgresSource
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeSource, seeing_all_rows


def checks(source: PostgresSource) -> dict[str, Check]:
    return {check.name: check for check in source.influxops_check(RunContext())}


def test_a_registry_without_faults_passes_every_check(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry("acme", "globex")
    found = checks(make_source())
    assert list(found) == ["connection", "role", "clock", "table", "rights", "index", "tenants"]
    assert all(check.ok for check in found.values())
    assert "PostgreSQL 18" in found["connection"].message
    assert found["role"].message == "a primary"
    assert found["tenants"].message.startswith("2 tenants read")


def test_an_own_query_is_tried(database: TestDatabase, make_source: MakeSource) -> None:
    found = checks(make_source(query="SELECT 'acme' AS tenant_id"))
    assert list(found) == ["connection", "role", "clock", "tenants"]


def test_an_empty_registry_and_empty_ids_are_told(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.registry(None)
    found = checks(make_source())
    assert found["tenants"].ok is None
    assert found["tenant ids"].ok is False
    assert found["tenant ids"].message == "1 row of device_registry has no tenant_id"


def test_a_server_that_is_down_and_a_missing_table_are_told(
    database: TestDatabase, make_source: MakeSource
) -> None:
    down = checks(make_source(port=1))["connection"]
    assert down.ok is False
    assert "refused" in down.message
    missing = checks(make_source())["registry"]
    assert missing.ok is False
    assert "has no table device_registry" in missing.message


def test_a_missing_right_is_told_with_the_grant_that_gives_it(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute("CREATE TABLE device_registry (tenant_id text)", superuser=True)
    found = checks(make_source())
    assert list(found)[-1] == "rights"
    assert found["rights"].ok is False
    database.execute(str(found["rights"].hint), superuser=True)
    assert checks(make_source())["rights"].ok is True


def test_row_security_that_may_hide_tenants_is_told(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute(
        "CREATE TABLE device_registry (tenant_id text)",
        "ALTER TABLE device_registry ENABLE ROW LEVEL SECURITY",
        "GRANT SELECT ON device_registry TO iot",
        superuser=True,
    )
    advice = checks(make_source())["row security"]
    assert advice.ok is None
    with seeing_all_rows(database, str(advice.hint)):
        assert "row security" not in checks(make_source())


def test_a_large_table_is_advised_an_index_and_the_advice_helps(
    database: TestDatabase, make_source: MakeSource
) -> None:
    database.execute(
        "CREATE TABLE device_registry (tenant_id text)",
        "INSERT INTO device_registry SELECT n % 10 FROM generate_series(1, 100000) n",
        "ANALYZE device_registry",
    )
    advice = checks(make_source())["index"]
    assert advice.ok is None
    assert "about 100,000 rows" in advice.message
    database.execute(*advice.hint.split("; "))
    index = checks(make_source())["index"]
    assert index.ok is True
    assert index.message.endswith("skip scan")


def test_clocks_that_differ_are_told(
    database: TestDatabase, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.registry("acme")
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 90)
    found = checks(make_source())["clock"]
    assert found.ok is False
    assert "differ by 90." in found.message or "differ by 89." in found.message
