"""The lookup `tenant`: where tenants' databases are, or why that is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influxops.domain.finding import FindingKind
from influxops.domain.plan import TenantPlan
from influxops.domain.text import quote, summarize
from influxops.engine.operations import Ensure
from influxops_ansible.info import read_failures, without_lock_warning
from influxops_ansible.result import Result, TaskReport, run_task, with_advice
from influxops_ansible.task import Task, id_of

#: Tenants that a message explains; it says how many more there are.
_MAX_REASONS = 20


def locate(parameters: Mapping[str, Any]) -> Result:
    """Return where the databases of the lookup's `tenants` are; fail unless all are known."""
    return run_task(_locate, parameters)


def _locate(task: Task) -> Result:
    ids = [id_of(named) for named in task.named or ()]
    if not ids:
        return Result({"locations": []})
    with task.engine(dry_run=True) as (engine, context):
        report = TaskReport(without_lock_warning(engine.run(Ensure(), context, tell=False)))
    tenants = {tenant.tenant: tenant for tenant in report.run.tenants}
    failures = TaskReport(read_failures(report.run))
    if not tenants.keys() >= set(ids):
        failure = failures.failure or report.failure or "the run ended before all was read"
        return Result(failure=failure)
    unknown = [tenants[id_] for id_ in dict.fromkeys(ids) if not _is_known(tenants[id_], report)]
    if unknown:
        # A tenant that may be on an unreadable target is explained by that target's failure.
        reasons = [_reason(tenant, report) for tenant in unknown if not tenant.unseen_on]
        parts = [summarize(reasons, _MAX_REASONS), failures.failure]
        return Result(failure="; ".join(filter(None, parts)))
    warnings = (*failures.warnings, *filter(None, [failures.failure]))
    return Result({"locations": [_location(tenants[id_], report) for id_ in ids]}, warnings)


def _is_known(tenant: TenantPlan, report: TaskReport) -> bool:
    """Return whether a tenant has one database, on a known target."""
    kind = tenant.kind
    if kind is FindingKind.IN_TWO_TARGETS or not report.view.exists(tenant):
        return False
    # A database that is elsewhere than recorded may be a copy, until a person decides.
    return kind not in (FindingKind.MISPLACED, FindingKind.LOST) or report.view.is_ok(tenant)


def _location(tenant: TenantPlan, report: TaskReport) -> dict[str, Any]:
    return {
        "tenant": tenant.tenant,
        "database": tenant.database,
        "target": tenant.target,
        "url": report.view.target_url(tenant.target),
    }


def _reason(tenant: TenantPlan, report: TaskReport) -> str:
    name = quote(tenant.tenant)
    if report.view.exists(tenant) is False and report.view.is_ok(tenant):
        return with_advice(
            f"the tenant {name} has no database {tenant.database} yet",
            "give it one with `influx_tenant_db`",
        )
    return with_advice(
        f"the tenant {name}: {report.view.reason_text(tenant)}", report.view.advice(tenant)
    )
