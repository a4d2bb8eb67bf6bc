"""Tenants, devices and the fleet, as programs ask for them."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.provisioner.conftest import until
from tests.web.conftest import Web
from tests.web.security.test_auth import kind

pytestmark = pytest.mark.stand_in


def create(web: Web, id_: str, **more: str) -> dict[str, Any]:
    answer = web.ask("POST", "/operator/tenants", json={"tenant_id": id_, **more})
    assert answer.status == 201, answer.data
    created: dict[str, Any] = answer.json()
    return created


def test_a_tenant_is_found_changed_and_ensured(web: Web) -> None:
    assert create(web, "one", name="Öne & <b>") == {
        "tenant_id": "one",
        "status": "created",
        "influxdb_provisioned": True,
    }
    found = web.ask("GET", "/operator/tenants/one").json()
    assert (found["name"], found["status"]) == ("Öne & <b>", "active")
    assert found["influxdb"]["target"] == "eu1"
    assert found["influxdb"]["database"] == "telemetry_one"
    changed = web.ask("PATCH", "/operator/tenants/one", json={"status": "suspended"}).json()
    assert (changed["name"], changed["status"]) == ("Öne & <b>", "suspended")
    changed = web.ask("PATCH", "/operator/tenants/one", json={"name": "One"}).json()
    assert (changed["name"], changed["status"]) == ("One", "suspended")
    ensured = web.ask("POST", "/operator/tenants/one/ensure").json()
    assert (ensured["influxdb_provisioned"], ensured["database"]) == (True, "telemetry_one")
    assert "telemetry_one" in web.influx.databases()  # a suspended tenant keeps it


def test_the_history_says_whose_token_asked_for_a_database(web: Web) -> None:
    # The first full run of the service, which asks for nobody, is over.
    until(lambda: web.rows("SELECT FROM influxops.servers WHERE read IS NOT NULL"))
    create(web, "whose")
    query = "SELECT who, door FROM influxops.history WHERE tenant = 'whose' AND event = 'created'"
    assert web.rows(query) == [("admin", "api")]


def test_a_tenant_of_that_id_is_a_conflict_and_stays_as_it_is(web: Web) -> None:
    create(web, "twice", name="first")
    answer = web.ask("POST", "/operator/tenants", json={"tenant_id": "twice", "name": "second"})
    assert (answer.status, kind(answer)) == (409, "tenant-exists")
    assert web.ask("GET", "/operator/tenants/twice").json()["name"] == "first"


def test_tenants_are_listed_by_pages_and_filtered(web: Web) -> None:
    with psycopg.connect(web.db.conninfo) as connection:
        connection.execute(
            "INSERT INTO tenants (tenant_id, name, status) "
            "SELECT 'list-' || lpad(n::text, 3, '0'), 'Number ' || n, "
            "CASE WHEN n % 2 = 0 THEN 'active' ELSE 'suspended' END "
            "FROM generate_series(1, 120) n"
        )
    asked = "/operator/tenants?search=LIST-&per_page=50"
    first = web.ask("GET", asked).json()
    assert (first["total"], first["pages"], len(first["tenants"])) == (120, 3, 50)
    last = web.ask("GET", f"{asked}&page=3").json()
    assert [each["tenant_id"] for each in last["tenants"]][-1] == "list-120"
    assert len(last["tenants"]) == 20
    beyond = web.ask("GET", f"{asked}&page=4")
    assert (beyond.status, kind(beyond)) == (404, "no-such-page")
    suspended = web.ask("GET", "/operator/tenants?search=list-&status=suspended").json()
    assert suspended["total"] == 60
    assert web.ask("GET", "/operator/tenants?search=number%20120").json()["total"] == 1
    assert web.ask("GET", "/operator/tenants?search=%25").json()["total"] == 0  # no pattern


def test_stats_count_devices_and_telemetry(web: Web) -> None:
    create(web, "counted", name="Counted")
    for number in range(3):
        body = {"tenant_id": "counted", "device_id": f"counted-{number}"}
        assert web.ask("POST", "/api/admin/devices", json=body).status == 201
    with psycopg.connect(web.db.conninfo) as connection:
        connection.execute(
            "UPDATE device_registry SET status = 'retired', last_seen_at = '2026-01-02T03:04:05Z' "
            "WHERE device_id = 'counted-0'"
        )
    for line in ("telemetry,device=a value=1", "telemetry,device=b value=2"):
        web.influx.write("telemetry_counted", line)

    def stats() -> Any:
        return web.ask("GET", "/operator/tenants/counted/stats").json()

    web.influx.write("telemetry_counted", "cpu,device=a value=1 1767225600000000000")

    def counted() -> Any:
        found = stats()
        return found if found["influxdb"]["telemetry_count"] == 2 else None

    found = until(counted)
    assert found["influxdb"]["rows"] == 3
    cpu, telemetry = found["influxdb"]["tables"]
    assert (cpu["name"], cpu["rows"], cpu["last_write"]) == ("cpu", 1, "2026-01-01T00:00:00Z")
    assert found["influxdb"]["last_write"] == telemetry["last_write"]
    assert (found["tenant_id"], found["name"], found["status"]) == ("counted", "Counted", "active")
    assert found["influxdb"]["exists"] is True
    assert (found["stats"]["devices"], found["stats"]["active_devices"]) == (3, 2)
    assert found["stats"]["last_device_at"] is not None
    assert found["stats"]["last_seen_at"] == "2026-01-02T03:04:05Z"


def test_a_device_is_registered_with_a_code_that_is_good_for_a_while(web: Web) -> None:
    create(web, "devices")
    body = {"tenant_id": "devices", "device_id": "pump 7/ä", "name": "Pump"}
    answer = web.ask("POST", "/api/admin/devices", json=body)
    assert answer.status == 201
    made = answer.json()
    assert (made["device_id"], made["influxdb_provisioned"]) == ("pump 7/ä", True)
    rows = web.rows(
        "SELECT r.name, r.status, a.code_hash, a.expires_at - a.created_at, a.used_at "
        "FROM device_registry r JOIN device_activation a USING (tenant_id, device_id) "
        "WHERE tenant_id = 'devices'"
    )
    hashed = hashlib.sha256(made["activation_code"].encode()).digest()
    assert rows == [("Pump", "active", hashed, timedelta(hours=24), None)]
    assert datetime.fromisoformat(made["activation_expires_at"]).tzinfo is not None
    again = web.ask("POST", "/api/admin/devices", json=body)
    assert (again.status, kind(again)) == (409, "device-exists")
    nobody = web.ask("POST", "/api/admin/devices", json={"tenant_id": "nobody"})
    assert (nobody.status, kind(nobody)) == (404, "no-such-tenant")
    activations = web.rows("SELECT count(*) FROM device_activation WHERE tenant_id = 'devices'")
    assert activations == [(1,)]
    own = web.ask("POST", "/api/admin/devices", json={"tenant_id": "devices"}).json()
    assert own["device_id"]


def test_a_device_without_its_activation_is_not_registered(web: Web) -> None:
    create(web, "whole")
    web.db.execute("ALTER TABLE device_activation RENAME TO away")
    try:
        body = {"tenant_id": "whole", "device_id": "half"}
        assert web.ask("POST", "/api/admin/devices", json=body).status == 503
    finally:
        web.db.execute("ALTER TABLE away RENAME TO device_activation")
    assert web.rows("SELECT 1 FROM device_registry WHERE device_id = 'half'") == []


def test_the_fleet_tells_what_each_server_holds_and_who_waits(web: Web) -> None:
    create(web, "fleet")
    found = web.ask("GET", "/operator/fleet").json()
    (server,) = found["servers"]
    assert (server["name"], server["url"], server["state"]) == ("eu1", web.influx.url, "active")
    assert server["databases"] >= 1
    assert server["trouble"] is None
    assert found["states"]
    assert found["waiting_total"] >= len(found["waiting"])


def test_metrics_and_health_name_no_tenant(web: Web) -> None:
    create(web, "unnamed")
    assert web.ask("GET", "/healthz", token="").json() == {"status": "ok"}
    assert web.ask("GET", "/readyz", token="").json()["status"] == "ok"
    page = web.ask("GET", "/metrics", token="").data.decode()
    created = 'influxops_web_requests_total{method="POST",route="/operator/tenants",status="201"}'
    assert created in page
    assert "unnamed" not in page


def test_every_answer_has_the_headers_that_protect_a_browser(web: Web) -> None:
    for path in ("/healthz", "/operator/tenants", "/no/such/path"):
        for token in (web.admin, ""):
            headers = web.ask("GET", path, token=token).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Cache-Control"] == "no-store"
            assert "script-src 'self'" in headers["Content-Security-Policy"]
            assert "unsafe-inline" not in headers["Content-Security-Policy"]
            assert "Server" not in headers


def test_a_run_of_the_command_line_knows_the_services_tenants(web: Web) -> None:
    create(web, "without-devices")
    done = web.cli("status", "without-devices", "--format", "json")
    assert done.code == 0, done.all
    (row,) = done.json["tenants"]
    assert (row["tenant"], row["exists"]) == ("without-devices", True)


def test_a_database_that_a_client_created_again_is_lost_for_programs_and_on_the_page(
    web: Web,
) -> None:
    with psycopg.connect(web.db.conninfo) as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('gone')")
    web.cli("ensure", "gone")  # so that the service has not seen it yet
    query = "SELECT state FROM influxops.tenants WHERE tenant = 'gone'"
    assert web.rows(query) == [("ready",)]
    web.influx.drop("telemetry_gone")
    web.influx.write("telemetry_gone", "telemetry,device=d1 temperature=21.5")
    page = web.ask("GET", "/tenant?id=gone", headers={"Accept": "text/html"}).data.decode()
    assert "a client has created another one of that name, which holds 1 row" in page
    assert "influxops adopt gone" in page
    ensured = web.ask("POST", "/operator/tenants/gone/ensure").json()
    assert (ensured["how"], ensured["influxdb_provisioned"]) == ("failed", False)
    assert "a client has created another one" in ensured["reason"]
    stats = web.ask("GET", "/operator/tenants/gone/stats").json()["influxdb"]
    assert (stats["exists"], stats["telemetry_count"]) == (False, 0)
    assert web.rows(query) == [("lost",)]
    assert web.ask("GET", "/operator/tenants/gone").json()["influxdb"]["state"] == "lost"
    waiting = web.ask("GET", "/operator/fleet").json()["waiting"]
    assert ("gone", "lost") in {(each["tenant_id"], each["state"]) for each in waiting}
    events = web.rows("SELECT event FROM influxops.history WHERE tenant = 'gone' ORDER BY id")
    assert [event for (event,) in events] == ["created", "recreated"]
