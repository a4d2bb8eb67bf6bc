"""`JsonReporter`: the whole report as one JSON document."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from influxops.plugin import (
    Check,
    HealthChecks,
    Report,
    Reporter,
    ReporterSettings,
    RunContext,
    hookimpl,
    report_json,
    setting,
    write_stream,
)
from influxops.plugin.files import check_writable, replace_file


class JsonReporter(Reporter, HealthChecks):
    """Writes the report as JSON, in the format that `docs/report.md` describes."""

    class Settings(ReporterSettings):
        """Where the document goes."""

        path: str = setting(
            "-",
            description="The file, replaced whole at each run; `-` is standard output.",
            min_length=1,
        )
        indent: int = setting(
            2, description="Spaces a level; `0` puts the document on one line.", ge=0, le=8
        )
        changes_only: bool = setting(
            False, description="Leave out of `tenants` those that are, and were, as desired."
        )

    settings: Settings

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Check that the file can be written."""
        if self.settings.path != "-":
            yield check_writable(Path(self.settings.path), "the JSON report", replaced=True)

    @hookimpl
    def influxops_report(self, report: Report, context: RunContext) -> None:
        """Write the document."""
        settings = self.settings
        parts = report_json(report, indent=settings.indent, changes_only=settings.changes_only)
        if settings.path == "-":
            for part in parts:
                write_stream(sys.stdout, part)
        else:
            data = (part.encode("ascii") for part in parts)
            replace_file(Path(settings.path), data, context, what="the JSON report")
