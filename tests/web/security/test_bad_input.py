"""What cannot be is answered with a problem document, and nothing is done by half."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from influxops_devserver.postgres import EmbeddedPostgres
from tests.integration.servers import Influx
from tests.provisioner.conftest import until
from tests.web.conftest import Web, platform
from tests.web.security.test_auth import kind

pytestmark = pytest.mark.stand_in

JSON = {"Content-Type": "application/json"}


def counts(web: Web) -> list[tuple[Any, ...]]:
    """How many rows there are that a write could have made."""
    return web.rows(
        "SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM device_registry), "
        "(SELECT count(*) FROM device_activation), (SELECT count(*) FROM influxops.tenants)"
    )


@pytest.mark.parametrize(
    ("body", "status", "what"),
    [
        (b"", 422, "invalid"),
        (b"{", 400, "not-json"),
        (b"\xff\xfe", 400, "not-json"),
        (b'{"tenant_id": "x"' + b"[" * 60_000, 400, "not-json"),
        (b'{"tenant_id": ' + b"9" * 5_000 + b"}", 400, "not-readable"),  # longer than Python reads
        (b"[]", 422, "invalid"),
        (b'"acme"', 422, "invalid"),
        (b'{"tenant_id": 7}', 422, "invalid"),
        (b'{"tenant_id": null}', 422, "invalid"),
        (b'{"tenant_id": "ok", "unknown": 1}', 422, "invalid"),
        (b'{"tenant_id": ""}', 422, "invalid"),
        (b'{"tenant_id": "a b"}', 422, "invalid"),
        (b'{"tenant_id": "../x"}', 422, "invalid"),
        (b'{"tenant_id": "a/b"}', 422, "invalid"),
        (b'{"tenant_id": "a\\u0000b"}', 422, "invalid"),
        (b'{"tenant_id": "line\\n"}', 422, "invalid"),
        (b'{"tenant_id": "\\ud800"}', 422, "invalid"),
        (json.dumps({"tenant_id": "ü"}).encode(), 422, "invalid"),
        (json.dumps({"tenant_id": "x" * 129}).encode(), 422, "invalid"),
        (b'{"tenant_id": "named", "name": "\\u0000"}', 422, "invalid"),
        (b'{"tenant_id": "named", "name": "\\ud800"}', 422, "invalid"),
        (json.dumps({"tenant_id": "big", "name": "x" * 70_000}).encode(), 413, "too-large"),
    ],
)
def test_a_body_that_cannot_be_creates_nothing(
    web: Web, body: bytes, status: int, what: str
) -> None:
    before = counts(web)
    answer = web.ask("POST", "/operator/tenants", headers=JSON, body=body)
    assert (answer.status, kind(answer)) == (status, what)
    assert counts(web) == before
    assert b"xxx" not in answer.data  # what was sent is not sent back


def test_a_body_without_an_announced_length_is_limited_too(web: Web) -> None:
    parts = (b" " * 10_000 for _ in range(10))
    answer = web.ask("POST", "/operator/tenants", headers=JSON, body=parts)
    assert (answer.status, kind(answer)) == (413, "too-large")


def test_who_goes_away_in_the_middle_of_a_body_is_no_fault(web: Web) -> None:
    host, _, port = web.url.removeprefix("http://").partition(":")
    sent = (
        f"POST /operator/tenants/gone-away HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.admin}"
        "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent.encode())
    audited: LiteralString = "SELECT status FROM operator_audit_log WHERE path LIKE '%%gone-away'"
    until(lambda: web.rows(audited) != [])
    assert web.rows(audited) == [(400,)]
    assert "Traceback" not in web.logged()


def test_a_body_of_another_media_type_is_refused(web: Web) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"Content-Type": media}
        body = b'{"tenant_id": "media"}'
        answer = web.ask("POST", "/operator/tenants", headers=headers, body=body)
        assert (answer.status, kind(answer)) == (415, "media-type")


@pytest.mark.parametrize(
    ("method", "path", "status", "what"),
    [
        ("GET", "/operator/tenants/nobody", 404, "no-such-tenant"),
        ("GET", "/operator/tenants/nobody/stats", 404, "no-such-tenant"),
        ("POST", "/operator/tenants/nobody/ensure", 404, "no-such-tenant"),
        ("GET", "/operator/tenants/%00", 422, "invalid"),
        ("GET", "/operator/tenants/%ff", 422, "invalid"),
        ("GET", "/operator/tenants/a%2Fb", 404, "not-found"),
        ("GET", "/operator/tenants?page=0", 422, "invalid"),
        ("GET", "/operator/tenants?page=999", 404, "no-such-page"),
        ("GET", "/operator/tenants?page=99999999999999999999", 422, "invalid"),
        ("GET", "/operator/tenants?per_page=501", 422, "invalid"),
        ("GET", "/operator/tenants?status=gone", 422, "invalid"),
        ("GET", "/operator/tenants?search=%00", 422, "invalid"),
        ("GET", "/no/such/path", 404, "not-found"),
        ("DELETE", "/operator/tenants/nobody", 405, "no-such-method"),
        ("PUT", "/healthz", 405, "no-such-method"),
    ],
)
def test_a_path_or_query_that_cannot_be_is_a_problem(
    web: Web, method: str, path: str, status: int, what: str
) -> None:
    answer = web.ask(method, path)
    assert (answer.status, kind(answer)) == (status, what)


def test_a_change_that_changes_nothing_or_too_much_is_refused(web: Web) -> None:
    web.ask("POST", "/operator/tenants", json={"tenant_id": "still", "name": "Still"})
    for body in ({}, {"status": "retired"}, {"name": None}, {"tenant_id": "other"}):
        assert web.ask("PATCH", "/operator/tenants/still", json=body).status == 422, body
    found = web.ask("GET", "/operator/tenants/still").json()
    assert (found["name"], found["status"]) == ("Still", "active")
    nobody = web.ask("PATCH", "/operator/tenants/nobody", json={"name": "x"})
    assert (nobody.status, kind(nobody)) == (404, "no-such-tenant")


def test_a_login_that_brings_no_token_is_refused(web: Web) -> None:
    for body, status in ((b"{", 400), (b"[]", 422), (b'{"token": 1}', 422), (b"", 400)):
        assert web.ask("POST", "/login", token="", headers=JSON, body=body).status == status
    plain = {"Content-Type": "text/plain"}
    assert web.ask("POST", "/login", token="", headers=plain, body=b"x").status == 415
    large = b'{"token": "' + b"x" * 70_000 + b'"}'
    assert web.ask("POST", "/login", token="", headers=JSON, body=large).status == 413


def test_a_request_that_is_no_http_ends_its_connection_alone(web: Web) -> None:
    host, _, port = web.url.removeprefix("http://").partition(":")
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
            assert connection.recv(100).startswith((b"HTTP/1.1 400", b""))
    assert web.ask("GET", "/healthz", token="").status == 200


@contextlib.contextmanager
def postgres_away(web: Web) -> Iterator[None]:
    """Let the database take no connection, and end those that there are."""
    name = sql.Identifier(web.db.name)
    conninfo = web.db.server.superuser_conninfo()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            [web.db.name],
        )
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def test_while_postgres_is_away_the_service_says_so_and_recovers(web: Web) -> None:
    with postgres_away(web):
        for method, path, token in (
            ("GET", "/operator/tenants", web.admin),
            ("POST", "/operator/tenants", web.admin),
            ("POST", "/login", ""),
            ("GET", "/readyz", ""),
        ):
            body = {"token": web.admin} if path == "/login" else {"tenant_id": "away"}
            answer = web.ask(method, path, token=token, json=body)
            assert (answer.status, kind(answer)) == (503, "database-away"), path
            assert int(answer.headers["Retry-After"]) >= 1
        assert web.ask("GET", "/healthz", token="").status == 200
    until(lambda: web.ask("GET", "/readyz", token="").status == 200)
    until(lambda: web.ask("GET", "/operator/tenants").status == 200)
    assert web.ask("GET", "/operator/tenants/away").status == 404
    created = web.ask("POST", "/operator/tenants", json={"tenant_id": "away"})
    assert created.status == 201


def test_after_a_restart_of_postgres_no_request_gets_a_connection_that_it_ended(
    tmp_path: Path, postgres: EmbeddedPostgres, module_influx: Influx
) -> None:
    waiting: LiteralString = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    few = "[web]\nconnections = 3\n"
    with platform(tmp_path, postgres, module_influx, few) as web, ThreadPoolExecutor(6) as pool:
        with psycopg.connect(web.db.conninfo) as connection:
            connection.execute("LOCK TABLE operator_tokens IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(web.ask, "GET", "/session") for _ in range(6)]
            until(lambda: web.rows(waiting) == [(3,)])  # all that the service may have
            connection.rollback()
        assert {each.result().status for each in asked} == {200}
        with postgres_away(web):
            pass
        answers = [web.ask("GET", "/session") for _ in range(5)]
        assert [answer.status for answer in answers] == [200] * 5


def test_a_query_that_waits_for_a_lock_is_given_up(web: Web) -> None:
    with psycopg.connect(web.db.conninfo) as connection:
        connection.execute("LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE")
        answer = web.ask("POST", "/operator/tenants", json={"tenant_id": "locked"})
        assert (answer.status, kind(answer)) == (503, "database-away")
    assert web.ask("GET", "/operator/tenants/locked").status == 404


def test_many_who_read_a_ledger_that_hangs_are_told_so_in_time(web: Web) -> None:
    assert web.ask("POST", "/operator/tenants", json={"tenant_id": "hung"}).status == 201

    def ask(path: str) -> tuple[int, float]:
        began = time.monotonic()
        return web.ask("GET", path).status, time.monotonic() - began

    paths = [*["/operator/tenants/hung"] * 100, *["/operator/fleet"] * 5]
    with psycopg.connect(web.db.conninfo) as connection, ThreadPoolExecutor(len(paths)) as pool:
        connection.execute("LOCK TABLE influxops.tenants IN ACCESS EXCLUSIVE MODE")
        answers = [*pool.map(ask, paths)]
        connection.rollback()
    assert {status for status, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < 30
    assert web.ask("GET", "/operator/fleet").status == 200
