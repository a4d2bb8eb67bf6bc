"""Running the command line in this process: its exit code, its report, and what it printed."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from influxops.cli.main import run
from influxops.cli.options import Common
from influxops.cli.output.stdio import speak_records
from influxops.config.load import ConfigAuthor, Section
from influxops.domain.database import Database
from influxops.plugin import Report, Reporter, RunContext, hookimpl
from influxops.plugin_host.discovery import installed
from influxops.testing.memory import kinds_of, memory_kinds

_OWN = "test runner"


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    exit_code: int
    report: Report | None  # None where the command makes none, or it could not begin
    output: str  # what it wrote to standard output
    errors: str  # what it wrote to standard error


class Runner:
    """Runs `influxops` in this process, with plugins that need not be installed.

    Further kinds are the source and the target `memory`, whose databases `databases` has.

    Args:
        config: The text of an influxops.toml, or the path of one.
        plugins: Classes by the kind that the configuration names.
    """

    def __init__(
        self, config: str | Path = "", plugins: Mapping[str, type[Any]] | None = None
    ) -> None:
        self._config = config
        self._kinds = {**installed(), **memory_kinds(), **kinds_of(plugins or {})}
        self._memory: Any = self._kinds["targets.memory"].plugin

    @property
    def databases(self) -> dict[str, dict[str, Database]]:
        """What targets of the kind `memory` hold: databases by name, by the name of the target."""
        servers: dict[str, dict[str, Database]] = self._memory.servers
        return servers

    def __call__(self, *arguments: str) -> Result:
        """Run a command: `runner("plan", "--detailed-exitcode")`."""
        reports: list[Report] = []

        class Recorder(Reporter):
            """Keeps the report for the test."""

            @hookimpl
            def influxops_report(self, report: Report, context: RunContext) -> None:
                """Keep it."""
                reports.append(report)

        kinds = {**self._kinds, **kinds_of({f"reporters.{_OWN}": Recorder})}
        section = Section("reporters", _OWN, _OWN, author=ConfigAuthor(_OWN))
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        with tempfile.TemporaryDirectory() as folder, _as_it_was():
            path = self._config
            if isinstance(path, str):
                path = Path(folder) / "influxops.toml"
                path.write_text(str(self._config), encoding="utf-8")
            options = Common(str(path), kinds=kinds, reporters=(section,))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(arguments, options)
        output, errors = (each.buffer.getvalue().decode() for each in (out, err))
        return Result(code, reports[-1] if reports else None, output, errors)


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Put back what a command line sets for its process: its log, and how errors are written."""
    log = logging.getLogger("influxops")
    before = log.handlers[:], log.propagate, log.level, logging.root.handlers[:]
    try:
        with warnings.catch_warnings():
            yield
    finally:
        log.handlers[:], log.propagate, level, logging.root.handlers[:] = before
        log.setLevel(level)
        logging.captureWarnings(False)
        speak_records(None)
