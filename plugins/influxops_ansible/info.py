"""What `influx_tenant_db_info` does: reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.plan import TenantPlan
from influxops.domain.text import summarize
from influxops.engine.operations import Ensure
from influxops.engine.status import tenant_status
from influxops.report.document import report_document
from influxops.report.model import Report
from influxops.report.wording import ANSIBLE_STYLE
from influxops_ansible.result import Result, Told, attempt, nothing, shortened
from influxops_ansible.task import Task

#: Findings that say that something could not be read, or may not be so; all others are
#: reported, and no failure.
_UNREAD = (
    Kind.STALE_LEDGER,
    Kind.FAILED_SOURCE,
    Kind.UNREACHABLE,
    Kind.REFUSED,
    Kind.WRONG_SERVER,
    Kind.INTERRUPTED,
    Kind.DEADLINE,
)


def look(parameters: Mapping[str, Any]) -> Result:
    """Tell what tenants have.

    Args:
        parameters: The module's parameters.
    """
    return attempt(_look, parameters)


def _look(task: Task) -> Result:
    if task.named == []:
        return Result({"targets": [], **nothing(task)})
    with task.engine(dry_run=True) as (engine, context):
        report = without_lock(engine.run(Ensure(), context, tell=False))
        told, missed = Told(report), Told(unread(report))
        rows = map(_row, tenant_status(engine, told.view, context))
    warnings, failure = told.warnings, ""
    if any(finding.severity is Severity.ERROR for finding in missed.report.notes):
        failure = missed.failure
        if task.parameters.get("unreachable") == "warn" and missed.is_only_unreachable:
            warnings, failure = (*warnings, failure), ""
    entries = ((row, row["exists"] is None or bool(row["message"])) for row in rows)
    values = {
        **shortened(entries, task, failed=bool(failure)),
        "targets": report_document(report, ANSIBLE_STYLE)["targets"],
        **told.values,
    }
    return Result(values, warnings, failure)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose retention periods a task can be given: `none` keeps data for ever."""
    has_one = row["exists"] and not row["copies"]
    retention = row["retention"] or ("none" if has_one else None)
    return {**row, "retention": retention, "desired": row["desired"] or "none"}


def without_lock(report: Report) -> Report:
    """Return a report that says nothing of a lock, which who only reads does not need."""
    notes = (finding for finding in report.notes if finding.kind is not Kind.NO_LOCK)
    return replace(report, notes=tuple(notes))


def unread(report: Report) -> Report:
    """Return what of a report is about reading alone."""
    return replace(
        report,
        notes=tuple(
            finding
            for finding in report.notes
            if finding.kind in _UNREAD and finding.severity is not Severity.INFO
        ),
        tenants=tuple(_not_read(report)),
        refusals=(),
    )


def _not_read(report: Report) -> Iterator[TenantPlan]:
    """Yield the tenants whose databases may be where nothing could be read."""
    for tenant in report.tenants:
        if tenant.unseen_on and tenant.before is None:
            where = f"it may be on {summarize(tenant.unseen_on)}, which cannot be read"
            finding = Finding(Kind.NOT_READ, Severity.ERROR, where, tenant=tenant.tenant)
            yield replace(tenant, finding=finding)
