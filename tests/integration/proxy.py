"""A reverse proxy that sees each request to a server, and can hold it up or answer it itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

_PASSED_ON = ("content-type", "content-encoding", "authorization", "accept", "accept-encoding")
_PASSED_BACK = ("content-type", "cluster-uuid", "x-influxdb-build", "x-influxdb-version")


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    authorization: str | None
    body: bytes = b""

    @property
    def writes(self) -> bool:
        """Whether it could change something on the server."""
        return not (self.method == "GET" or "/query_sql" in self.path)


#: What answers instead of the server: status, content type, body; None lets the server answer.
Answer = tuple[int, str, bytes] | None


@dataclass
class Proxy:
    """A running proxy.

    Args:
        url: Where it listens.
        seen: All requests so far.
        answers: Each request that was answered, with the bytes and the lines of its answer.
        before: Called with each request before the server gets it; what it returns is answered.
        after: Called with each request once the server has answered, before the client gets it.
        breaks: Whether the connection ends before the last byte of an answer.
    """

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    answers: list[tuple[Seen, int, int]] = field(default_factory=list)
    before: Callable[[Seen], Answer] = field(default=lambda seen: None)
    after: Callable[[Seen], None] = field(default=lambda seen: None)
    breaks: Callable[[Seen], bool] = field(default=lambda seen: False)

    @property
    def writes(self) -> list[Seen]:
        """The requests so far that could change something."""
        return [seen for seen in self.seen if seen.writes]


@contextlib.contextmanager
def running_proxy(upstream: str, token: str = "") -> Iterator[Proxy]:
    """Run a proxy in front of a server.

    Args:
        upstream: The server's URL.
        token: What to send where the client sends none.
    """
    proxy = Proxy()
    pool = urllib3.PoolManager(maxsize=16, retries=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _pass_on(self) -> None:
            body = self._body()
            seen = Seen(self.command, self.path, self.headers.get("authorization"), body)
            proxy.seen.append(seen)
            answer = proxy.before(seen)
            headers: dict[str, str] = {}
            if answer is None:
                sent = {n: self.headers[n] for n in _PASSED_ON if n in self.headers}
                if token:
                    sent.setdefault("authorization", f"Bearer {token}")
                got = pool.request(
                    self.command,
                    upstream + self.path,
                    body=body,
                    headers=sent,
                    decode_content=False,
                )
                proxy.after(seen)
                headers = {n: got.headers[n] for n in _PASSED_BACK if n in got.headers}
                if "content-encoding" in got.headers:
                    headers["content-encoding"] = got.headers["content-encoding"]
                status, body = got.status, got.data
            else:
                status, headers["content-type"], body = answer
            proxy.answers.append((seen, len(body), body.count(b"\n")))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.close_connection = proxy.breaks(seen)
                self.send_header("content-length", str(len(body) + self.close_connection))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        do_GET = do_POST = do_PUT = do_DELETE = _pass_on

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: Any) -> None:
            """Say nothing of clients that were killed: that is what some tests do."""

    server = Server(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pool.clear()
