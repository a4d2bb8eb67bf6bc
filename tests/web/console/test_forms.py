"""The console's forms and lists, as a browser sends and gets them."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
import urllib3

from tests.provisioner.conftest import until
from tests.web.conftest import Web
from tests.web.console.browser import COOKIE, session

pytestmark = pytest.mark.stand_in


def page(web: Web, path: str, token: str | None = None) -> str:
    """A page, as an operator's browser shows it."""
    cookie = {"Cookie": f"{COOKIE}={session(web, token or web.admin)}"}
    answer = web.ask("GET", path, token="", headers={"Accept": "text/html", **cookie})
    assert answer.status == 200, answer.data
    return " ".join(answer.data.decode().split())


def send(web: Web, path: str, token: str | None = None, **fields: str) -> urllib3.BaseHTTPResponse:
    """Send a form."""
    csrf = re.search(r'"csrf_token" value="([^"]+)"', page(web, "/create", token))
    assert csrf is not None
    headers = {
        "Accept": "text/html",
        "Cookie": f"{COOKIE}={session(web, token or web.admin)}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"csrf_token": csrf[1], **fields})
    return web.ask("POST", path, token="", headers=headers, body=body)


def test_a_tenant_is_created_on_a_page(web: Web) -> None:
    answer = send(web, "/create", id="fresh", name="Fresh & Co")
    assert (answer.status, answer.headers["Location"]) == (
        303,
        "/tenant?id=fresh&ensured=created",
    )
    assert "telemetry_fresh" in web.influx.databases()
    text = page(web, "/tenant?id=fresh&ensured=created")
    assert "Fresh &amp; Co" in text and "The database was created just now." in text
    again = send(web, "/create", id="fresh")
    assert again.status == 409 and b"there is a tenant fresh already" in again.data
    odd = send(web, "/create", id="no such/id")
    assert odd.status == 422 and b"<h1" in odd.data
    assert send(web, "/create", web.reader, id="other").status == 403
    assert 'type="submit">Create' not in page(web, "/create", web.reader)


def test_a_database_is_adopted_on_a_page(web: Web) -> None:
    assert send(web, "/create", id="heir").status == 303
    web.influx.write("legacy", "telemetry,device=d value=1")
    assert "<code>" not in page(web, "/tenant/adopt?id=heir").partition("<main")[2]
    query = "SELECT state FROM influxops.tenants WHERE tenant = 'heir'"
    until(lambda: web.rows(query) == [("ready",)])
    answer = send(web, "/tenant/adopt", id="heir", database="legacy")
    assert (answer.status, answer.headers["Location"]) == (303, "/tenant?id=heir")
    assert "Adopt</strong>" in page(web, "/tenant?id=heir")
    query = "SELECT database FROM influxops.tenants WHERE tenant = 'heir'"
    assert web.rows(query) == [("legacy",)]
    wrong = page(web, send(web, "/tenant/adopt", id="heir", database="nowhere").headers["Location"])
    assert "no target holds a database called nowhere" in wrong


def test_tokens_are_listed_and_revoked_on_a_page(web: Web) -> None:
    made = web.cli("token", "create", "--role", "operator", "--name", "leaving").out.strip()
    ((number,),) = web.rows("SELECT id FROM operator_tokens WHERE name = 'leaving'")
    text = page(web, "/tokens")
    assert ">leaving</td>" in text and "yours</span>" in text
    assert made not in text and web.admin not in text
    assert "Revoke" not in page(web, "/tokens", web.reader).partition("<table")[2]
    assert web.ask("GET", "/operator/fleet", token=made).status == 200
    assert send(web, f"/tokens/{number}/revoke", web.reader).status == 403
    assert f'action="/tokens/{number}/revoke"' in text
    assert send(web, f"/tokens/{number}/revoke").status == 303
    query = f"SELECT status FROM operator_audit_log WHERE path = '/tokens/{number}/revoke'"
    assert web.rows(query) == [(403,), (303,)]  # the log tells which one
    assert web.ask("GET", "/operator/fleet", token=made).status == 401
    assert ">revoked</span>" in page(web, "/tokens")


def test_the_audit_log_is_read_page_by_page_and_of_one_tenant(web: Web) -> None:
    assert send(web, "/create", id="watched").status == 303
    page(web, "/tenant?id=watched")
    lines = page(web, "/audit?tenant=watched").partition("<tbody>")[2].split("<tr>")[1:]
    assert len(lines) == 2
    assert "GET <span" in lines[0] and "POST <span" in lines[1] and "/create" in lines[1]
    assert "admin" in lines[1] and "127.0.0.1" in lines[1] and ">303</td>" in lines[1]
    web.db.execute(
        "INSERT INTO operator_audit_log (method, path, status) "
        "SELECT 'GET', '/old/' || n, 404 FROM generate_series(1, 250) n"
    )
    path, seen = "/audit", set[str]()
    while path:
        text = page(web, path)
        found = re.findall(r"/old/\d+", text)
        assert not seen & {*found}
        seen |= {*found}
        older = re.search(r'rel="next" href="([^"]+)"', text)
        path = older[1] if older is not None else ""
    assert len(seen) == 250


def test_the_service_answers_at_the_root_of_a_host_and_not_below_a_path(web: Web) -> None:
    below = web.ask("GET", "/influxops/", headers={"Accept": "text/html"})
    assert below.status == 404
    text = page(web, "/fleet")
    assert {*re.findall(r'(?:href|action|src)="(.)', text)} <= {"/", "#"}
