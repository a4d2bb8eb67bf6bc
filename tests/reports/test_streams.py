"""Standard output and error, whatever they are."""

from __future__ import annotations

import io
import os
import sys

import pytest

from influxops.plugin import RunContext, console, is_terminal, write_stream
from influxops.runtime.stdio import has_colour
from influxops_reports.json import JsonReporter
from influxops_reports.progress import TerminalReporter
from tests.reports.samples import full_report, head


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_streams_that_were_closed_from_the_beginning_fail_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert not is_terminal(None)
    write_stream(None, "text")
    console(None).print("text")
    for color in ("auto", "always"):
        reporter = TerminalReporter("t", TerminalReporter.Settings(color=color))
        reporter.influxops_started(head(full_report()), RunContext())
        reporter.influxops_report(full_report(), RunContext())
    JsonReporter("j", JsonReporter.Settings()).influxops_report(full_report(), RunContext())


@pytest.mark.parametrize(
    ("term", "no_color", "coloured"),
    [("xterm", "", True), ("xterm", "1", False), ("dumb", "", False), ("", "", False)],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, term: str, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    assert has_colour(terminal) is coloured
    console(terminal).print("text", style="bold red")
    assert ("\x1b" in terminal.getvalue()) is coloured
    log = io.StringIO()
    console(log).print("text", style="bold red")
    assert log.getvalue() == "text\n"


def test_colours_can_be_asked_for_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    log = io.StringIO()
    console(log, "always").print("text", style="red")
    assert log.getvalue() == "\x1b[31mtext\x1b[0m\n"


def test_text_is_not_interpreted() -> None:
    log = io.StringIO()
    console(log).print("[red]a[/red] :smile: " + os.sep)
    assert log.getvalue() == f"[red]a[/red] :smile: {os.sep}\n"
