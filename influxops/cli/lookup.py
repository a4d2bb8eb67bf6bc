"""What `status` and `where` share: a look at tenants that changes and reports nothing."""

from __future__ import annotations

from collections.abc import Container

from influxops.cli.output import say
from influxops.engine import Engine
from influxops.model import Severity
from influxops.report import Report
from influxops.run import Run

#: Findings that say that something could not be read; they are told even where nobody in the
#: scope depends on it, and they are warnings.
_UNREAD = ("failed-source", "unreachable", "refused", "wrong-server", "interrupted", "deadline")


def look(engine: Engine, run: Run, *, leave_out: Container[str] = ()) -> tuple[Report, int]:
    """Plan without telling the reporters, and say on standard error what is wrong.

    What is wrong with a tenant that is shown is left to the command.

    Args:
        engine: The engine.
        run: A dry run.
        leave_out: Kinds of findings that the command tells in its own words.

    Returns:
        The report, and how many errors it holds that are about no tenant that is shown.
    """
    report = engine.execute(run, tell=False)
    shown = {result.tenant for result in report.tenants}
    errors = 0
    for finding in report.findings:
        wrong = finding.severity is Severity.ERROR and finding.tenant not in shown
        errors += wrong
        unread = finding.kind in _UNREAD and finding.severity is not Severity.INFO
        if (wrong or unread) and finding.kind not in leave_out:
            hint = f" ({finding.hint})" if finding.hint else ""
            label = "ERR" if finding.severity is Severity.ERROR else "WARN"
            say(f"{finding.message}{hint}", label=label, err=True)
    return report, errors
