"""What a run was limited to, held against what there is."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from influxops.context import Scope
from influxops.errors import ConfigError
from influxops.findings import Kind
from influxops.model import UNMANAGED, TenantPlan
from influxops.reconcile.desired import held, hold, homes_of
from influxops.reconcile.observe import Observed
from influxops.reconcile.plan import Plan
from influxops.reconcile.rules import Rules
from influxops.text import nearest, printable, short

_HINT = "add it to the registry first"
_LEAVES = "influxops leaves it alone; add the tenant to the registry, or drop what is left of it"


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
    plan: Plan, desired: Mapping[str, TenantPlan], observed: Observed, rules: Rules, scope: Scope
) -> Plan:
    """Return a plan that also tells of the named tenants that no source knows.

    A database that is named as such a tenant's would be is told, with where it is.

    Raises:
        ConfigError: When no source knows any of them.
    """
    unknown = sorted((scope.tenants or frozenset()) - desired.keys())
    if not unknown or not observed.sources_complete:
        return plan
    if len(unknown) == len(scope.tenants or ()):
        more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
        left = _left(unknown[0], observed, rules)
        raise ConfigError(
            f"no source knows the tenant {printable(unknown[0])}{more}{left}",
            hint=nearest(unknown[0], desired) or (_LEAVES if left else _HINT),
        )
    tenants = dict(plan.tenants)
    for number, id_ in enumerate(unknown):
        # A near miss is looked for among all tenants, so only for the first few.
        hint = nearest(id_, desired) if number < 5 else ""
        left = _left(id_, observed, rules)
        finding = held(
            Kind.UNKNOWN_TENANT,
            f"no source knows it{left}",
            hint or (_LEAVES if left else _HINT),
        )
        tenants[id_] = hold(TenantPlan(id_, "", UNMANAGED), finding)
    return replace(plan, tenants=tenants)


def _left(tenant: str, observed: Observed, rules: Rules) -> str:
    """Return where there is a database that is named as a tenant's would be; empty if nowhere."""
    name = rules.template.name(tenant)
    homes = homes_of(name, observed)
    return f", but a database {short(name)} is on {' and on '.join(homes)}" if homes else ""
