"""The reporters that influxops has hold to the contract of every reporter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from influxops.testing import ReporterContract
from influxops_reports.journal import JournalReporter
from influxops_reports.json import JsonReporter
from influxops_reports.progress import TerminalReporter
from influxops_reports.prometheus import PrometheusReporter
from influxops_routes.reporter import RoutesReporter
from influxops_slack.reporter import SlackReporter
from tests.slack.conftest import Webhook


class Files(ReporterContract):
    """Reporters that write a file."""

    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "report"
        self.settings = {"path": str(self.path)}
        self.unreachable = {"path": str(tmp_path / "missing" / "report")}

    def delivered(self) -> str:
        return self.path.read_text()


class TestJson(Files):
    plugin = JsonReporter


class TestJournal(Files):
    plugin = JournalReporter


class TestPrometheus(Files):
    plugin = PrometheusReporter
    expected = 'state="failed"} 1.0'


class TestRoutes(Files):
    plugin = RoutesReporter
    expected = "http://eu1.example"

    def delivered(self) -> str:
        with self.handle() as tested:
            self.write_routes(tested)
        return super().delivered()


class TestTerminal(ReporterContract):
    plugin = TerminalReporter

    @pytest.fixture(autouse=True)
    def terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def delivered(self) -> str:
        return self.capsys.readouterr().out


class TestSlack(ReporterContract):
    plugin = SlackReporter

    @pytest.fixture(autouse=True)
    def hook(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("HOOK", (webhook := Webhook()).url)
        monkeypatch.setenv("NO_HOOK", "http://127.0.0.1:9/services/secret")
        self.settings = {"webhook": {"env": "HOOK"}}
        self.unreachable = {"webhook": {"env": "NO_HOOK"}}
        self.webhook = webhook
        yield
        webhook.stop()

    def delivered(self) -> str:
        return b"".join(body for _, _, body in self.webhook.requests).decode()
