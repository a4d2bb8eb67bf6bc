"""What `influx_tenant_db` does: one plan gives `changed`, the diff and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from influxops.domain.change import Change
from influxops.domain.database import Database
from influxops.domain.durations import parse_duration
from influxops.domain.plan import TenantPlan, Verdict
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.engine.operations import Drop, Ensure, Retire
from influxops.engine.status import place
from influxops.errors import ConfigError
from influxops.report.document import database_document, plain
from influxops.report.model import Report
from influxops.runtime.context import Context
from influxops_ansible.result import Result, Told, attempt, nothing, shortened
from influxops_ansible.task import Task, id_of


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
        report = _run(task, engine, context)
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


def _run(task: Task, engine: Engine, context: Context) -> Report:
    """Make the run that a task asks for: tenants that are to be absent are retired, or dropped."""
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
    # The task itself asks for it; that a source still has the tenant is a warning.
    allow |= {"still-registered"}
    return engine.run(operation, context, allow=allow)


def _seconds(after: str | None) -> int | None:
    """Return how long a database is kept; None for what the ledger's settings say.

    Raises:
        ConfigError: When it is no duration.
    """
    if after is None:
        return None
    try:
        return int(after) if after.strip().isdecimal() else parse_duration(after)
    except ValueError as error:
        raise ConfigError(f"`after`: {error}") from None


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
        "url": told.view.target_url(_place(tenant, changes, told)),
        "action": _actions(changes or tried) or ("keep" if tenant.before else "none"),
        "changed": None if is_unknown else bool(changes),
        "until": plain(_until(tenant, changes)),
        "before": database_document(tenant.before),
        "after": None if is_unknown else database_document(_after(tenant, changes, told)),
    }


def _place(tenant: TenantPlan, changes: Sequence[Change], told: Told) -> str | None:
    """Return the target that holds its database, or that the ledger has for it."""
    was_made = changes and not told.report.dry_run
    return tenant.target if was_made else place(told.view, tenant)


def _until(tenant: TenantPlan, changes: Sequence[Change]) -> datetime | None:
    """Return until when the data of a tenant that is retiring, or was dropped, is kept."""
    until = next((change.until for change in changes if change.until is not None), None)
    if until is None and tenant.record is not None and tenant.record.state is State.RETIRING:
        return tenant.record.due
    return until


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
