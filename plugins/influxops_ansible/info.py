"""The module `influx_tenant_db_info`: reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from influxops.domain.finding import READ_FAILURES, Finding, FindingKind, Severity
from influxops.domain.plan import TenantPlan
from influxops.domain.text import summarize
from influxops.engine.operations import Ensure
from influxops.engine.status import tenant_status
from influxops.report.document import target_document
from influxops.report.model import Report
from influxops_ansible.result import Result, TaskReport, listed, no_tenants, run_task
from influxops_ansible.task import Task


def gather(parameters: Mapping[str, Any]) -> Result:
    """Return the state of tenants and targets."""
    return run_task(_gather, parameters)


def _gather(task: Task) -> Result:
    if task.named == []:
        return Result({"targets": [], **no_tenants(task)})
    with task.engine(dry_run=True) as (engine, context):
        run = without_lock_warning(engine.run(Ensure(), context, tell=False))
        report, failures = TaskReport(run), TaskReport(read_failures(run))
        rows = map(_row, tenant_status(engine, report.view, context))
    warnings, failure = report.warnings, ""
    if any(finding.severity is Severity.ERROR for finding in failures.run.notes):
        failure = failures.failure
        if task.parameters.get("unreachable") == "warn" and failures.is_only_unreachable:
            warnings, failure = (*warnings, failure), ""
    entries = ((row, row["exists"] is None or bool(row["message"])) for row in rows)
    values = {
        **listed(entries, task, failed=bool(failure)),
        "targets": [target_document(target) for target in run.targets],
        **report.values,
    }
    return Result(values, warnings, failure)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with retention periods as parameters have them: `none` keeps data for ever."""
    is_single = row["exists"] and not row["copies"]
    retention = row["retention"] or ("none" if is_single else None)
    return {**row, "retention": retention, "desired": row["desired"] or "none"}


def without_lock_warning(report: Report) -> Report:
    """Return a report without the warning of a missing lock, which reading does not need."""
    notes = (finding for finding in report.notes if finding.kind is not FindingKind.NO_LOCK)
    return replace(report, notes=tuple(notes))


def read_failures(report: Report) -> Report:
    """Return a report with only the findings about what could not be read: those fail a task."""
    return replace(
        report,
        notes=tuple(
            finding
            for finding in report.notes
            if finding.kind in READ_FAILURES and finding.severity is not Severity.INFO
        ),
        tenants=tuple(_unread_tenants(report)),
        refusals=(),
    )


def _unread_tenants(report: Report) -> Iterator[TenantPlan]:
    """Yield the tenants whose databases may be on a target that could not be read."""
    for tenant in report.tenants:
        if tenant.unseen_on and tenant.before is None:
            where = f"it may be on {summarize(tenant.unseen_on)}, which cannot be read"
            finding = Finding(FindingKind.NOT_READ, Severity.ERROR, where, tenant=tenant.tenant)
            yield replace(tenant, finding=finding)
