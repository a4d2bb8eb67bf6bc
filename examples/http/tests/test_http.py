"""The source `http`: the contract of every source, and what only this one does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from influxops.plugin import Tenant
from influxops.testing import Runner, SourceContract
from influxops_http import HttpSource


class Service:
    """A real HTTP service; a test says what it answers by path."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[tuple[str, str | None]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append((self.path, self.headers["Authorization"]))
                page = service.pages.get(self.path)
                body = page if isinstance(page, bytes) else json.dumps(page).encode()
                self.send_response(404 if page is None else 302 if body == b"moved" else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/tenants"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def service() -> Iterator[Service]:
    """Three tenants on two pages."""
    made = Service()
    globex = {"id": "globex", "database": "globex", "retention": None}
    made.pages["/tenants"] = {"tenants": [{"id": "acme"}, globex], "next": "/tenants?page=2"}
    made.pages["/tenants?page=2"] = {"tenants": [{"id": "initech"}], "next": None}
    yield made
    made.close()


class TestHttpSource(SourceContract):
    """What influxops expects of a source."""

    plugin = HttpSource
    expected = ("acme", Tenant("globex", {"database": "globex"}), "initech")

    @pytest.fixture(autouse=True)
    def registry(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        """Say where the service is, and where none is."""
        monkeypatch.setenv("TOKEN", "s3cr3t")
        self.settings = {"url": service.url, "token": {"env": "TOKEN"}}
        self.unreachable = {"url": "http://127.0.0.1:9/tenants"}


def runner(service: Service) -> Runner:
    """Return a command line whose source is the service, and whose target is in memory."""
    config = f'[sources.them]\nkind = "http"\nurl = "{service.url}"\ntoken = {{env = "TOKEN"}}\n'
    return Runner(config + '[targets.here]\nkind = "memory"\n', {"http": HttpSource})


def test_every_page_is_asked_for_once_with_the_token(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t")
    influxops = runner(service)
    done = influxops("ensure")
    assert done.exit_code == 0, done.output + done.errors
    assert service.asked == [("/tenants", "Bearer s3cr3t"), ("/tenants?page=2", "Bearer s3cr3t")]
    assert {*influxops.databases["here"]} == {"telemetry_acme", "globex", "telemetry_initech"}


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (None, "answered 404"),
        (b"moved", "answered 302"),
        (b"<html>", "something else than JSON"),
        ({"tenants": "acme"}, "a page without a list"),
        ({"tenants": [{"name": "x"}]}, "a tenant without an `id`"),
        ({"tenants": [], "next": "/tenants"}, "leads back to an earlier one"),
        ({"tenants": [], "next": "http://evil.example/tenants"}, "on another server"),
    ],
)
def test_a_page_that_is_wrong_ends_the_reading_and_nothing_is_planned(
    service: Service, monkeypatch: pytest.MonkeyPatch, page: Any, says: str
) -> None:
    monkeypatch.setenv("TOKEN", "s3cr3t")
    service.pages["/tenants?page=2"] = page
    influxops = runner(service)
    done = influxops("ensure")
    assert done.exit_code == 1
    assert says in done.output
    assert "s3cr3t" not in done.output + done.errors
    assert not influxops.databases.get("here")
    assert "/elsewhere" not in [path for path, _ in service.asked]


def test_a_password_in_the_url_is_refused_and_not_shown(service: Service) -> None:
    service.url = service.url.replace("127.0.0.1", "ops:s3cr3t@127.0.0.1")
    done = runner(service)("plan")
    assert done.exit_code == 2
    assert "no password in the URL" in done.errors
    assert "s3cr3t" not in done.output + done.errors
