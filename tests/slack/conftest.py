"""A double of Slack's incoming webhooks: a real HTTP server that gives the answers of the test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from influxops.plugin import Secret
from influxops_slack.reporter import SlackReporter

#: What must not be seen anywhere; the shape of a real webhook's path.
SECRET_PATH = "/services/T0000/B0000/s3cr3tt0k3n"


@dataclass
class Answer:
    """What the double answers, and how."""

    status: int = 200
    text: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    wait: threading.Event | None = None
    drip: bool = False  # a byte now and then, and never the end


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is part of the tests."""


class Webhook:
    """The double; it gives its answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers = [Answer()]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.arrived = threading.Event()
        self.stopped = threading.Event()
        self.hung_up = threading.Event()  # the client left a dripping answer
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                double._take(self)

            do_GET = do_CONNECT = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{SECRET_PATH}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    def answer(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(
            (
                handler.requestline,
                {name.lower(): value for name, value in handler.headers.items()},
                body,
            )
        )
        self.times.append(time.monotonic())
        self.arrived.set()
        if answer.wait is not None:
            answer.wait.wait(30)
        handler.close_connection = True
        if answer.drip:
            self._drip(handler)
            return
        if answer.raw is not None:
            handler.wfile.write(answer.raw)
            return
        content = answer.text.encode()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _drip(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while not self.stopped.wait(0.05):
                handler.wfile.write(b".")
        except OSError:
            self.hung_up.set()


MakeReporter = Callable[..., SlackReporter]


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    double = Webhook()
    monkeypatch.setenv("TEST_WEBHOOK", double.url)
    yield double
    double.stop()


@pytest.fixture
def make_reporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeReporter:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)

    def make(**settings: Any) -> SlackReporter:
        webhook = Secret(env="TEST_WEBHOOK")
        return SlackReporter("reporter:ops", SlackReporter.Settings(webhook=webhook, **settings))

    return make
