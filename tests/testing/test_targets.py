"""The targets that influxops has hold to the contract of every target."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from influxops.testing import MemoryTarget, TargetContract
from influxops_influxdb3 import InfluxDB3Target
from tests.conftest import GiveStandIn
from tests.devserver.api import Api


class TestInfluxDB3(TargetContract):
    plugin = InfluxDB3Target
    invalid_names = ("", "a/b", "_internal")

    @pytest.fixture(autouse=True)
    def server(self, stand_in: GiveStandIn) -> None:
        server = stand_in()
        self.api = Api(server.url)
        self.settings = {"url": server.url}
        self.unreachable = {"url": "http://127.0.0.1:9"}

    def write(self, database: str) -> None:
        self.api.write(database, f"telemetry value=1 {time.time_ns()}")


class TestMemory(TargetContract):
    plugin = MemoryTarget

    def write(self, database: str) -> None:
        MemoryTarget.rows.setdefault(database, []).append(datetime.now(UTC))
