"""`TerminalReporter`: a table for a person, plain lines for a pipe."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Literal

from influxops import Report, ReporterSettings, Run, RunHead, hookimpl, setting, write_stream
from influxops_reports.plain import header_lines, report_lines
from influxops_reports.words import Story

if TYPE_CHECKING:
    from rich.console import Console

_LEVEL_STYLES = {"OK": "green", "PLAN": "cyan", "WARN": "yellow", "ERR": "bold red"}


class TerminalReporter:
    """Tells a run on standard output, and what it works on, beforehand, on standard error.

    Args:
        section: The name of its section.
        settings: Its settings.
    """

    class Settings(ReporterSettings):
        """How much is told, and in which colours."""

        quiet: bool = setting(
            False, description="Say nothing when all is well, and only what is not otherwise."
        )
        verbose: int = setting(
            0,
            description="From `1` on: every tenant, what was done for it and where, and what is "
            "merely worth knowing.",
            ge=0,
        )
        color: Literal["auto", "always", "never"] = setting(
            "auto",
            description="`auto`: on a terminal, unless NO_COLOR is set; a pipe gets plain lines "
            "in any case.",
        )
        head: Literal["lines", "log"] = setting(
            "lines",
            description="Where it is told what the run works on: `lines` on standard error, or "
            "records of the log.",
        )

    def __init__(self, section: str, settings: Settings) -> None:
        self.section = section
        self.settings = settings

    @hookimpl
    def influxops_started(self, head: RunHead, run: Run) -> None:
        """Say what the run works on."""
        if not self.settings.quiet:
            self._tell_head(head, run)

    @hookimpl
    def influxops_report(self, report: Report, run: Run) -> None:
        """Say how the run ended.

        Raises:
            ReporterError: When standard output cannot be written.
        """
        if self.settings.quiet and not Story(report).troubled:
            return
        if self.settings.quiet:
            # Who finds this in a mail must see which run it is about; it was not told before.
            self._tell_head(
                RunHead(
                    report.run_id, report.dry_run, report.origin, report.sources, report.targets
                ),
                run,
            )
        write_stream(sys.stdout, self._text(report))

    def _tell_head(self, head: RunHead, run: Run) -> None:
        lines = header_lines(head)
        if self.settings.head == "log":
            for line in lines:
                run.log.info("%s", line)
            return
        if sys.stderr.isatty():
            width = max(40, shutil.get_terminal_size().columns)
            lines = [part for line in lines for part in _wrapped(line, width)]
        write_stream(sys.stderr, "".join(f"{line}\n" for line in lines))

    def _text(self, report: Report) -> str:
        quiet, verbose = self.settings.quiet, self.settings.verbose > 0
        if sys.stdout.isatty():
            from influxops_reports.table import show

            console = self._console()
            with console.capture() as captured:
                show(report, console, verbose=verbose, quiet=quiet)
            return captured.get()
        lines = list(report_lines(report, verbose=verbose, quiet=quiet))
        if self.settings.color != "always":
            return "".join(f"{line}\n" for line in lines)
        return self._coloured(lines)

    def _coloured(self, lines: list[str]) -> str:
        from rich.text import Text

        console = self._console()
        with console.capture() as captured:
            for line in lines:
                level, space, rest = line.partition(" ")
                text = Text.assemble((level, _LEVEL_STYLES.get(level, "")), space, rest)
                console.print(text, soft_wrap=True)
        return captured.get()

    def _console(self) -> Console:
        from rich.console import Console

        colour = self.settings.color
        always = colour == "always"
        return Console(
            file=sys.stdout,
            force_terminal=True if always else None,
            color_system=None if colour == "never" else "auto",
            # What the configuration says is nearer to the user's mind than the environment.
            no_color=False if always else bool(os.environ.get("NO_COLOR")),
            markup=False,
            emoji=False,
            highlight=False,
        )


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
