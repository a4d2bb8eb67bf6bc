"""InfluxDB away or hanging: nobody waits for long, no answer is a 5xx, nothing is lost."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from influxops_devserver.postgres import EmbeddedPostgres
from influxops_devserver.testing import running_stand_in
from tests.integration.proxy import Answer, Proxy, Seen, running_proxy
from tests.integration.servers import Influx, new_stand_in
from tests.provisioner.conftest import until
from tests.web.conftest import Web, platform, serving

pytestmark = [pytest.mark.stand_in, pytest.mark.faults]

#: What a loaded machine may need beside the budget for two hundred requests at once, in seconds.
SLACK = 15.0


class _Holding:
    """Lets a proxy hold all requests until it is let go."""

    def __init__(self, proxy: Proxy) -> None:
        self.let_go, self.arrived = threading.Event(), threading.Event()
        proxy.before = self._hold

    def _hold(self, seen: Seen) -> Answer:
        self.arrived.set()
        self.let_go.wait(120)
        return None


@pytest.fixture
def behind(tmp_path: Path, postgres: EmbeddedPostgres) -> Iterator[tuple[Web, Proxy]]:
    """A service whose InfluxDB is behind a proxy."""
    with (
        new_stand_in(max_databases=None) as server,
        running_proxy(server.url, "") as proxy,
        platform(tmp_path, postgres, Influx(proxy.url)) as web,
    ):
        yield web, proxy


def test_two_hundred_requests_are_answered_while_influxdb_hangs(
    behind: tuple[Web, Proxy],
) -> None:
    web, proxy = behind
    assert web.ask("POST", "/operator/tenants", json={"tenant_id": "before"}).status == 201
    holding = _Holding(proxy)
    pool = urllib3.HTTPConnectionPool(web.url.removeprefix("http://"), maxsize=200, timeout=90)
    bearer = {"Authorization": f"Bearer {web.admin}"}

    def ask(number: int) -> tuple[int, bool | None]:
        if number % 4 == 3:
            path = "/operator/tenants/before/stats"
            answer = pool.request("GET", path, headers=bearer, retries=False)
            return answer.status, answer.json()["influxdb"]["exists"]
        body = {"tenant_id": f"t{number}"}
        answer = pool.request("POST", "/operator/tenants", headers=bearer, json=body, retries=False)
        return answer.status, answer.json()["influxdb_provisioned"]

    try:
        began = time.monotonic()
        with ThreadPoolExecutor(200) as threads:
            answers = list(threads.map(ask, range(200)))
        took = time.monotonic() - began
        assert answers == [(200, None) if n % 4 == 3 else (201, False) for n in range(200)]
        assert took < 2.0 + SLACK
        wanted = web.rows("SELECT count(*) FROM influxops.tenants WHERE tenant LIKE 't%%'")
        assert wanted == [(150,)]
        ready = web.ask("GET", "/readyz", token="")  # no less ready
        assert (ready.status, ready.json()["trouble"]) == (200, ["target:eu1"])
    finally:
        holding.let_go.set()
        pool.close()
    until(lambda: states(web) == {"ready": 151}, timeout=120)


def test_a_request_under_way_is_answered_before_the_service_ends(
    behind: tuple[Web, Proxy],
) -> None:
    web, proxy = behind
    holding = _Holding(proxy)
    body = {"tenant_id": "last"}
    with ThreadPoolExecutor(1) as thread:
        try:
            asked = thread.submit(web.ask, "POST", "/operator/tenants", json=body)
            until(lambda: web.rows("SELECT 1 FROM tenants WHERE tenant_id = 'last'"))
            assert holding.arrived.wait(30)
            web.process.terminate()
            answer = asked.result(60)
        finally:
            holding.let_go.set()
    assert (answer.status, answer.json()["influxdb_provisioned"]) == (201, False)
    assert web.process.wait(60) == 0


def test_a_page_says_why_a_server_is_not_asked_instead_of_waiting_for_it(
    behind: tuple[Web, Proxy],
) -> None:
    web, proxy = behind
    assert web.ask("POST", "/operator/tenants", json={"tenant_id": "before"}).status == 201
    holding = _Holding(proxy)
    try:
        assert web.ask("POST", "/operator/tenants", json={"tenant_id": "late"}).status == 201
        until(lambda: server(web)["trouble"] is not None)
        for path in ("/fleet", "/tenant?id=before"):
            page = web.ask("GET", path, headers={"Accept": "text/html"})
            text = html.unescape(page.data.decode())
            assert server(web)["trouble"] in text
    finally:
        holding.let_go.set()


def server(web: Web) -> dict[str, Any]:
    found: dict[str, Any] = web.ask("GET", "/operator/fleet").json()["servers"][0]
    return found


def states(web: Web) -> dict[str, int]:
    found: dict[str, int] = web.ask("GET", "/operator/fleet").json()["states"]
    return found


def test_a_tenant_that_is_created_while_influxdb_is_away_is_made_when_it_is_back(
    tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    with running_stand_in(max_databases=None, wal_flush_interval="50ms") as server:
        port = server.port
    with platform(tmp_path, postgres, Influx(f"http://127.0.0.1:{port}")) as web:
        answer = web.ask("POST", "/operator/tenants", json={"tenant_id": "early"})
        assert (answer.status, answer.json()["influxdb_provisioned"]) == (201, False)
        body = {"tenant_id": "early", "device_id": "d1"}
        device = web.ask("POST", "/api/admin/devices", json=body)
        assert (device.status, device.json()["influxdb_provisioned"]) == (201, False)
        stats = web.ask("GET", "/operator/tenants/early/stats").json()
        assert stats["influxdb"]["exists"] is None
        assert stats["influxdb"]["error"]
        assert stats["stats"]["devices"] == 1
        fleet = web.ask("GET", "/operator/fleet").json()
        assert [each["tenant_id"] for each in fleet["waiting"]] == ["early"]
        assert fleet["servers"][0]["trouble"]
        assert "early: no database yet: " in web.logged()
        ensured = web.ask("POST", "/operator/tenants/early/ensure").json()
        assert (ensured["influxdb_provisioned"], ensured["target"]) == (False, None)
        page = web.ask("GET", "/tenant?id=early", headers={"Accept": "text/html"})
        assert page.status == 200
        text = page.data.decode()
        assert "none recorded: target:eu1: " in text
        assert "it would be" not in text
        assert "telemetry_early on eu1" not in text
        # What waits outlives the process, too: it is in the ledger.
        web.process.kill()
        web.process.wait(30)
        with (
            running_stand_in(max_databases=None, wal_flush_interval="50ms", port=port) as server,
            serving(web.cli, web.db, Influx(server.url), web.admin, web.reader) as again,
        ):
            until(lambda: states(again) == {"ready": 1}, timeout=60)
            assert Influx(server.url).databases() == ["telemetry_early"]
            again.process.terminate()
            assert again.process.wait(30) == 0
