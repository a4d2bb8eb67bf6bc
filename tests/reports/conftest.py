"""Fixtures for the reporters: a pipe, and a terminal that is one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from influxops.plugin import Report, RunContext
from influxops_reports.progress import TerminalReporter

Tell = Callable[..., str]


def _reporter(**settings: Any) -> TerminalReporter:
    return TerminalReporter("reporter:terminal", TerminalReporter.Settings(**settings))


@pytest.fixture
def piped(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Tell a report into a pipe; give what arrived on standard output."""

    def tell(report: Report, **settings: Any) -> str:
        capsys.readouterr()
        _reporter(**settings).influxops_report(report, RunContext())
        return capsys.readouterr().out

    return tell


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Tell:
    """Tell a report on a pseudo-terminal; give all that a terminal got, escapes included."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def tell(report: Report, width: int = 100, **settings: Any) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        leader, follower = os.openpty()
        got: list[bytes] = []

        def read() -> None:
            try:
                while chunk := os.read(leader, 65536):
                    got.append(chunk)
            except OSError:
                pass  # how Linux says that the other end is closed

        reader = threading.Thread(target=read)
        reader.start()
        with monkeypatch.context() as patch, os.fdopen(follower, "w", encoding="utf-8") as stream:
            patch.setattr(sys, "stdout", stream)
            _reporter(**settings).influxops_report(report, RunContext())
        reader.join()
        os.close(leader)
        return b"".join(got).decode().replace("\r\n", "\n")

    return tell
