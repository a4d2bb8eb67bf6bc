"""What the lookup `tenant` does: where tenants' databases are, or why nobody can say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from influxops.findings import Kind
from influxops.model import TenantPlan
from influxops.text import printable, some_of
from influxops_ansible.info import unread, without_lock
from influxops_ansible.result import Result, Told, attempt, with_advice
from influxops_ansible.task import Task, id_of

#: How many tenants a message explains; it says how many more there are.
_MOST_REASONS = 20


def places(parameters: Mapping[str, Any]) -> Result:
    """Tell where the databases of tenants are; it is a failure if that is not known of all.

    Args:
        parameters: The lookup's options, and its terms as `tenants`.
    """
    return attempt(_places, parameters)


def _places(task: Task) -> Result:
    ids = [id_of(named) for named in task.named or ()]
    if not ids:
        return Result({"places": []})
    with task.engine(dry_run=True) as (engine, context):
        told = Told(without_lock(engine.execute(context, tell=False)))
    tenants = {tenant.tenant: tenant for tenant in told.report.tenants}
    missed = Told(unread(told.report))
    not_read = missed.failure
    if not tenants.keys() >= set(ids):
        return Result(failure=not_read or told.failure or "the run ended before all was read")
    nowhere = [tenants[id_] for id_ in dict.fromkeys(ids) if not _is_known(tenants[id_], told)]
    if nowhere:
        # Whose database may be where nobody can read, is told with what could not be read.
        whys = [_why(tenant, told) for tenant in nowhere if not tenant.unseen_on]
        reasons = [some_of(whys, _MOST_REASONS), not_read]
        return Result(failure="; ".join(filter(None, reasons)))
    warnings = (*missed.warnings, *filter(None, [not_read]))
    return Result({"places": [_place(tenants[id_], told) for id_ in ids]}, warnings)


def _is_known(tenant: TenantPlan, told: Told) -> bool:
    """Return whether a tenant has one database, and it is known where."""
    kind = tenant.finding.kind if tenant.finding is not None else None
    if kind is Kind.IN_TWO_TARGETS or not told.view.exists(tenant):
        return False
    # What is elsewhere than recorded may be a copy, until somebody decides.
    return kind not in (Kind.MISPLACED, Kind.LOST) or told.view.is_right(tenant)


def _place(tenant: TenantPlan, told: Told) -> dict[str, Any]:
    return {
        "tenant": tenant.tenant,
        "database": tenant.database,
        "target": tenant.target,
        "url": told.view.url(tenant),
    }


def _why(tenant: TenantPlan, told: Told) -> str:
    name = printable(tenant.tenant)
    if told.view.exists(tenant) is False and told.view.is_right(tenant):
        return with_advice(
            f"the tenant {name} has no database {tenant.database} yet",
            "give it one with `influx_tenant_db`",
        )
    return with_advice(f"the tenant {name}: {told.view.why(tenant)}", told.view.advice(tenant))
