"""What a run was limited to, held against what there is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from msgspec.structs import replace

from influxops.domain.database import UNMANAGED
from influxops.domain.finding import FindingKind, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, TenantPlan
from influxops.domain.record import State
from influxops.domain.selection import Scope
from influxops.domain.text import did_you_mean, format_time, quote, truncate
from influxops.errors import ConfigError
from influxops.reconcile.plan.desired import homes_of
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Observed

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
                f"no target is called {quote(target)}",
                hint=did_you_mean(target, rules.targets) or f"targets: {', '.join(rules.targets)}",
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
        left, advice = _left(unknown[0], observed, rules)
        raise ConfigError(
            f"no source knows the tenant {quote(unknown[0])}{more}{left}",
            hint=did_you_mean(unknown[0], desired) or advice,
        )
    tenants = dict(plan.tenants)
    for number, id_ in enumerate(unknown):
        # A near miss is looked for among all tenants, so only for the first few.
        hint = did_you_mean(id_, desired) if number < 5 else ""
        left, advice = _left(id_, observed, rules)
        finding = blocked(FindingKind.UNKNOWN_TENANT, f"no source knows it{left}", hint or advice)
        tenants[id_] = TenantPlan(id_, "", UNMANAGED).block(finding)
    return replace(plan, tenants=tenants)


def _left(tenant: str, observed: Observed, rules: Rules) -> tuple[str, str | Hint]:
    """Return what there is of a tenant that no source knows, in words, and what to do about it."""
    record = observed.ledger_view.record(tenant)
    if record is not None and record.state is State.RETIRING:
        due = (
            f" is dropped after {format_time(record.drop_after)}"
            if record.drop_after
            else " is to be dropped"
        )
        left = f"; it is retiring: {truncate(record.database)} on {record.target}{due}"
        return left, Hint.command(f"unretire {shlex.quote(tenant)}", "run {} to keep it")
    name = rules.template.name(tenant)
    homes = homes_of(name, observed)
    if not homes:
        return "", _HINT
    return f", but a database {truncate(name)} is on {' and on '.join(homes)}", _LEAVES
