"""The HTTP service: its JSON answers, what they cost, and the console's pages as text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from tests.golden.stage import Play, Scene, Stage
from tests.golden.steady import pretty
from tests.integration.proxy import Seen
from tests.queue.workers import rows, until
from tests.web.conftest import REGISTRY, Web, serving

SERVED = ("ledger install", "db upgrade")
TENANTS = """
[web]
timeout = 20.0

[sources.tenants]
kind = "postgres"
dsn = {env = "DSN"}
table = "tenants"
"""
ROWS = "telemetry,device_id=d1 t=1 1700000000000000000\ncpu,host=h value=1 1700000000000000000"
#: What a page lays out in lines of their own.
_BLOCKS = {"h1", "h2", "h3", "p", "li", "tr", "dt", "dd", "div", "form", "button", "summary", "a"}


class _Text(HTMLParser):
    """The text of a page's main region, with its forms and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self._is_main = "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, and tell where a link and a form lead, and what an image shows."""
        given = dict(attrs)
        self._is_main = self._is_main or tag == "main"
        if not self._is_main:
            return
        if tag in _BLOCKS:
            self.text += "\n"
        if tag in ("td", "th"):
            self.text += " | "
        for name in ("href", "action", "alt"):
            if given.get(name) and tag in ("form", "img"):
                self.text += f"[{tag} {given[name]}] "
        if tag == "input" and given.get("type") != "hidden":
            self.text += f"[{given.get('name')}]"

    def handle_endtag(self, tag: str) -> None:
        """End the region."""
        self._is_main = self._is_main and tag != "main"

    def handle_data(self, data: str) -> None:
        """Take text of the region."""
        if self._is_main:
            self.text += re.sub(r"\s+", " ", data)


def _text(html: str) -> str:
    page = _Text()
    page.feed(html)
    lines = (re.sub(r" +", " ", line).strip() for line in page.text.splitlines())
    text = "\n".join(line for line in lines if line)
    text = re.sub(r"\b[0-9a-f]{12}\b", "0123456789ab", text)
    text = re.sub(r"\bread \d+[smh] ago", "read 1s ago", text)
    return re.sub(r"\b\d+(\.\d+)? s\b", "0.0 s", text)


def _traced(scene: Scene) -> None:
    """Note what a request cost, but for the servers' own state, which is read every few seconds."""
    for proxy in scene.proxies.values():
        proxy.seen[:] = [seen for seen in proxy.seen if not _reads_a_server(seen)]
    scene.traced(in_order=False, counts=False)


def _reads_a_server(seen: Seen) -> bool:
    return seen.path == "/ping" or b"ORDER BY d.database_name" in seen.body


@contextlib.contextmanager
def _served(scene: Scene) -> Iterator[Web]:
    """Run the service."""
    tokens = []
    for role in ("operator_admin", "operator"):
        done = scene.cli("token", "create", "--role", role, "--name", role)
        assert done.code == 0, done.all
        tokens.append(done.out.strip())
    ((began,),) = rows(scene.db, "SELECT clock_timestamp()")
    with serving(scene.cli, scene.db, scene.servers["eu1"], *tokens) as web:
        scene.names[web.url] = "http://127.0.0.1:8080"
        for token in tokens:
            scene.names[token] = "iop_TOKEN"
        # The full run that it begins with has read the servers; what follows is of requests.
        until(lambda: rows(scene.db, "SELECT FROM influxops.servers WHERE read > %s", began))
        yield web


def _ask(
    scene: Scene, web: Web, method: str, path: str, *, traced: bool = True, **more: Any
) -> None:
    """Send a request, and note its answer and what it cost."""
    scene.forget()
    answer = web.ask(method, path, **more)
    shown = f" {more['json']}" if "json" in more else ""
    scene.say(f"=== {method} {path}{shown}: {answer.status}")
    text = answer.data.decode()
    text = pretty(text) if text.startswith(("{", "[")) else text
    text = re.sub(r'("activation_code|"csrf_token|"request_id)": ".*"', r'\1": "CODE"', text)
    # Whichever request met it first.
    text = re.sub(r'("trouble": ")(ping|querying \w+) on', r"\1a request to", text)
    scene.part("answer", text)
    if answer.status == 201 and traced:
        until(lambda: not rows(scene.db, "SELECT FROM influxops.tenants WHERE state <> 'ready'"))
    if traced:
        _traced(scene)


def answers(stage: Stage) -> str:
    """Tenants and devices are created, listed, changed and counted."""
    with stage.scene(installed=SERVED, schema=(REGISTRY,), top=TENANTS) as scene:
        scene.server("eu1")
        scene.config(top=TENANTS)
        # What is known of a tenant is known until the end, however slow the machine is.
        config = scene.cli.folder / "influxops.toml"
        config.write_text(config.read_text().replace('cache_ttl = "1s"', 'cache_ttl = "10m"'))
        with _served(scene) as web:
            for method, path, body in (
                ("POST", "/operator/tenants", {"tenant_id": "acme", "name": "Acme"}),
                ("POST", "/operator/tenants", {"tenant_id": "acme", "name": "Acme"}),
                ("POST", "/operator/tenants", {"tenant_id": "a b"}),
                ("POST", "/operator/tenants", {}),
                ("POST", "/api/admin/devices", {"tenant_id": "acme", "device_id": "d1"}),
                ("POST", "/api/admin/devices", {"tenant_id": "nobody", "device_id": "d2"}),
                ("GET", "/operator/tenants", None),
                ("GET", "/operator/tenants?search=ac&per_page=1", None),
                ("GET", "/operator/tenants?page=9", None),
                ("GET", "/operator/tenants/acme", None),
                ("GET", "/operator/tenants/nobody", None),
                ("PATCH", "/operator/tenants/acme", {"status": "suspended"}),
                ("POST", "/operator/tenants/acme/ensure", None),
                ("POST", "/operator/tenants/nobody/ensure", None),
                ("GET", "/operator/tenants/acme/stats", None),
                ("GET", "/operator/fleet", None),
                ("GET", "/session", None),
                ("GET", "/healthz", None),
                ("GET", "/readyz", None),
            ):
                more: dict[str, Any] = {"json": body} if body is not None else {}
                # Whether the service still knows a tenant, and asks nothing, is a matter of time.
                traced = not path.endswith("/acme/ensure")
                _ask(scene, web, method, path, traced=traced, **more)
            _ask(scene, web, "GET", "/operator/tenants", token="", traced=False)
            body = {"tenant_id": "x"}
            _ask(scene, web, "POST", "/operator/tenants", token=web.reader, json=body, traced=False)
        for command in ("token list", "db upgrade", "history"):
            scene.run(command, traced=command == "token list")
        return scene.all()


def trouble(stage: Stage) -> str:
    """A server is away, and the other one full."""
    with stage.scene(installed=SERVED, schema=(REGISTRY,), top=TENANTS) as scene:
        scene.server("eu1")
        scene.server("eu2")
        for number in range(1, 6):
            scene.servers["eu2"].create(f"other{number}")
        scene.config("eu1", top=TENANTS)
        with _served(scene) as web:
            for path, tenant in (("/operator/tenants", "acme"), ("/api/admin/devices", "acme")):
                _ask(scene, web, "POST", path, json={"tenant_id": tenant}, traced=False)
            for path in ("tenants/acme", "tenants/acme/stats", "fleet"):
                _ask(scene, web, "GET", f"/operator/{path}", traced=False)
            _pages(scene, web, "/", "/tenant?id=acme", "/fleet")
        return scene.all()


def _pages(scene: Scene, web: Web, *paths: str, traced: bool = False) -> None:
    """Note the text of pages."""
    answer = web.ask("POST", "/login", token="", json={"token": web.admin})
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    csrf = answer.json()["csrf_token"]
    for path in paths:
        where, _, action = path.partition(" ")
        scene.forget()
        headers = {"Cookie": cookie}
        if action:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            fields = dict(each.split("=") for each in action.split("&"))
            body = urlencode({"csrf_token": csrf, **fields})
            answer = web.ask("POST", where, token="", headers=headers, body=body)
        else:
            answer = web.ask("GET", where, token="", headers=headers)
        scene.say(f"=== page {path}: {answer.status} {answer.headers.get('Location', '')}")
        scene.part("text", _text(answer.data.decode()))
        if traced:
            _traced(scene)


def console(stage: Stage) -> str:
    """The console's pages, and what its buttons begin."""
    with stage.scene(installed=SERVED, schema=(REGISTRY,), top=TENANTS) as scene:
        scene.server("eu1")
        scene.server("eu2")
        scene.config(top=TENANTS)
        with _served(scene) as web:
            _pages(scene, web, "/", "/runs")
        scene.db.execute("INSERT INTO tenants (tenant_id, name) VALUES ('acme', 'Acme'), ('b', '')")
        scene.given("ensure")
        scene.servers["eu1"].write("telemetry_acme", ROWS)
        # What servers say is kept for a moment: the first page of a service asks them for sure.
        for page in ("/", "/tenant?id=acme", "/tenant/move?id=acme", "/fleet"):
            with _served(scene) as web:
                _pages(scene, web, page, traced=True)
        with _served(scene) as web:
            _pages(
                scene,
                web,
                "/?q=nobody",
                "/tenant?id=b",
                "/tenant?id=nobody",
                "/tenant/retire?id=acme",
                "/runs",
                "/run?id=0123456789ab",
            )
            _pages(scene, web, "/tenant/ensure id=acme", "/tenant?id=acme")
        return scene.all()


SCENARIOS: dict[str, Play] = {
    "service_answers": answers,
    "service_trouble": trouble,
    "service_console": console,
}
