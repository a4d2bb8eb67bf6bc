"""The sources that influxops has hold to the contract of every source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from influxops.plugin import Tenant
from influxops.testing import MemorySource, SourceContract
from influxops_files import FileSource, StaticSource
from influxops_postgres import PostgresSource
from tests.pg import TestDatabase


class TestPostgres(SourceContract):
    plugin = PostgresSource
    expected = ("acme", "globex")

    @pytest.fixture(autouse=True)
    def registry(self, db: TestDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        db.registry("globex", "acme", "acme")
        monkeypatch.setenv("REGISTRY_PASSWORD", db.server.password)
        self.settings = {
            "host": "127.0.0.1",
            "port": db.server.port,
            "database": db.name,
            "user": db.server.user,
            "password": {"env": "REGISTRY_PASSWORD"},
        }
        self.unreachable = {**self.settings, "port": 9}


class TestFile(SourceContract):
    plugin = FileSource
    expected = ("acme", Tenant("globex", {"database": "globex"}))

    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path) -> None:
        path = tmp_path / "tenants.csv"
        path.write_text("id,database\nacme,\nglobex,globex\n")
        self.settings = {"path": str(path)}
        self.unreachable = {"path": str(tmp_path / "missing.csv")}


class TestStatic(SourceContract):
    plugin = StaticSource
    expected = ("acme", Tenant("globex", {"retention": "30d"}))
    settings: Mapping[str, Any] = {"tenants": ["acme", {"id": "globex", "retention": "30d"}]}


class TestMemory(SourceContract):
    plugin = MemorySource
    expected = ("acme", "globex")
    settings: Mapping[str, Any] = {"tenants": ["acme", "globex"]}
