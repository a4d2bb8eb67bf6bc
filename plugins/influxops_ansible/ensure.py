"""What `influx_tenant_db` does: one plan gives `changed`, the diff and the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from influxops import Change, Report, TenantResult, database_document
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
        return Result({"changed": False, "databases": [], "diff": [], **nothing(task)})
    with task.engine(dry_run=check_mode) as (engine, run):
        report = engine.execute(
            run, allow=parameters.get("allow") or (), absent=parameters["state"] == "absent"
        )
    changes = _changes(report)
    values = {
        "changed": bool(changes),
        "databases": _databases(report, changes),
        "diff": [_diff(steps) for steps in _by_database(changes)],
        **told(report),
    }
    warned, failure = warnings(report), ""
    if report.exit_code:
        failure = reasons(report)
        if check_mode and parameters.get("unreachable") == "warn" and is_only_unreachable(report):
            warned, failure = (*warned, failure), ""
    return Result(values, warned, failure)


def _changes(report: Report) -> list[Change]:
    """Give what was changed, or would be, in the order of the tenants: the same either way."""
    done = frozenset(report.changed)
    if report.dry_run:
        # What may find no place is not promised.
        doubtful = frozenset(report.plan.doubtful)
        done = frozenset(c for c in report.plan.pending if c.tenant not in doubtful)
    order = {tenant: number for number, tenant in enumerate(report.plan.databases)}
    changes = (change for change in report.plan.changes if change in done)
    return sorted(changes, key=lambda change: order[change.tenant])


def _by_database(changes: Iterable[Change]) -> list[list[Change]]:
    """Put the changes of one database together, in the order of the plan."""
    steps: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        steps[change.tenant, change.target].append(change)
    return list(steps.values())


def _databases(report: Report, changes: Iterable[Change]) -> list[dict[str, Any]]:
    """Tell of each tenant's database what was done, or would be."""
    of_tenant: defaultdict[str, list[list[Change]]] = defaultdict(list)
    for steps in _by_database(changes):
        of_tenant[steps[0].tenant].append(steps)
    urls = {target.name: target.url for target in report.targets}
    entries = []
    for result in report.tenants:
        changed = of_tenant.get(result.tenant)
        if not changed:
            entries.append(_unchanged(result, report))
        for steps in changed or ():
            first, last = steps[0], steps[-1]
            entries.append(
                {
                    **_entry(result),
                    "target": first.target,
                    "url": urls.get(first.target),
                    "action": "+".join(change.action.value for change in steps),
                    "changed": True,
                    "before": database_document(first.before),
                    "after": database_document(last.after),
                }
            )
    return entries


def _unchanged(result: TenantResult, report: Report) -> dict[str, Any]:
    tried = "+".join(action.value for action in result.actions)
    entry = _entry(result)
    if report.dry_run and result.tenant in report.plan.doubtful:
        entry["message"] = f"may find no place on {result.target}"
    return {
        **entry,
        "target": result.target,
        "url": result.url,
        "action": tried or ("keep" if result.before else "none"),
        "changed": False,
        "before": database_document(result.before),
        # A refused change is no change, whatever it would have led to.
        "after": database_document(result.before if report.dry_run else result.after),
    }


def _entry(result: TenantResult) -> dict[str, Any]:
    return {
        "tenant": result.tenant,
        "database": result.database,
        "state": result.state.value,
        "message": result.message,
    }


def _diff(steps: Sequence[Change]) -> dict[str, Any]:
    """Tell what changes in one database; Ansible shows an empty text where there is none."""
    name = f"{steps[0].database} on {steps[0].target}"
    return {
        "before_header": name,
        "after_header": name,
        "before": database_document(steps[0].before) or "",
        "after": database_document(steps[-1].after) or "",
    }
