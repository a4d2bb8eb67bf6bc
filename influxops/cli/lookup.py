"""What `status` and `where` share: a look at tenants that changes and reports nothing."""

from __future__ import annotations

from collections.abc import Sequence

import click

from influxops.engine import Engine
from influxops.model import Finding, Severity
from influxops.report import Report
from influxops.run import Run


def look(engine: Engine, run: Run) -> Report:
    """Plan without telling the reporters, and say on standard error what cannot be read.

    Args:
        engine: The engine.
        run: A dry run.
    """
    report = engine.execute(run, tell=False)
    for finding in _about_reading(report.findings):
        click.echo(
            f"ERR {finding.message}" + (f" ({finding.hint})" if finding.hint else ""), err=True
        )
    return report


def _about_reading(findings: Sequence[Finding]) -> list[Finding]:
    kinds = ("failed-source", "unreachable", "refused", "wrong-server", "interrupted", "deadline")
    return [f for f in findings if f.kind in kinds and f.severity is not Severity.INFO]
