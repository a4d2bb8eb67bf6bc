"""The reporter `webhook`: the contract of every reporter, and what only this one does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from influxops.testing import ReporterContract, Runner, sample_report
from influxops_webhook import WebhookReporter, signature

KEY = "s3cr3t"


class Receiver:
    """A real HTTP server that keeps what it gets, and answers as a test says."""

    def __init__(self) -> None:
        self.status = 204
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append((headers, body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    made = Receiver()
    monkeypatch.setenv("HOOK_URL", made.url)
    monkeypatch.setenv("NO_HOOK", "http://127.0.0.1:9/hook")
    monkeypatch.setenv("HOOK_KEY", KEY)
    yield made
    made.close()


class TestWebhookReporter(ReporterContract):
    """What influxops expects of a reporter."""

    plugin = WebhookReporter

    @pytest.fixture(autouse=True)
    def hook(self, receiver: Receiver) -> None:
        """Say where the receiver is, and where none is."""
        self.receiver = receiver
        self.settings = {"url": {"env": "HOOK_URL"}, "key": {"env": "HOOK_KEY"}}
        self.unreachable = {**self.settings, "url": {"env": "NO_HOOK"}}

    def delivered(self) -> str:
        """Return what was received."""
        return "\n".join(body.decode() for _, body in self.receiver.got)

    def test_what_is_received_can_be_verified(self) -> None:
        with self.handle() as tested:
            assert self.report(tested) is None
        ((headers, body),) = self.receiver.got
        sent = {name: headers[name] for name in headers if name.startswith("webhook-")}
        id_, timestamp = sent["webhook-id"], int(sent["webhook-timestamp"])
        assert id_ == sample_report().run_id
        assert sent == signature(KEY, id_, timestamp, body)
        assert (
            sent["webhook-signature"]
            != signature("other", id_, timestamp, body)["webhook-signature"]
        )
        assert json.loads(body)["run"]["id"] == id_

    def test_a_receiver_that_refuses_is_a_warning(self) -> None:
        self.receiver.status = 401
        with self.handle() as tested:
            failure = self.report(tested)
        assert failure is not None
        assert (failure.message, "key" in failure.hint) == ("the webhook answered 401", True)


def test_a_run_that_ended_well_is_left_out_where_that_is_wanted(receiver: Receiver) -> None:
    config = (
        '[sources.them]\nkind = "memory"\ntenants = ["acme"]\n[targets.here]\nkind = "memory"\n'
        '[reporters.hook]\nkind = "webhook"\nurl = {env = "HOOK_URL"}\nkey = {env = "HOOK_KEY"}\n'
    )
    assert Runner(config, {"webhook": WebhookReporter})("ensure").exit_code == 0
    assert len(receiver.got) == 1
    quiet = Runner(config + "failures_only = true\n", {"webhook": WebhookReporter})
    assert quiet("ensure").exit_code == 0
    assert len(receiver.got) == 1
