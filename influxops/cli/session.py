"""What a command needs for a run: configuration, engine, log, signals, progress."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from influxops.cli.options import Common, common
from influxops.cli.output import error_line, say, speak_records, speaks_records
from influxops.config import Section, load_config
from influxops.engine import Engine
from influxops.naming import one_line
from influxops.run import Run, Scope

if TYPE_CHECKING:
    from influxops.report import Report

#: The reporter that is the command's own output, and how the engine says that it failed.
_OWN = "command line"
_FAILED = f"reporter {_OWN}: "


@contextlib.contextmanager
def session(
    context: click.Context,
    *,
    timeout: float | None = None,
    dry_run: bool = True,
    scope: Scope | None = None,
    reporters: Sequence[Section] = (),
    tolerant: bool = False,
) -> Iterator[tuple[Engine, Run]]:
    """Give an engine and a run that Ctrl-C and SIGTERM end cleanly.

    Args:
        context: The command's context.
        timeout: Seconds, None for what the configuration says.
        dry_run: Whether nothing is written.
        scope: What may be written.
        reporters: The reporters of the command line itself.
        tolerant: Whether a missing secret is left for the engine's `doctor` to tell.
    """
    options = common(context)
    config = load_config(options.config)
    with (
        Engine(config, reporters=reporters, tolerant=tolerant) as engine,
        progress(options) as (on_stage, on_progress),
    ):
        run = Run(
            timeout=timeout or config.timeout,
            dry_run=dry_run,
            scope=scope or Scope(),
            on_stage=on_stage,
            on_progress=on_progress,
        )
        start_log(options, engine, run.id)
        with ended_by_signals(run):
            yield engine, run


def execute(
    context: click.Context,
    *,
    dry_run: bool,
    tenants: Sequence[str],
    targets: Sequence[str],
    allow: Sequence[str],
    output: str,
    timeout: float | None,
) -> Report:
    """Make a run and let it be told on the terminal, as text or as JSON."""
    options = common(context)
    values: dict[str, Any] = {}
    if output == "text":
        head = "log" if options.log_format == "json" else "lines"
        values = {"quiet": options.quiet, "verbose": options.verbose, "head": head}
    kind = "terminal" if output == "text" else "json"
    reporter = Section("reporters", _OWN, kind, values, lambda *keys: "command line")
    scope = Scope(frozenset(tenants), frozenset(targets))
    with session(context, timeout=timeout, dry_run=dry_run, scope=scope, reporters=[reporter]) as (
        engine,
        run,
    ):
        report = engine.execute(run, allow=allow)
    lost = [f for f in report.findings if f.kind == "reporter" and f.message.startswith(_FAILED)]
    for finding in lost:
        say(finding.message.removeprefix(_FAILED), label="error:", before="influxops: ", err=True)
    if lost and not report.exit_code:
        return dataclasses.replace(report, exit_code=1)  # who asked for it did not get it
    return report


def start_log(options: Common, engine: Engine, run: str = "") -> logging.Logger:
    """Write the log to standard error, secrets taken out.

    Args:
        options: How much of it, and how.
        engine: Knows the secrets.
        run: The run's id.
    """
    log = logging.getLogger("influxops")
    usual = logging.INFO if options.log_format == "json" else logging.WARNING
    level = (usual, logging.INFO, logging.DEBUG)[min(options.verbose, 2)]
    log.setLevel(logging.ERROR if options.quiet else level)
    handler = logging.StreamHandler(sys.stderr)
    if options.log_format == "json":
        from influxops.cli.records import Records

        records = Records(engine.redact, run)
        handler.setFormatter(records)
        speak_records(records.line)
    else:
        handler.setFormatter(_Plain(engine.redact))
    log.handlers[:] = [handler]
    log.propagate = False
    return log


class _Plain(logging.Formatter):
    """One line a message; a traceback keeps its lines, and nothing steers the terminal."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__("%(levelname)s %(message)s")
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(self._redact(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:
        lines = self._redact(super().formatException(ei)).splitlines()
        return "\n".join(map(one_line, lines))


@contextlib.contextmanager
def ended_by_signals(run: Run) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the run cleanly, and the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    before_it = "" if speaks_records() else "\n"  # a terminal shows ^C on the line

    def end(number: int, frame: FrameType | None) -> None:
        # In a thread of its own: the main thread may hold the very lock that cancelling takes.
        threading.Thread(target=run.cancel, daemon=True).start()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        with contextlib.suppress(OSError):  # Past Python's own buffer, which may be in use.
            line = error_line("ending; once more to end at once", before="influxops: ")
            os.write(2, f"{before_it}{line}\n".encode())

    before = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def progress(options: Common) -> Iterator[tuple[Any, Any]]:
    """Show how far a run is, on a terminal only; gone when the stage is done.

    Yields:
        What `Run` takes as `on_stage` and `on_progress`.
    """
    if options.quiet or options.log_format == "json" or not sys.stderr.isatty():
        yield (lambda label, total: None), (lambda count: None)
        return
    from influxops.cli.bar import Bar

    bar = Bar()
    try:
        yield bar.stage, bar.advance
    finally:
        bar.stop()
