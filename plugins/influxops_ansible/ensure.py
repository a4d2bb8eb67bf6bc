"""The module `influx_tenant_db`: one plan gives `changed`, the diff and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from influxops.domain.database import Database
from influxops.domain.durations import parse_duration
from influxops.domain.plan import Change, TenantPlan, TenantStatus
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.engine.operations import Drop, Ensure, Retire
from influxops.engine.status import place
from influxops.errors import ConfigError
from influxops.report.document import database_document, plain
from influxops.report.model import Report
from influxops.runtime.context import RunContext
from influxops_ansible.result import Result, TaskReport, listed, no_tenants, run_task
from influxops_ansible.task import Task, duration_text, id_of


def ensure(parameters: Mapping[str, Any], *, check_mode: bool) -> Result:
    """Create, complete, retire or drop the databases of tenants; in check mode, plan only."""
    return run_task(partial(_ensure, check_mode=check_mode), parameters)


def _ensure(task: Task, *, check_mode: bool) -> Result:
    parameters = task.parameters
    if task.named == []:
        # An empty list asks for no tenant; it is no registry that lost its tenants.
        return Result({"changed": False, "diff": [], "not_as_desired": [], **no_tenants(task)})
    with task.engine(dry_run=check_mode) as (engine, context):
        report = TaskReport(_run(task, engine, context))
    warnings, failure = report.warnings, report.failure
    if failure and (
        (parameters.get("on_failure") == "warn" and report.names_tenants)
        or (check_mode and parameters.get("unreachable") == "warn" and report.is_only_unreachable)
    ):
        warnings, failure = (*warnings, failure), ""
    changed = [tenant for tenant in report.run.tenants if report.changes(tenant)]
    entries = ((_entry(tenant, report), report.is_open(tenant)) for tenant in report.run.tenants)
    values = {
        "changed": bool(changed),
        **listed(entries, task, failed=bool(failure)),
        "diff": [_diff(tenant, report) for tenant in changed],
        "not_as_desired": report.not_as_desired,
        **report.values,
    }
    return Result(values, warnings, failure)


def _run(task: Task, engine: Engine, context: RunContext) -> Report:
    """Run what a task asks for: tenants that are to be absent are retired, or dropped."""
    parameters = task.parameters
    allow = frozenset(parameters.get("allow") or ())
    if parameters["state"] == "present":
        return engine.run(Ensure(), context, allow=allow)
    after = _seconds(parameters.get("after"))
    if after and engine.ledger is None:
        raise ConfigError(
            "`after` needs a ledger, which remembers what is to be dropped later",
            hint="give `ledger`, or leave `after` out",
        )
    if engine.ledger is None or after == 0:
        return engine.run(Drop(), context, allow=allow)
    operation = Retire(tuple(map(id_of, task.named or ())), after, found=True)
    # The task asks for it, so a source that still has the tenant is a warning only.
    allow |= {"still-registered"}
    return engine.run(operation, context, allow=allow)


def _seconds(after: str | None) -> int | None:
    """Return how long a database is kept; None for the setting of the ledger."""
    if after is None:
        return None
    try:
        return parse_duration(duration_text(after))
    except ValueError as error:
        raise ConfigError(f"`after`: {error}") from None


def _entry(tenant: TenantPlan, report: TaskReport) -> dict[str, Any]:
    """Return what was done to a tenant's database, or would be."""
    changes = report.changes(tenant)
    attempted = [o.change for o in tenant.outcomes] or [*tenant.changes, *tenant.refused]
    # The result of an attempt is unknown where the database could not be read again.
    is_unknown = tenant.status is TenantStatus.UNKNOWN and bool(tenant.outcomes) and not changes
    message = report.view.message(tenant.finding) if tenant.finding else ""
    if report.run.dry_run and tenant.may_exceed_capacity:
        message = f"may exceed the capacity of {tenant.target}"
    was_changed = changes and not report.run.dry_run
    target = tenant.target if was_changed else place(report.view, tenant)
    return {
        "tenant": tenant.tenant,
        "database": tenant.database,
        "status": tenant.status.value,
        "message": message,
        "target": tenant.target,
        "url": report.view.target_url(target),
        "action": "+".join(c.action.value for c in changes or attempted)
        or ("keep" if tenant.before else "none"),
        "changed": None if is_unknown else bool(changes),
        "until": plain(_until(tenant, changes)),
        "before": database_document(tenant.database, tenant.before),
        "after": None
        if is_unknown
        else database_document(tenant.database, _after(tenant, changes, report)),
    }


def _until(tenant: TenantPlan, changes: Sequence[Change]) -> datetime | None:
    """Return until when the data of a tenant that is retiring, or was dropped, is kept."""
    until = next((change.until for change in changes if change.until is not None), None)
    if until is None and tenant.record is not None and tenant.record.state is State.RETIRING:
        return tenant.record.drop_after
    return until


def _after(tenant: TenantPlan, changes: Sequence[Change], report: TaskReport) -> Database | None:
    if report.run.dry_run and tenant.may_exceed_capacity:
        return tenant.before
    if not report.run.dry_run and changes and tenant.after == tenant.before:
        # It could not be read again after the change: this is its server's answer.
        return changes[-1].after
    return tenant.after


def _diff(tenant: TenantPlan, report: TaskReport) -> dict[str, Any]:
    changes = report.changes(tenant)
    name = f"{tenant.database} on {changes[0].target}"
    return {
        "before_header": name,
        "after_header": name,
        "before": database_document(tenant.database, tenant.before) or "",
        "after": database_document(tenant.database, _after(tenant, changes, report)) or "",
    }
