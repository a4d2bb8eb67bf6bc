"""Every access of an operator is written down, and no secret with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.servers import Influx
from tests.web.conftest import Web, platform
from tests.web.security.test_auth import log_in

pytestmark = pytest.mark.stand_in


def test_allowed_and_refused_accesses_are_in_the_audit_log(web: Web) -> None:
    (last,) = web.rows("SELECT coalesce(max(id), 0) FROM operator_audit_log")
    cookie, _ = log_in(web, web.admin)
    web.ask("POST", "/operator/tenants", json={"tenant_id": "audited"})
    web.ask("POST", "/operator/tenants", json={"tenant_id": "audited"})
    web.ask("POST", "/operator/tenants", token=web.reader, json={"tenant_id": "audited"})
    web.ask("GET", "/operator/tenants/audited", token="", headers={"Cookie": cookie})
    web.ask("GET", "/operator/tenants/audited", token="iop_forged_forged_forged")
    web.ask("GET", f"/operator/tenants/{web.admin}", token="")
    rows = web.rows(
        "SELECT who, role, via, method, path, tenant, status, address FROM operator_audit_log "
        "WHERE id > %s ORDER BY id",
        *last,
    )
    home, tenants, one = "127.0.0.1", "/operator/tenants", "/operator/tenants/audited"
    admin = ("admin", "operator_admin")
    assert rows == [
        ("admin", "", "", "POST", "/login", None, 200, home),
        (*admin, "token", "POST", tenants, "audited", 201, home),
        (*admin, "token", "POST", tenants, "audited", 409, home),
        ("reader", "operator", "token", "POST", tenants, None, 403, home),
        (*admin, "cookie", "GET", one, "audited", 200, home),
        ("", "", "", "GET", one, None, 401, home),
        ("", "", "", "GET", f"{tenants}/iop_[redacted]", None, 401, home),
    ]


def test_what_watches_the_service_is_not_written_down(web: Web) -> None:
    before = web.rows("SELECT count(*) FROM operator_audit_log")
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert web.ask("GET", path, token="").status == 200
    assert web.rows("SELECT count(*) FROM operator_audit_log") == before


def test_what_cannot_be_written_down_is_not_shown(web: Web) -> None:
    web.db.execute("ALTER TABLE operator_audit_log RENAME TO away")
    try:
        answer = web.ask("GET", "/operator/tenants")
        assert answer.status == 503
        assert "tenants" not in answer.json()
    finally:
        web.db.execute("ALTER TABLE away RENAME TO operator_audit_log")
    assert web.ask("GET", "/operator/tenants").status == 200


def test_no_secret_is_in_the_log(web: Web) -> None:
    cookie, csrf = log_in(web, web.admin)
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf}
    body = {"tenant_id": "quiet"}
    assert web.ask("POST", "/operator/tenants", token="", headers=headers, json=body).status == 201
    made = web.ask("POST", "/api/admin/devices", json={"tenant_id": "quiet", "device_id": "d"})
    assert made.status == 201
    web.ask("GET", f"/operator/tenants/{web.admin}?token={web.reader}")
    web.ask("GET", f"/{web.reader}")
    log = web.logged()
    assert "GET /operator/tenants/iop_[redacted] " in log
    code = made.json()["activation_code"]
    for secret in (web.admin, web.reader, cookie.partition("=")[2], csrf, code, "iot_dev"):
        assert secret not in log
    stored = str(web.rows("SELECT a::text FROM operator_audit_log AS a"))
    for secret in (web.admin, web.reader, code):
        assert secret not in stored


def test_a_long_id_and_a_token_in_its_place_are_cut_and_taken_out(web: Web) -> None:
    (last,) = web.rows("SELECT coalesce(max(id), 0) FROM operator_audit_log")
    # What an index cannot hold: it does not shrink when it is compressed.
    long = "".join(f"{number:04x}" for number in range(0, 65536, 68))
    assert web.ask("GET", f"/tenant?id={long}").status == 404
    assert web.ask("GET", f"/tenant?id={web.reader}").status == 404
    rows = web.rows("SELECT tenant FROM operator_audit_log WHERE id > %s ORDER BY id", *last)
    assert rows == [(long[:128],), ("iop_[redacted]",)]


def test_what_a_proxy_gives_as_an_address_is_one_or_is_left_out(
    tmp_path: Path, postgres: EmbeddedPostgres, influx: Influx
) -> None:
    with platform(tmp_path, postgres, influx, "", "--proxy-headers") as believing:
        for address in (believing.reader, "<script>", f"2001:db8::7%{believing.reader}"):
            believing.ask("GET", "/session", headers={"X-Forwarded-For": address})
        rows = believing.rows("SELECT address FROM operator_audit_log WHERE path = '/session'")
        assert {address for (address,) in rows} == {"", "2001:db8::7"}
        assert believing.reader not in believing.logged()
