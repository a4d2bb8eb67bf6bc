"""A proxy for HTTP that answers some requests itself, as a server in trouble or its proxy does."""

from __future__ import annotations

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_FULL = (
    b'{"error":"Update to schema would exceed number of databases limit: '
    b'attempted to create database but already have 5 database(s) (limit: 5)"}'
)
#: What is answered instead of the server, by the name of a fault: status, headers, body.
ANSWERS: dict[str, tuple[int, dict[str, str], bytes]] = {
    "429": (429, {"Retry-After": "1"}, b'{"error":"too many requests"}'),
    "500": (500, {}, b"internal error"),
    "503 with Retry-After": (503, {"Retry-After": "1"}, b"unavailable"),
    "401": (401, {}, b'{"error": "the request was not authenticated"}'),
    "HTML of a proxy": (502, {"Content-Type": "text/html"}, _HTML),
    "HTML with 200": (200, {"Content-Type": "text/html"}, _HTML),
    "full": (422, {"Content-Type": "application/json"}, _FULL),
}
#: Bodies of 200 that are JSON, and none that a server answers with.
WRONG = (b"{}", b"null", b"[1, 2]", b'"ok"', b'[{"a": {"b": []}}]', b"\xff\xfe[]", b"[[]]")


@dataclass
class Trouble:
    """What happens to some requests that come next."""

    kind: str
    left: int  # how many of them
    skip: int = 0  # how many are let through before
    only_writes: bool = False
    body: bytes = b""  # of a wrong answer
    act: Callable[[str], None] | None = None  # done before a request is passed on
    met: int = 0  # how many it happened to


@dataclass
class Layer:
    """A running proxy."""

    port: int = 0
    behind: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, path: str) -> Trouble | None:
        """Return what happens to this request."""
        writes = method in ("POST", "PUT", "DELETE") and "/query" not in path
        with self.lock:
            for trouble in self.troubles:
                if trouble.left <= 0 or (trouble.only_writes and not writes):
                    continue
                if trouble.skip > 0:
                    trouble.skip -= 1
                    continue
                trouble.left -= 1
                trouble.met += 1
                return trouble
        return None

    def heal(self) -> None:
        with self.lock:
            self.troubles.clear()


class _Gone(Exception):
    """The connection has to end at once."""


@contextlib.contextmanager
def answering(behind: int) -> Iterator[Layer]:
    """Run a proxy in front of a port of this machine."""
    layer = Layer(behind=behind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 300
        upstream: http.client.HTTPConnection | None = None

        def _pass_on(self) -> None:
            body = self._body()
            trouble = layer.take(self.command, self.path)
            try:
                if trouble is not None and trouble.act is not None:
                    trouble.act(self.path)
                status, headers, data = self._answer(trouble, body)
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if trouble is not None and trouble.kind == "truncated answer":
                    self.wfile.write(data[: len(data) // 2])
                    raise _Gone
                if status != 204:
                    self.wfile.write(data)
            except (OSError, http.client.HTTPException, _Gone):
                self._reset()

        def _answer(
            self, trouble: Trouble | None, body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            kind = "" if trouble is None else trouble.kind
            if kind in ANSWERS:
                return ANSWERS[kind]
            if kind == "wrong JSON":
                assert trouble is not None
                return 200, {"Content-Type": "application/json"}, trouble.body
            if kind == "reset in a request":
                raise _Gone
            status, headers, data = self._ask(body)
            if kind == "reset in an answer":
                raise _Gone
            if kind == "truncated JSON":
                data = data[: len(data) // 2]
            return status, headers, data

        def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            if self.upstream is not None and self.upstream.port != layer.behind:
                self.upstream.close()
                self.upstream = None
            if self.upstream is None:
                self.upstream = http.client.HTTPConnection("127.0.0.1", layer.behind, timeout=60)
            kept = ("Content-Type", "Content-Encoding", "Authorization", "Accept")
            sent = {name: self.headers[name] for name in kept if name in self.headers}
            self.upstream.request(self.command, self.path, body or None, sent)
            answer = self.upstream.getresponse()
            data = answer.read()
            back = ("content-type", "content-encoding", "cluster-uuid")
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() in back or name.lower().startswith("x-influxdb")
            }
            return answer.status, headers, data

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _reset(self) -> None:
            self.close_connection = True
            if self.upstream is not None:
                self.upstream.close()
                self.upstream = None
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            with contextlib.suppress(OSError):
                self.connection.close()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()
            if self.upstream is not None:
                self.upstream.close()

        do_GET = do_POST = do_PUT = do_DELETE = _pass_on

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: Any) -> None:
            """Say nothing of clients that were killed."""

    with Server(("127.0.0.1", 0), Handler) as server:
        layer.port = server.server_address[1]
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            yield layer
        finally:
            server.shutdown()
            thread.join()
