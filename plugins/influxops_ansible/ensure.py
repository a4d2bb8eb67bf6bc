"""What `influx_tenant_db` does: one plan gives `changed`, the diff and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from influxops.model import Change, Database, TenantPlan, Verdict
from influxops.report.document import database_document
from influxops_ansible.result import Result, Told, attempt, nothing, shortened
from influxops_ansible.task import Task


def ensure(parameters: Mapping[str, Any], *, check_mode: bool) -> Result:
    """Give tenants their databases, or take them away.

    Args:
        parameters: The module's parameters.
        check_mode: Whether to plan only.
    """
    return attempt(partial(_ensure, check_mode=check_mode), parameters)


def _ensure(task: Task, *, check_mode: bool) -> Result:
    parameters = task.parameters
    if task.named == []:
        # A list that came out empty asks for nothing; it is no registry that lost its tenants.
        return Result({"changed": False, "diff": [], "not_as_desired": [], **nothing(task)})
    with task.engine(dry_run=check_mode) as (engine, context):
        report = engine.execute(
            context, allow=parameters.get("allow") or (), absent=parameters["state"] == "absent"
        )
    told = Told(report)
    warnings, failure = told.warnings, told.failure
    if failure and (
        (parameters.get("on_failure") == "warn" and not told.is_nameless)
        or (check_mode and parameters.get("unreachable") == "warn" and told.is_only_unreachable)
    ):
        warnings, failure = (*warnings, failure), ""
    changed = [tenant for tenant in told.report.tenants if told.changes(tenant)]
    entries = ((_entry(tenant, told), told.is_open(tenant)) for tenant in told.report.tenants)
    values = {
        "changed": bool(changed),
        **shortened(entries, task, failed=bool(failure)),
        "diff": [_diff(tenant, told) for tenant in changed],
        "not_as_desired": told.open,
        **told.values,
    }
    return Result(values, warnings, failure)


def _entry(tenant: TenantPlan, told: Told) -> dict[str, Any]:
    """Return what was done to a tenant's database, or would be."""
    changes = told.changes(tenant)
    tried = [outcome.change for outcome in tenant.outcomes] or [*tenant.changes, *tenant.refused]
    # Whether anything was changed where that could not be read again, nobody knows.
    is_unknown = tenant.verdict is Verdict.UNKNOWN and bool(tenant.outcomes) and not changes
    message = told.view.message(tenant.finding) if tenant.finding else ""
    if told.report.dry_run and tenant.over_estimate:
        message = f"may find no place on {tenant.target}"
    return {
        "tenant": tenant.tenant,
        "database": tenant.database,
        "state": tenant.verdict.value,
        "message": message,
        "target": tenant.target,
        "url": told.view.url(tenant),
        "action": _actions(changes or tried) or ("keep" if tenant.before else "none"),
        "changed": None if is_unknown else bool(changes),
        "before": database_document(tenant.before),
        "after": None if is_unknown else database_document(_after(tenant, changes, told)),
    }


def _actions(changes: Sequence[Change]) -> str:
    return "+".join(change.action.value for change in changes)


def _after(tenant: TenantPlan, changes: Sequence[Change], told: Told) -> Database | None:
    if told.report.dry_run and tenant.over_estimate:
        return tenant.before
    if not told.report.dry_run and changes and tenant.after == tenant.before:
        # It was made, and could not be read again: this is what its server said.
        return changes[-1].after
    return tenant.after


def _diff(tenant: TenantPlan, told: Told) -> dict[str, Any]:
    """Return what changes in one database; Ansible shows an empty text where there is none."""
    changes = told.changes(tenant)
    name = f"{tenant.database} on {changes[0].target}"
    return {
        "before_header": name,
        "after_header": name,
        "before": database_document(tenant.before) or "",
        "after": database_document(_after(tenant, changes, told)) or "",
    }
