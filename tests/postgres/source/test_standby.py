"""A replica is named as one, with how far it is behind."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from influxops.plugin import Check, Finding, FindingKind, RunContext, Severity, Tenant
from influxops_devserver.postgres import EmbeddedPostgres
from influxops_postgres import PostgresSource
from influxops_postgres.source import checks, registry
from tests.pg import TestDatabase
from tests.postgres.conftest import MakeSource


@pytest.fixture
def source(
    standby: EmbeddedPostgres, database: TestDatabase, make_source: MakeSource
) -> PostgresSource:
    """A source that reads the standby, which has all that the primary has."""
    database.registry("acme")
    _catch_up(database.server, standby)
    return make_source(port=standby.port)


@pytest.fixture
def stalled(source: PostgresSource, standby: EmbeddedPostgres) -> Iterator[None]:
    """Keep the standby from replaying, and let the primary go on."""
    with psycopg.connect(standby.superuser_conninfo(), autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            connection.execute("SELECT pg_wal_replay_resume()")


def _catch_up(primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
    with (
        psycopg.connect(primary.superuser_conninfo(), autocommit=True) as ahead,
        psycopg.connect(standby.superuser_conninfo(), autocommit=True) as behind,
    ):
        row = ahead.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        give_up = time.monotonic() + 20
        query = (
            "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            " AND pg_last_wal_replay_lsn() = pg_last_wal_receive_lsn()"
        )
        while behind.execute(query, row).fetchone() != (True,):
            assert time.monotonic() < give_up, "the standby does not follow"


def test_tenants_are_read_from_a_standby_that_is_named_as_one(source: PostgresSource) -> None:
    tenant, finding = source.influxops_tenants(RunContext())
    assert tenant == Tenant("acme")
    assert finding == Finding(
        FindingKind.STANDBY, Severity.INFO, "the tenants are read from a standby, 0.0 s behind"
    )


def test_an_own_query_on_a_standby_is_named_too(
    standby: EmbeddedPostgres, make_source: MakeSource, source: PostgresSource
) -> None:
    reader = make_source(port=standby.port, query="SELECT 'acme' AS tenant_id")
    kinds = [
        item.kind for item in reader.influxops_tenants(RunContext()) if isinstance(item, Finding)
    ]
    assert kinds == ["standby"]


def test_a_large_lag_is_a_warning_that_says_what_is_missing(
    source: PostgresSource,
    database: TestDatabase,
    stalled: None,
    monkeypatch: pytest.MonkeyPatch,
    standby: EmbeddedPostgres,
) -> None:
    monkeypatch.setattr(registry, "LARGE_LAG", 0)
    monkeypatch.setattr(checks, "LARGE_LAG", 0)
    database.execute("INSERT INTO device_registry (tenant_id) VALUES ('globex')")
    with psycopg.connect(standby.superuser_conninfo(), autocommit=True) as connection:
        received = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
        give_up = time.monotonic() + 20
        while connection.execute(received).fetchone() != (True,):
            assert time.monotonic() < give_up
    tenant, finding = source.influxops_tenants(RunContext())
    assert tenant == Tenant("acme")
    assert isinstance(finding, Finding)
    assert finding.severity is Severity.WARNING
    assert "newer than that are missing" in finding.message
    found: dict[str, Check] = {check.name: check for check in source.influxops_check(RunContext())}
    assert found["role"].ok is False


def test_doctor_names_a_standby(source: PostgresSource) -> None:
    found = {check.name: check for check in source.influxops_check(RunContext())}
    assert found["role"].ok is None
    assert found["role"].message == "a standby, 0.0 s behind; it offers no lock"
