"""Watching the version of the routes: a commit is noticed by its notification, not by looking."""

from __future__ import annotations

import psycopg
import pytest

from influxops.plugin import RunContext
from influxops_postgres import PostgresLedger
from influxops_postgres.ledger import routes
from tests.pg import TestDatabase


def test_a_commit_is_noticed_at_once(
    ledger: PostgresLedger, database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BEAT", 600.0)  # never in this test
    monkeypatch.setattr(routes, "LIMIT", 700.0)
    versions = ledger.influxops_watch_routes(RunContext(30))
    before = next(versions)
    with psycopg.connect(database.conninfo) as connection:
        connection.execute(
            "INSERT INTO influxops.tenants (namespace, tenant, state, database, target) "
            "VALUES ('default', 'acme', 'ready', 'telemetry_acme', 'eu1')"
        )
    assert next(versions) == before + 1
    with psycopg.connect(database.conninfo) as connection:
        for state in ("lost", "ready"):  # both may be noticed together, or one by one
            connection.execute("UPDATE influxops.tenants SET state = %s", [state])
    assert next(versions) == before + 3
