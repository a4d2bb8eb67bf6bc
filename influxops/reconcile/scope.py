"""What a run was limited to, held against what there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from influxops.context import Scope
from influxops.errors import ConfigError
from influxops.findings import Kind
from influxops.model import UNMANAGED, TenantPlan
from influxops.reconcile.desired import held, hold
from influxops.reconcile.observe import Observed
from influxops.reconcile.plan import Plan
from influxops.reconcile.rules import Rules
from influxops.text import nearest, printable

_HINT = "add it to the registry first"


def refuse_unknown_targets(rules: Rules, scope: Scope) -> None:
    """Refuse a scope that names a target which is not configured.

    Raises:
        ConfigError: Then.
    """
    for target in sorted(scope.targets or ()):
        if target not in rules.targets:
            raise ConfigError(
                f"no target is called {printable(target)}",
                hint=nearest(target, rules.targets) or f"targets: {', '.join(rules.targets)}",
            )


def with_unknown_tenants(
    plan: Plan, desired: Mapping[str, TenantPlan], observed: Observed, scope: Scope
) -> Plan:
    """Return a plan that also tells of the named tenants that no source knows.

    Raises:
        ConfigError: When no source knows any of them.
    """
    unknown = sorted((scope.tenants or frozenset()) - desired.keys())
    if not unknown or not observed.sources_complete:
        return plan
    if len(unknown) == len(scope.tenants or ()):
        more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
        raise ConfigError(
            f"no source knows the tenant {printable(unknown[0])}{more}",
            hint=nearest(unknown[0], desired) or _HINT,
        )
    finding = held(Kind.UNKNOWN_TENANT, "no source knows it", _HINT)
    tenants = dict(plan.tenants)
    for number, id_ in enumerate(unknown):
        # A near miss is looked for among all tenants, so only for the first few.
        hint = nearest(id_, desired) if number < 5 else ""
        this = replace(finding, remedy=hint) if hint else finding
        tenants[id_] = hold(TenantPlan(id_, "", UNMANAGED), this)
    return replace(plan, tenants=tenants)
