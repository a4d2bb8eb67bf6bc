"""A tenant that is on more than one target: what each copy holds, so that somebody can decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from influxops.context import Context
from influxops.findings import Finding, Kind
from influxops.model import DatabaseStats, TenantPlan
from influxops.plugins.handles import TargetHandle
from influxops.reconcile.observe import in_parallel
from influxops.reconcile.plan import Plan


def describe_copies(plan: Plan, targets: Sequence[TargetHandle], context: Context) -> Plan:
    """Return a plan whose doubles know what each copy holds; it asks nothing where there is none.

    Args:
        plan: The plan.
        targets: The targets.
        context: The run.
    """
    doubles = {id_: tenant for id_, tenant in plan.tenants.items() if _is_double(tenant)}
    if not doubles:
        return plan
    names: defaultdict[str, list[str]] = defaultdict(list)
    for tenant in doubles.values():
        assert tenant.finding is not None
        for copy in tenant.finding.facts["copies"]:
            names[copy["target"]].append(tenant.database)
    handles = [handle for handle in targets if handle.name in names]
    found = in_parallel(
        {h.full_name: partial(h.describe, names[h.name], context) for h in handles}, context
    )
    stats = {h.name: each for h, each in zip(handles, found, strict=True)}
    tenants = {
        id_: tenant.but(finding=_described(tenant, stats)) for id_, tenant in doubles.items()
    }
    return replace(plan, tenants={**plan.tenants, **tenants})


def _is_double(tenant: TenantPlan) -> bool:
    return tenant.finding is not None and tenant.finding.kind is Kind.IN_TWO_TARGETS


def _described(tenant: TenantPlan, stats: dict[str, dict[str, DatabaseStats]]) -> Finding:
    assert tenant.finding is not None
    copies = []
    for copy in tenant.finding.facts["copies"]:
        known = stats.get(copy["target"], {}).get(tenant.database)
        last = known.last_write if known else None
        copies.append(
            {
                "target": copy["target"],
                "rows": known.telemetry_count if known else None,
                "last_write": last.isoformat().replace("+00:00", "Z") if last else None,
            }
        )
    return replace(tenant.finding, facts={"copies": copies})
