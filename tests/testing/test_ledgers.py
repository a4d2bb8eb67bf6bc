"""The ledger that influxops has holds to the contract of every ledger."""

from __future__ import annotations

import pytest

from influxops.plugin import RunContext
from influxops.testing import LedgerContract
from influxops_postgres import PostgresLedger
from influxops_postgres.ledger.transaction import installing
from tests.pg import TestDatabase


class TestPostgres(LedgerContract):
    plugin = PostgresLedger

    @pytest.fixture(autouse=True)
    def database(self, db: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LEDGER_PASSWORD", db.server.password)
        self.settings = {
            "host": "127.0.0.1",
            "port": db.server.port,
            "database": db.name,
            "user": db.server.user,
            "password": {"env": "LEDGER_PASSWORD"},
        }
        self.unreachable = {**self.settings, "port": 9}
        settings = PostgresLedger.Settings.parse(self.settings)
        assert [*installing(settings, RunContext())]
