"""The target `schemas`: the contract of every target, and what only this one does."""

from __future__ import annotations

import psycopg
import pytest

from influxops.testing import Runner, TargetContract
from influxops_schemas import SchemaTarget


class TestSchemaTarget(TargetContract):
    """What influxops expects of a target."""

    plugin = SchemaTarget
    invalid_names = ("", "x" * 64, "pg_catalog")

    @pytest.fixture(autouse=True)
    def server(self, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Say where the server is, and where none is."""
        monkeypatch.setenv("SCHEMAS", postgres)
        monkeypatch.setenv("NO_SCHEMAS", "host=127.0.0.1 port=9 dbname=x")
        self.settings = {"conninfo": {"env": "SCHEMAS"}}
        self.unreachable = {"conninfo": {"env": "NO_SCHEMAS"}}


def test_a_tenant_gets_a_schema(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEMAS", postgres)
    influxops = Runner(
        '[sources.them]\nkind = "memory"\ntenants = ["acme"]\n'
        '[targets.warehouse]\nkind = "schemas"\nconninfo = {env = "SCHEMAS"}\n',
        {"schemas": SchemaTarget},
    )
    done = influxops("ensure")
    assert done.exit_code == 0, done.output + done.errors
    with psycopg.connect(postgres) as connection:
        found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'telemetry_acme'")
        assert found.fetchone() == (1,)
