"""`TerminalReporter`: a table for a person, plain lines for a pipe."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Literal

from influxops.plugin import (
    Report,
    Reporter,
    ReporterSettings,
    ReportView,
    RunContext,
    RunStart,
    StartNotice,
    console,
    hookimpl,
    is_terminal,
    setting,
    write_stream,
)
from influxops_reports.plain import header_lines, report_lines

_LEVEL_STYLES = {"OK": "green", "PLAN": "cyan", "WARN": "yellow", "ERR": "bold red"}


class TerminalReporter(Reporter, StartNotice):
    """Prints what a run works on to standard error, and its result to standard output."""

    class Settings(ReporterSettings):
        """How much is printed, and in which colours."""

        quiet: bool = setting(
            False, description="Print nothing when all is well, and else only what is not."
        )
        verbose: int = setting(
            0,
            description="From `1` on: every tenant, what was done for it and where, and infos.",
            ge=0,
        )
        changes_only: bool = setting(
            False, description="Leave out tenants that are, and were, as desired."
        )
        color: Literal["auto", "always", "never"] = setting(
            "auto",
            description="`auto`: on a terminal, unless NO_COLOR is set or TERM is `dumb`; a pipe "
            "gets plain lines in any case.",
        )
        head: Literal["lines", "log"] = setting(
            "lines",
            description="Where to print what the run works on: `lines` on standard error, or "
            "records of the log.",
        )

    settings: Settings

    @hookimpl
    def influxops_started(self, head: RunStart, context: RunContext) -> None:
        """Print what the run works on."""
        if not self.settings.quiet:
            self._print_head(head, context)

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Print how the run ended."""
        if self.settings.quiet and ReportView(report).is_routine:
            return
        if self.settings.quiet:
            # A mail that cron sends must say which run it is about.
            self._print_head(report, context)
        write_stream(sys.stdout, self._text(report))

    def _print_head(self, head: RunStart | Report, context: RunContext) -> None:
        at_terminal = is_terminal(sys.stderr)
        lines = header_lines(head, brief=at_terminal and not self.settings.verbose)
        if self.settings.head == "log":
            for line in lines:
                context.log.info("%s", line)
            return
        if at_terminal:
            width = max(40, shutil.get_terminal_size().columns)
            lines = [part for line in lines for part in _wrapped(line, width)]
        write_stream(sys.stderr, "".join(f"{line}\n" for line in lines))

    def _text(self, report: Report) -> str:
        quiet, verbose = self.settings.quiet, self.settings.verbose > 0
        changes_only = self.settings.changes_only
        if is_terminal(sys.stdout):
            from influxops_reports.table import show

            screen = console(sys.stdout, self.settings.color)
            with screen.capture() as captured:
                show(report, screen, verbose=verbose, quiet=quiet, changes_only=changes_only)
            return captured.get()
        lines = report_lines(report, verbose=verbose, quiet=quiet, changes_only=changes_only)
        if self.settings.color != "always":
            return "".join(f"{line}\n" for line in lines)
        return self._coloured(lines)

    def _coloured(self, lines: Iterable[str]) -> str:
        from rich.text import Text

        screen = console(sys.stdout, self.settings.color)
        with screen.capture() as captured:
            for line in lines:
                level, space, rest = line.partition(" ")
                text = Text.assemble((level, _LEVEL_STYLES.get(level, "")), space, rest)
                screen.print(text, soft_wrap=True)
        return captured.get()


def _wrapped(line: str, width: int) -> list[str]:
    """Break a head's line between words only, so that URLs and ids can be copied."""
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=" " * 10,
        replace_whitespace=False,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )
