"""The target `influxdb1`: the contract of every target, and what only this one does."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

import pytest

from influxops.testing import Runner, TargetContract
from influxops_influxdb1 import InfluxDB1Target

PLUGINS = {"influxdb1": InfluxDB1Target}


def write(url: str, database: str, line: str) -> None:
    """Write a line to a database, as a tenant does."""
    query = urllib.parse.urlencode({"db": database})
    with urllib.request.urlopen(f"{url}/write?{query}", data=line.encode(), timeout=30):
        pass


def query(url: str, text: str) -> Any:
    """Ask the server past influxops."""
    data = urllib.parse.urlencode({"q": text}).encode()
    with urllib.request.urlopen(f"{url}/query", data=data, timeout=30) as answer:
        return json.load(answer)["results"]


class TestInfluxDB1Target(TargetContract):
    """What influxops expects of a target."""

    plugin = InfluxDB1Target
    invalid_names = ("", "..", "a/b", "a\\b", "_internal", "x" * 256)

    @pytest.fixture(autouse=True)
    def server(self, influxdb1: str) -> None:
        """Say where the server is, and where none is."""
        self.settings = {"url": influxdb1}
        self.unreachable = {"url": "http://127.0.0.1:9"}

    def write(self, database: str) -> None:
        """Write a row of telemetry."""
        write(str(self.settings["url"]), database, "telemetry,device=a value=1,other=2")


def test_a_tenant_gets_a_database_with_its_retention_policy(influxdb1: str) -> None:
    influxops = Runner(
        '[database]\nretention = "30d"\n[sources.them]\nkind = "memory"\ntenants = ["a\\"b"]\n'
        f'[targets.old]\nkind = "influxdb1"\nurl = "{influxdb1}"\n',
        PLUGINS,
    )
    done = influxops("ensure")
    assert done.exit_code == 0, done.output + done.errors
    (answer,) = query(influxdb1, 'SHOW RETENTION POLICIES ON "telemetry_a\\"b"')
    assert answer["series"][0]["values"] == [["autogen", "720h0m0s", "24h0m0s", 1, True]]
    assert influxops("plan", "--detailed-exitcode").exit_code == 0
    write(influxdb1, 'telemetry_a"b', "telemetry value=1")
    shown = influxops("status")
    assert (shown.exit_code, 'telemetry_a"b' in shown.output) == (0, True)
    assert query(influxdb1, 'DROP DATABASE "telemetry_a\\"b"')


def test_the_default_policy_of_a_database_is_its_retention_period_whatever_its_name(
    influxdb1: str,
) -> None:
    query(influxdb1, "CREATE DATABASE telemetry_acme WITH DURATION 2w NAME fortnight")
    try:
        config = (
            '[sources.them]\nkind = "memory"\ntenants = ["acme"]\n'
            f'[targets.old]\nkind = "influxdb1"\nurl = "{influxdb1}"\n'
        )
        done = Runner(config, PLUGINS)("ensure")
        assert done.exit_code == 0, done.output
        assert done.report is not None
        (tenant,) = done.report.tenants
        assert tenant.before is not None and tenant.before.retention == 14 * 86400
        config = config.replace("[sources", '[database]\nretention = "30d"\n[sources', 1)
        done = Runner(config, PLUGINS)("ensure")
        assert done.exit_code == 0, done.output
        (answer,) = query(influxdb1, "SHOW RETENTION POLICIES ON telemetry_acme")
        (policy,) = (row for row in answer["series"][0]["values"] if row[-1])
        assert policy[:2] == ["fortnight", "720h0m0s"]
    finally:
        query(influxdb1, "DROP DATABASE telemetry_acme")
