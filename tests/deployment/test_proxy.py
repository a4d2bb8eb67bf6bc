"""nginx in front of the service, at the root of a host and below a path."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import urllib3

from influxops_devserver.postgres import EmbeddedPostgres
from tests.conftest import GiveStandIn
from tests.deployment.prometheus import FILES
from tests.queue.workers import until
from tests.routes.nginx import PROGRAM, needs_nginx
from tests.web.conftest import platform

pytestmark = [pytest.mark.stand_in, needs_nginx]


@contextlib.contextmanager
def proxy(folder: Path, name: str, service: str) -> Iterator[urllib3.HTTPSConnectionPool]:
    """Run nginx with a file of docs/deployment; yield what speaks to it over TLS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "influxops.key")
    for number, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(folder / "influxops.crt", append=bool(number))
    text = (FILES / name).read_text()
    for was, now in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("http://127.0.0.1:8000", service),
    ):
        assert was in text
        text = text.replace(was, now)
    text = re.sub(r"server_name .*;", "server_name localhost;", text)
    (folder / "nginx.conf").write_text(f"events {{}}\nhttp {{\naccess_log off;\n{text}\n}}\n")
    command = [PROGRAM, "-p", f"{folder}", "-c", f"{folder}/nginx.conf"]
    own = f"daemon off; pid {folder}/nginx.pid;"
    process = subprocess.Popen([*command, "-e", f"{folder}/error.log", "-g", own])
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    pool = urllib3.HTTPSConnectionPool("localhost", port, ssl_context=trusted, retries=False)

    def answers() -> bool:
        assert process.poll() is None, (folder / "error.log").read_text()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return pool.request("GET", "/").status > 0
        return False

    try:
        until(answers)
        yield pool
    finally:
        pool.close()
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("name", "path"), [("nginx-service.conf", ""), ("nginx-service-path.conf", "/influxops")]
)
def test_pages_and_programs_reach_the_service(
    tmp_path: Path, postgres: EmbeddedPostgres, stand_in: GiveStandIn, name: str, path: str
) -> None:
    eu1 = stand_in(max_databases=None)
    nginx = tmp_path / "nginx"
    nginx.mkdir()
    with (
        platform(tmp_path, postgres, eu1, "", "--proxy-headers") as web,
        proxy(nginx, name, web.url) as pool,
    ):
        base = f"https://localhost:{pool.port}"

        # A program.
        bearer = {"Authorization": f"Bearer {web.admin}"}
        made = pool.request(
            "POST", f"{path}/operator/tenants", json={"tenant_id": "acme"}, headers=bearer
        )
        assert made.status == 201, made.data
        assert pool.request("GET", f"{path}/metrics").status == 403

        # A browser without a session is led to the login, and from there to where it wanted to go.
        asked = {"Accept": "text/html"}
        led = pool.request("GET", f"{path}/tenant?id=acme", headers=asked, redirect=False)
        assert led.status == 303
        login = led.headers["Location"].removeprefix(base)
        assert login.startswith(f"{path}/login?next=")
        page = pool.request("GET", login, headers=asked).data.decode()
        (action,) = re.findall(r'<form method="post" action="([^"]*)"', page)
        assert action == f"{path}/login"
        hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
        fields = {**hidden, "token": web.admin}
        entered = pool.request(
            "POST", action, fields=fields, encode_multipart=False, headers=asked, redirect=False
        )
        assert entered.status == 303, entered.data
        cookie = entered.headers["Set-Cookie"]
        assert f"Path={path}/;" in f"{cookie};"
        assert "Secure" in cookie
        assert entered.headers["Location"].removeprefix(base) == f"{path}/tenant?id=acme"

        # Each address of a page is one that is answered.
        session = {**asked, "Cookie": cookie.partition(";")[0]}
        seen: set[str] = set()
        left = [f"{path}/tenant?id=acme", f"{path}/"]
        while left:
            address = left.pop()
            if address in seen or len(seen) > 40:
                continue
            seen.add(address)
            answer = pool.request("GET", address, headers=session)
            assert answer.status == 200, address
            if "html" not in answer.headers["Content-Type"]:
                continue
            text = answer.data.decode().replace("&amp;", "&")
            found = re.findall(r' (?:href|src|action)="(/[^"]*)"', text)
            assert all(each.startswith(f"{path}/") for each in found), found
            left += re.findall(r' (?:href|src)="(/[^"#]*)"', text)
        assert {f"{path}/fleet", f"{path}/create", f"{path}/runs"} <= seen

        # And a form that a page has does what it says.
        page = pool.request("GET", f"{path}/create", headers=session).data.decode()
        (action,) = re.findall(rf'action="({path}/create)"', page)
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        done = pool.request(
            "POST",
            action,
            fields={**hidden, "id": "beta", "name": "Beta"},
            encode_multipart=False,
            headers={**session, "Origin": base},
            redirect=False,
        )
        assert done.status == 303, done.data
        assert done.headers["Location"].removeprefix(base).startswith(f"{path}/tenant?id=beta")
        until(lambda: "telemetry_beta" in eu1.databases())
