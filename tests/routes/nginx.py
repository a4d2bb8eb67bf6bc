"""A real nginx with the configuration of docs/routing.md, and servers that say what they got."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from influxops.domain.route import Route, Routes
from influxops_routes.nginx import render
from tests.queue.workers import until

PROGRAM = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or ""
needs_nginx = pytest.mark.skipif(not PROGRAM, reason="nginx is not installed")
DOCS = Path(__file__).parents[2] / "docs" / "routing.md"
_AUTHORITY = trustme.CA()
_TRUSTED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_AUTHORITY.configure_trust(_TRUSTED)


def authority(folder: Path) -> str:
    """Write a file with what the proxies' certificates are verified by, and return its path."""
    path = folder / "authority.pem"
    _AUTHORITY.cert_pem.write_to_path(path)
    return f"{path}"


@dataclass
class Answer:
    """What a client gets."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Nginx:
    """A proxy that runs."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def routes(self) -> Path:
        return self.folder / "influxops-routes.conf"

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate by which clients trust it."""
        path = self.folder / "authority.pem"
        _AUTHORITY.cert_pem.write_to_path(path)
        return path

    @property
    def log(self) -> str:
        return (self.folder / "error.log").read_text()

    def ask(
        self,
        path: str | bytes,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request whose line is just as it is given."""
        raw = path if isinstance(path, bytes) else path.encode()
        given = {"Host": "localhost", "Connection": "close", **(headers or {})}
        if body is not None:
            given["Content-Length"] = str(len(body))
        head = b"\r\n".join(
            [
                (b"GET " if body is None else b"POST ") + raw + b" HTTP/1.1",
                *(f"{name}: {value}".encode() for name, value in given.items()),
            ]
        )
        with (
            socket.create_connection(("127.0.0.1", self.port), 30) as line,
            _TRUSTED.wrap_socket(line, server_hostname="localhost") as secure,
        ):
            with contextlib.suppress(OSError):  # it may answer before it has read all
                secure.sendall(head + b"\r\n\r\n" + (body or b""))
            answer = http.client.HTTPResponse(secure)
            answer.begin()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def version(self) -> int:
        """Return the version of the routes in force."""
        return int(self.ask("/influxops-route-version").body)

    def reload(self) -> None:
        """Have it read its files again, and wait until it has."""
        version = re.search(r'default "(\d+)"', self.routes.read_text())
        assert version
        before = self._workers()
        self.process.send_signal(signal.SIGHUP)
        # Until then those of before may still take a request.
        until(lambda: not before & self._workers() and self.version() == int(version[1]))

    def _workers(self) -> set[int]:
        """Return the processes that take requests."""
        pid, found = self.process.pid, set()
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if "shutting down" not in Path(f"/proc/{child}/cmdline").read_text():
                    found.add(int(child))
        return found


@contextlib.contextmanager
def nginx(folder: Path, routes: str, **changed: str) -> Iterator[Nginx]:
    """Run nginx as docs/routing.md configures it, on a free port, with some lines `changed`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blocks = re.findall(r"```nginx\n(.*?)```", DOCS.read_text(), re.S)
    text = blocks[0].replace("listen 8443", f"listen 127.0.0.1:{port}")
    for name, value in changed.items():
        text, number = re.subn(rf"(?m)^( +){name} .*;$", rf"\1{value}", text)
        assert number == 1
    (folder / "nginx.conf").write_text(text)
    (folder / "tokens.conf").write_text(blocks[1])
    (folder / "influxops-routes.conf").write_text(routes)
    certificate = _AUTHORITY.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "proxy.key")
    for number, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(folder / "proxy.crt", append=bool(number))
    own = f"daemon off; pid {folder}/nginx.pid;"
    command = [PROGRAM, "-p", f"{folder}", "-c", f"{folder}/nginx.conf"]
    process = subprocess.Popen([*command, "-e", f"{folder}/error.log", "-g", own])
    running = Nginx(folder, port, process)

    def answers() -> bool:
        assert process.poll() is None, running.log
        with contextlib.suppress(OSError):
            return running.version() >= 0
        return False

    try:
        until(answers)
        yield running
    finally:
        process.terminate()
        process.wait(30)


class Recorder:
    """A server that answers each request with its own name and the request's parameters."""

    def __init__(self, name: str, *, is_secure: bool = False) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.rows: Counter[str] = Counter()  # by bucket
        self.held = 0  # requests that wait until they are released
        self._goes_on = threading.Event()
        self._goes_on.set()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if not recorder._goes_on.is_set():
                    recorder.held += 1
                    recorder._goes_on.wait()
                recorder.seen.append((self.path, dict(self.headers)))
                found = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
                is_gzip = self.headers.get("Content-Encoding") == "gzip"
                lines = (gzip.decompress(body) if is_gzip else body).splitlines()
                recorder.rows[found.get("bucket", [""])[0]] += len(lines)
                said = json.dumps({"server": name, "bytes": len(body), **found}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(said)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(said)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        if is_secure:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            _AUTHORITY.issue_cert("localhost").configure_cert(context)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.url = f"https://localhost:{self.server.server_port}/path"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hold(self) -> None:
        """Answer nothing until `release`."""
        self._goes_on.clear()

    def release(self) -> None:
        """Answer what was held."""
        self._goes_on.set()


@contextlib.contextmanager
def recorders(*names: str, is_secure: bool = False) -> Iterator[dict[str, Recorder]]:
    """Run recording servers."""
    found = {name: Recorder(name, is_secure=is_secure) for name in names}
    try:
        yield found
    finally:
        for each in found.values():
            each.server.shutdown()
            each.server.server_close()


class HasUrl(Protocol):
    """A server."""

    @property
    def url(self) -> str: ...


def file_of(
    places: Mapping[str, str | None],
    servers: Mapping[str, HasUrl],
    grace: float = 0,
    version: int = 1,
) -> str:
    """Return the file for databases on servers; None where one has none now."""
    routes = tuple(
        Route(name, name, target, servers[target].url)
        if target
        else Route(name, name, reason="lost")
        for name, target in sorted(places.items())
    )
    return render(Routes(version, routes), grace)
