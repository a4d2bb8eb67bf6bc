"""Who comes in: bearer tokens, the session cookie, roles, and what a write must bring along."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest
import urllib3

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.servers import Influx
from tests.provisioner.conftest import until
from tests.web.conftest import Web, platform

pytestmark = pytest.mark.stand_in


def log_in(web: Web, token: str) -> tuple[str, str]:
    """Log in by JSON; give the Cookie header and the CSRF token."""
    answer = web.ask("POST", "/login", token="", json={"token": token})
    assert answer.status == 200, answer.data
    return cookie_of(answer), answer.json()["csrf_token"]


def cookie_of(answer: urllib3.BaseHTTPResponse) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def form(web: Web, path: str, cookie: str = "", **fields: str) -> urllib3.BaseHTTPResponse:
    """Send a form, as a browser does."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    headers |= {"Cookie": cookie} if cookie else {}
    return web.ask("POST", path, token="", headers=headers, body=urlencode(fields))


def kind(answer: urllib3.BaseHTTPResponse) -> str:
    """The kind of a problem document."""
    assert answer.headers["Content-Type"] == "application/problem+json", answer.data
    document = answer.json()
    assert document["status"] == answer.status
    assert document["detail"]
    return str(document["type"]).removeprefix("urn:influxops:problem:")


def test_without_a_token_nothing_is_told(web: Web) -> None:
    for path in ("/operator/tenants", "/operator/fleet", "/session", "/no/such/path"):
        answer = web.ask("GET", path, token="")
        assert (answer.status, kind(answer)) == (401, "not-logged-in")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for token in ("iop_forged", web.admin[:-1], web.admin + "x", "x" * 5000):
        assert web.ask("GET", "/operator/tenants", token=token).status == 401


def test_the_role_operator_reads_and_writes_nothing(web: Web) -> None:
    assert web.ask("GET", "/operator/tenants", token=web.reader).status == 200
    for method, path in (
        ("POST", "/operator/tenants"),
        ("POST", "/api/admin/devices"),
        ("PATCH", "/operator/tenants/acme"),
        ("POST", "/operator/tenants/acme/ensure"),
        ("DELETE", "/operator/tenants/acme"),
    ):
        answer = web.ask(method, path, token=web.reader, json={"tenant_id": "role"})
        assert (answer.status, kind(answer)) == (403, "role"), path
    assert web.rows("SELECT 1 FROM tenants WHERE tenant_id = 'role'") == []


def test_the_cookie_is_signed_and_kept_from_scripts_and_other_sites(web: Web) -> None:
    answer = web.ask("POST", "/login", token="", json={"token": web.reader})
    made = SimpleCookie(answer.headers["Set-Cookie"])["pulse_session"]
    assert (made["httponly"], made["samesite"], made["path"]) == (True, "strict", "/")
    assert made["max-age"] == "43200"
    assert not made["secure"]  # it came by plain HTTP
    assert web.reader not in answer.headers["Set-Cookie"]
    cookie = cookie_of(answer)
    who = web.ask("GET", "/session", token="", headers={"Cookie": cookie}).json()
    assert (who["who"], who["role"], who["via"]) == ("reader", "operator", "cookie")
    assert who["csrf_token"] == answer.json()["csrf_token"]
    name, _, value = cookie.partition("=")
    content, _, signature = value.rpartition(".")
    other = "A" if signature[0] != "A" else "B"
    forged = (f"{content}.{other}{signature[1:]}", f"W{content}.{signature}", "WzFd.x.y", "")
    for each in forged:
        answer = web.ask("GET", "/session", token="", headers={"Cookie": f"{name}={each}"})
        assert (answer.status, kind(answer)) == (401, "not-logged-in")


def test_a_write_with_the_cookie_needs_the_csrf_token(web: Web) -> None:
    cookie, csrf = log_in(web, web.admin)
    for number, headers in enumerate(({}, {"X-CSRF-Token": "forged"}, {"X-CSRF-Token": ""})):
        answer = web.ask(
            "POST",
            "/operator/tenants",
            token="",
            headers={"Cookie": cookie, **headers},
            json={"tenant_id": f"csrf{number}"},
        )
        assert (answer.status, kind(answer)) == (403, "csrf")
    foreign, _ = log_in(web, web.admin)  # each session has a CSRF token of its own
    headers = {"Cookie": foreign, "X-CSRF-Token": csrf}
    sent = {"json": {"tenant_id": "csrf9"}, "token": ""}
    assert web.ask("POST", "/operator/tenants", headers=headers, **sent).status == 403  # type: ignore[arg-type]
    headers = {"Cookie": cookie, "X-CSRF-Token": csrf}
    elsewhere = {**headers, "Sec-Fetch-Site": "cross-site"}
    assert web.ask("POST", "/operator/tenants", headers=elsewhere, **sent).status == 403  # type: ignore[arg-type]
    assert web.rows("SELECT 1 FROM tenants WHERE tenant_id LIKE 'csrf%%'") == []
    assert web.ask("POST", "/operator/tenants", headers=headers, **sent).status == 201  # type: ignore[arg-type]


def test_a_form_of_too_many_fields_has_no_csrf_token(web: Web) -> None:
    cookie, csrf = log_in(web, web.admin)
    fields = {f"field{number}": "" for number in range(1001)}
    answer = form(web, "/logout", cookie, csrf_token=csrf, **fields)
    assert (answer.status, kind(answer)) == (403, "csrf")


def test_a_form_logs_in_and_out(web: Web) -> None:
    answer = form(web, "/login", token=web.admin, next="/x")
    assert (answer.status, answer.headers["Location"]) == (303, "/x")
    cookie = cookie_of(answer)
    csrf = web.ask("GET", "/session", token="", headers={"Cookie": cookie}).json()["csrf_token"]
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example"):
        answer = form(web, "/login", token=web.admin, next=elsewhere)
        assert answer.headers["Location"] == "/"
    answer = form(web, "/logout", cookie, csrf_token=csrf)
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert 'pulse_session=""' in answer.headers["Set-Cookie"]
    refused = web.ask("POST", "/logout", token="", headers={"Cookie": cookie})
    assert (refused.status, kind(refused)) == (403, "csrf")


def test_who_opens_a_page_without_a_session_is_sent_to_the_login(web: Web) -> None:
    answer = web.ask("GET", "/tenants/acme", token="", headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/tenants/acme")
    assert (
        web.ask("GET", "/operator/fleet", token="", headers={"Accept": "text/html"}).status == 401
    )


def test_a_revoked_token_ends_at_once_and_its_sessions_with_it(web: Web) -> None:
    made = web.cli("token", "create", "--role", "operator", "--name", "eve")
    token = made.out.strip()
    assert re.fullmatch(r"iop_[A-Za-z0-9_-]{43}\n", made.out)
    cookie, _ = log_in(web, token)
    assert web.ask("GET", "/session", token=token).status == 200
    (number,) = (
        row["id"]
        for row in web.cli("token", "list", "--format", "json").json["tokens"]
        if row["name"] == "eve"
    )
    assert web.cli("token", "revoke", str(number)).code == 0
    assert web.ask("GET", "/session", token=token).status == 401
    assert web.ask("GET", "/session", token="", headers={"Cookie": cookie}).status == 401
    assert web.ask("POST", "/login", token="", json={"token": token}).status == 401
    listed = web.cli("token", "list")
    assert "revoked" in listed.out
    assert token not in listed.all
    assert web.cli("token", "revoke", "999").code == 2


def test_tokens_are_made_listed_and_revoked_as_json(web: Web) -> None:
    given = ("--role", "operator", "--expires", "1h", "--format", "json")
    made = web.cli("token", "create", *given).json
    assert web.ask("GET", "/session", token=made["token"]).status == 200
    (row,) = (
        row
        for row in web.cli("token", "list", "--format", "json").json["tokens"]
        if row["id"] == made["id"]
    )
    for at in (row["created"], row["expires"]):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", at)
        assert datetime.fromisoformat(at).tzinfo == UTC
    revoked = web.cli("token", "revoke", str(made["id"]), "--format", "json").json
    assert revoked == {"version": 1, "revoked": made["id"]}


def test_only_a_hash_of_a_token_is_stored(web: Web) -> None:
    stored = web.rows("SELECT hash, t::text FROM operator_tokens AS t")
    assert all(len(hash_) == 32 for hash_, _ in stored)
    assert not any(web.admin in text for _, text in stored)


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, module_influx: Influx
) -> Iterator[Web]:
    """One that believes a proxy, with short sessions and the usual limit of logins."""
    folder = tmp_path_factory.mktemp("strict")
    extra = '[web]\nsession_ttl = "1s"\n'
    with platform(folder, postgres, module_influx, extra, "--proxy-headers") as running:
        yield running


def test_a_session_and_a_token_are_over_in_time(strict: Web) -> None:
    cookie, _ = log_in(strict, strict.admin)
    made = strict.cli("token", "create", "--role", "operator", "--expires", "1s")

    def both() -> list[int]:
        asked = (
            strict.ask("GET", "/session", token="", headers={"Cookie": cookie}),
            strict.ask("GET", "/session", token=made.out.strip()),
        )
        return [answer.status for answer in asked]

    until(lambda: both() == [401, 401])


def test_a_proxy_that_is_believed_makes_the_cookie_secure(web: Web, strict: Web) -> None:
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
    for service in (web, strict):
        body = {"token": service.admin}
        answer = service.ask("POST", "/login", token="", headers=forwarded, json=body)
        assert answer.status == 200
        is_secure = "secure" in answer.headers["Set-Cookie"].lower()
        seen = service.rows("SELECT 1 FROM operator_audit_log WHERE address = '203.0.113.7'")
        assert (is_secure, bool(seen)) == (service is strict, service is strict)
        assert ("Strict-Transport-Security" in answer.headers) == (service is strict)


def test_many_failures_a_minute_are_refused_and_a_good_token_never(strict: Web) -> None:
    guess = {"headers": {"X-Forwarded-For": "203.0.113.9"}, "json": {"token": "iop_guess"}}
    answers = [strict.ask("POST", "/login", token="", **guess) for _ in range(200)]
    statuses = [answer.status for answer in answers]
    assert statuses[:10] == [401] * 10
    assert statuses.count(429) >= 170  # some may be a minute later
    refused = answers[10]
    assert kind(refused) == "too-many-failures"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert strict.ask("GET", "/session").status == 200  # who has a token goes on working
    body = {"token": strict.admin}
    for address in ("203.0.113.9", "203.0.113.10"):
        headers = {"X-Forwarded-For": address}
        assert strict.ask("POST", "/login", token="", headers=headers, json=body).status == 200


def test_opening_pages_without_a_session_is_no_failure(strict: Web) -> None:
    headers = {"X-Forwarded-For": "203.0.113.30"}
    for _ in range(20):
        strict.ask("GET", "/", token="", headers={**headers, "Accept": "text/html"})
        strict.ask("GET", "/login", token="", headers=headers)
    body = {"token": "iop_guess"}
    assert strict.ask("POST", "/login", token="", headers=headers, json=body).status == 401


def test_requests_without_a_token_do_not_fill_the_audit_log(strict: Web) -> None:
    headers = {"X-Forwarded-For": "203.0.113.20"}
    for path, accepts in (("/operator/tenants", "*/*"), ("/fleet", "text/html"), ("/login", "*/*")):
        for _ in range(60):
            strict.ask("GET", path, token="", headers={**headers, "Accept": accepts})
    query = "SELECT 1 FROM operator_audit_log WHERE address = '203.0.113.20'"
    assert 1 <= len(strict.rows(query)) <= 20  # ten a minute, perhaps of two minutes


def test_a_cookie_is_of_its_token_and_not_of_another_one_with_its_number(web: Web) -> None:
    # As where the ledger was restored, and numbers are given a second time.
    made = web.cli("token", "create", "--role", "operator", "--name", "first")
    cookie, _ = log_in(web, made.out.strip())
    headers = {"Cookie": cookie}
    assert web.ask("GET", "/session", token="", headers=headers).status == 200
    web.db.execute(
        "UPDATE operator_tokens SET hash = sha256(hash), name = 'second' WHERE name = 'first'"
    )
    assert web.ask("GET", "/session", token="", headers=headers).status == 401


def test_a_form_of_another_site_logs_nobody_in(web: Web) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"token": web.admin})
    host = web.url.removeprefix("http://")
    for origin, status in (
        ("http://elsewhere.example", 403),
        ("null", 403),
        ("http://[", 403),
        (f"http://{host}", 303),
    ):
        sent = {**headers, "Origin": origin}
        assert web.ask("POST", "/login", token="", headers=sent, body=body).status == status
    for site, status in (("cross-site", 403), ("same-origin", 303)):
        sent = {**headers, "Sec-Fetch-Site": site}
        assert web.ask("POST", "/login", token="", headers=sent, body=body).status == status


def test_a_second_try_to_log_in_leads_where_the_first_one_would_have(web: Web) -> None:
    headers = {"Accept": "text/html", "Content-Type": "application/x-www-form-urlencoded"}
    for after, kept in (("%2Ffleet", 'value="/fleet"'), ("%2F%2Felsewhere.example", 'value="/"')):
        body = f"token=iop_wrong&next={after}"
        answer = web.ask("POST", "/login", token="", headers=headers, body=body)
        assert (answer.status, kept in answer.data.decode()) == (401, True)
