"""What `influx_tenant_db_info` does: reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from influxops import Report, Severity, report_document, tenant_status
from influxops_ansible.task import (
    Result,
    Task,
    attempt,
    is_only_unreachable,
    nothing,
    reasons,
    told,
    warnings,
)

#: Findings that say that something could not be read; all others are told, and no failure.
_UNREAD = ("failed-source", "unreachable", "refused", "wrong-server", "interrupted", "deadline")


def look(parameters: Mapping[str, Any]) -> Result:
    """Tell what tenants have.

    Args:
        parameters: The module's parameters.
    """
    return attempt(_look, parameters)


def _look(task: Task) -> Result:
    if task.named == []:
        return Result({"databases": [], "targets": [], **nothing(task)})
    with task.engine(dry_run=True) as (engine, run):
        report = engine.execute(run, tell=False)
        rows = tenant_status(engine, report, run)
    values = {"databases": rows, "targets": report_document(report)["targets"], **told(report)}
    unread = _unread(report)
    if not unread.findings:
        return Result(values, warnings(report))
    may_pass = task.parameters.get("unreachable") == "warn" and is_only_unreachable(unread)
    why = reasons(unread)
    return Result(
        values,
        (*warnings(report), why) if may_pass else warnings(report),
        "" if may_pass else why,
    )


def _unread(report: Report) -> Report:
    """Give what of a report is about reading alone."""
    plan = replace(report.plan, refusals=())
    findings = tuple(
        finding
        for finding in report.findings
        if finding.kind in _UNREAD and finding.severity is Severity.ERROR
    )
    return replace(report, findings=findings, outcomes=(), plan=plan)
