"""What a command needs for a run: configuration, engine, log, signals, progress."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from influxops.cli.options import IN_TASKS_ONLY, Common, command_line, common
from influxops.cli.output.stdio import error_line, say, speak_records, speaks_records
from influxops.config.load import ConfigAuthor, Section, load_config
from influxops.domain.finding import FindingKind
from influxops.domain.text import one_line
from influxops.engine.engine import Engine
from influxops.errors import ConfigError, ExitCode
from influxops.report.wording import CLI_STYLE
from influxops.runtime.context import RunContext
from influxops.runtime.stdio import has_escapes, write_stream

if TYPE_CHECKING:
    from influxops.engine.operations import Operation
    from influxops.report.model import Report

#: The name of the reporter that is the command's own output, and what it says where from.
_OWN = "command line"

#: What ends a run; what is ignored from the beginning (`nohup`) stays ignored.
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def session(
    ctx: click.Context,
    *,
    timeout: float | None = None,
    dry_run: bool = True,
    verify: bool = False,
    tenants: Iterable[str] = (),
    targets: Iterable[str] = (),
    reporters: Sequence[Section] = (),
    endless: bool = False,
) -> Iterator[tuple[Engine, RunContext]]:
    """Yield an engine and the context of a run that Ctrl-C, SIGTERM and SIGHUP end cleanly.

    Where no `timeout` is given it is the configuration's; none for what is `endless`, whose
    progress is reported now and then where no bar can show it.
    """
    options = common(ctx)
    config = replace(load_config(options.config), door="cli")
    with (
        Engine(config, kinds=options.kinds, reporters=(*reporters, *options.reporters)) as engine,
        progress(options, lines=endless) as (on_stage, on_progress),
    ):
        context = RunContext(
            timeout or (None if endless else config.timeout),
            dry_run=dry_run,
            verify=verify,
            tenants=frozenset(tenants) or None,
            targets=frozenset(targets) or None,
            on_stage=on_stage,
            on_progress=on_progress,
        )
        start_log(options, engine, context.id)
        with ended_by_signals(context):
            yield engine, context


def execute(
    ctx: click.Context,
    operation: Operation,
    *,
    dry_run: bool,
    allow: Sequence[str],
    output: str,
    timeout: float | None,
    verify: bool = False,
    named: Sequence[str] = (),
    tenants: Sequence[str] = (),
    targets: Sequence[str] = (),
    endless: bool = False,
    changes_only: bool = False,
) -> Report:
    """Make a run and report it on the terminal, as text or as JSON.

    It may take as long as it takes if it is `endless` and no time is given.
    """
    replaces = operation.reconciles and (bool(operation.recreate) or "recreate-lost" in allow)
    for guard in allow:
        if guard in IN_TASKS_ONLY and not replaces:
            raise ConfigError(
                f"the guard {guard} has nothing to do here: commands drop only retired tenants",
                hint=IN_TASKS_ONLY[guard],
            )
    options = common(ctx)
    values: dict[str, Any] = {"changes_only": changes_only}
    if output == "text":
        head = "log" if options.log_format == "json" else "lines"
        # Of what takes long, each tenant is worth a word.
        verbose = options.verbose or int(endless)
        values |= {"quiet": options.quiet, "verbose": verbose, "head": head}
    kind = "terminal" if output == "text" else "json"
    reporter = Section("reporters", _OWN, kind, values, author=ConfigAuthor(_OWN))
    with session(
        ctx,
        timeout=timeout,
        dry_run=dry_run,
        verify=verify,
        tenants=[*named, *tenants],
        targets=targets,
        reporters=[reporter],
        endless=endless,
    ) as (engine, context):
        apply = command_line(ctx) if dry_run else ""
        report = engine.run(operation, context, allow=allow, apply=apply)
        # The report that was shown knows of these.
        told = {handle.name for handle in engine.reporters if handle.missing is not None}
    lost = [f for f in report.notes if f.kind is FindingKind.REPORTER and f.reporter not in told]
    for finding in lost:
        if finding.reporter == _OWN:
            say(finding.message, label="error:", before="influxops: ", err=True)
        else:
            advice = CLI_STYLE.advice(finding.remedy)
            say(f"{finding.sentence}{f' ({advice})' if advice else ''}", label="WARN", err=True)
    if any(f.reporter == _OWN for f in lost) and report.exit_code is ExitCode.OK:
        # Who asked for it did not get it.
        return replace(report, exit_code=ExitCode.FAILED)
    return report


def start_log(options: Common, engine: Engine, run: str = "") -> logging.Logger:
    """Write the log to standard error, secrets taken out."""
    log = logging.getLogger("influxops")
    usual = logging.INFO if options.log_format == "json" else logging.WARNING
    level = (usual, logging.INFO, logging.DEBUG)[min(options.verbose, 2)]
    log.setLevel(logging.ERROR if options.quiet else level)
    handler = _ToStandardError()
    if options.log_format == "json":
        from influxops.cli.output.json_log import Records

        records = Records(engine.redact, run)
        handler.setFormatter(records)
        speak_records(records.line)
    else:
        handler.setFormatter(_Plain(engine.redact))
    log.handlers[:] = [handler]
    log.propagate = False
    # What libraries log or warn of is for programmers; what matters of it, findings say.
    logging.captureWarnings(True)
    if not logging.root.handlers:
        logging.root.addHandler(logging.NullHandler())
    return log


class _ToStandardError(logging.Handler):
    """Writes to what standard error is at the time: a progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            write_stream(sys.stderr, f"{self.format(record)}\n")
        except Exception:
            self.handleError(record)


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
def ended_by_signals(context: RunContext) -> Iterator[None]:
    """Let the first SIGINT, SIGTERM or SIGHUP end the run cleanly, and the second at once.

    A second SIGHUP does nothing: when a terminal goes away, its shell and the system send one
    each.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    before_it = "" if speaks_records() else "\n"  # a terminal shows ^C on the line
    arrived, arrive = socket.socketpair()
    arrive.setblocking(False)

    def wait_for_signals() -> None:
        # Python runs a handler in the main thread only, which does not wake up for a signal that
        # came just before it began to wait. The number is written here whatever that one does.
        ended = False
        while got := arrived.recv(1):
            number = got[0]
            if number not in before or (ended and number == signal.SIGHUP):
                continue
            if ended:
                os._exit(128 + number)
            ended = True
            context.cancel()
            with contextlib.suppress(OSError):  # Past Python's own buffer, which may be in use.
                line = error_line(
                    "stopping gracefully; press Ctrl-C again to abort", before="influxops: "
                )
                os.write(2, f"{before_it}{line}\n".encode())

    def end(number: int, frame: FrameType | None) -> None:
        # What the next one does where Python is busy in C and runs no thread.
        for each in before:
            signal.signal(each, signal.SIG_IGN if each is signal.SIGHUP else signal.SIG_DFL)

    before: dict[signal.Signals, Any] = {}
    thread = threading.Thread(target=wait_for_signals, name="influxops-signals", daemon=True)
    thread.start()
    wakes_before = signal.set_wakeup_fd(arrive.fileno(), warn_on_full_buffer=False)
    for each in _ENDINGS:
        if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN:
            before[each] = signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(wakes_before)
        arrive.close()
        thread.join()
        arrived.close()


@contextlib.contextmanager
def progress(options: Common, *, lines: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yield what `RunContext` takes as `on_stage` and `on_progress`: a bar on a terminal.

    It is gone when a stage is done; without a terminal, `lines` tell it now and then.
    """
    if options.quiet or options.log_format == "json" or not has_escapes(sys.stderr):
        if lines and not options.quiet:
            from influxops.cli.output.progress_lines import Lines

            told = Lines()
            yield told.stage, told.advance
            return
        yield (lambda label, total: None), (lambda count: None)
        return
    from influxops.cli.output.progress import Bar

    bar = Bar()
    try:
        yield bar.stage, bar.advance
    finally:
        bar.stop()
