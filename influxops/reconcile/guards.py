"""The guards: what is refused until somebody allows it by name.

They see every planned change once, after planning and before anything is written; what they
refuse leaves the plan here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from influxops.errors import ConfigError
from influxops.findings import Finding, Kind, Severity
from influxops.model import Action, Change, Refusal, TenantPlan, Verdict
from influxops.reconcile.observe import Observed
from influxops.reconcile.plan import Plan, tenant_databases
from influxops.reconcile.rules import Rules
from influxops.remedy import Remedy
from influxops.text import count, nearest, some_of


class Guard(Struct, frozen=True):
    """Keeps one kind of change from happening until it is allowed."""

    keeps_from: str  # what it keeps from happening, to be read after "allow to …"
    refuses: Callable[[TenantPlan, Change], bool]  # whether it refuses a change
    #: Says what all that it refuses comes to.
    message: Callable[[list[TenantPlan]], str]


def _shortens(plan: TenantPlan, change: Change) -> bool:
    if change.action is not Action.SET_RETENTION or not change.before or not change.after:
        return False
    actual, wanted = change.before.retention, change.after.retention
    return isinstance(wanted, int) and (actual is None or wanted < int(str(actual)))


def _listed(plans: list[TenantPlan], most: int, what: str) -> str:
    named = [
        f"{change.database} on {change.target}" + (f" ({change.reason})" if change.reason else "")
        for plan in plans[:most]
        for change in plan.refused
    ]
    more = f", and {len(plans) - most:,} more" if len(plans) > most else ""
    return f"would be {what}: {', '.join(named)}{more}"


#: Each guard, by the name that allows it.
GUARDS: Final[Mapping[str, Guard]] = {
    "unreachable": Guard(
        "create or drop a tenant's database while a target that may hold it cannot be read",
        lambda plan, change: change.action in (Action.CREATE, Action.DROP) and bool(plan.unseen_on),
        lambda plans: (
            f"{count(len(plans), 'tenant')} may have a database on "
            f"{' or '.join(plans[0].unseen_on)}, which cannot be read: left alone"
        ),
    ),
    "shorter-retention": Guard(
        "shorten a retention period, which hides older data at once",
        _shortens,
        lambda plans: _listed(plans, 3, "given a shorter retention period"),
    ),
    "empty-source": Guard(
        "take a registry without tenants for granted while tenant databases exist",
        lambda plan, change: False,  # it is about tenants that are not there
        lambda plans: "",
    ),
    "drop": Guard(
        "drop a tenant's database",
        lambda plan, change: change.action is Action.DROP,
        # Named in full: somebody has to decide about each.
        lambda plans: _listed(plans, len(plans), "dropped"),
    ),
}


def known(allow: Iterable[str]) -> frozenset[str]:
    """Return the names of the guards that are allowed.

    Raises:
        ConfigError: When no guard has such a name.
    """
    names = frozenset(allow)
    for name in sorted(names - GUARDS.keys()):
        raise ConfigError(
            f"no guard is called {name!r}",
            hint=nearest(name, GUARDS) or f"guards: {', '.join(GUARDS)}",
        )
    return names


def guard(
    plan: Plan, observed: Observed, rules: Rules, allow: frozenset[str], *, absent: bool = False
) -> Plan:
    """Return a plan without what the guards refuse.

    Args:
        plan: The plan.
        observed: What was read.
        rules: What the configuration says.
        allow: The names of the guards that are allowed.
        absent: Whether the plan takes databases away.
    """
    active = {name: each for name, each in GUARDS.items() if name not in allow}
    refused: dict[str, list[TenantPlan]] = {}
    tenants = {}
    for id_, tenant in plan.tenants.items():
        if absent and "unreachable" in allow and _is_only_unseen(tenant):
            tenant = replace(tenant, verdict=Verdict.OK, finding=None)
        for name, each in active.items():
            changes = [change for change in tenant.changes if each.refuses(tenant, change)]
            if changes:
                tenant = _without(tenant, changes, name)
                refused.setdefault(name, []).append(tenant)
        tenants[id_] = tenant
    refusals = [
        Refusal(name, GUARDS[name].message(plans), tuple(plan.tenant for plan in plans))
        for name, plans in refused.items()
    ]
    if not absent and "empty-source" in active and observed.sources_complete:
        refusals += _empty_source(plan, observed, rules)
    return replace(plan, tenants=tenants, refusals=tuple(refusals))


def _is_only_unseen(tenant: TenantPlan) -> bool:
    return tenant.finding is not None and tenant.finding.kind is Kind.NOT_READ


def _without(tenant: TenantPlan, refused: list[Change], name: str) -> TenantPlan:
    """Return a tenant whose refused changes are not made; the others are."""
    changes = []
    now = tenant.before
    for change in tenant.changes:
        if change not in refused:
            # It finds the database as what was refused leaves it.
            after = change.after
            if after is not None and now is not None and change.action is Action.COMPLETE:
                after = replace(now, complete=True)
            changes.append(replace(change, before=now, after=after))
            now = after
    unseen = tenant.unseen_on if tenant.before is None else ()
    why = ", ".join(change.reason or change.action.value for change in refused)
    if unseen:
        why = f"it may be on {some_of(unseen)}, which cannot be read"
    finding = Finding(
        Kind.GUARD,
        Severity.ERROR,
        f"refused by the guard {name}: {why}",
        Remedy.allow(name),
        tenant.tenant,
        tenant.target if tenant.before else None,
        tenant.database,
    )
    return replace(
        tenant,
        verdict=Verdict.REFUSED,
        finding=finding,
        target=tenant.target if tenant.before is not None else None,
        after=now,
        changes=tuple(changes),
        refused=(*tenant.refused, *refused),
        over_estimate=False,
    )


def _empty_source(plan: Plan, observed: Observed, rules: Rules) -> Iterable[Refusal]:
    if observed.tenants:
        return
    databases = [name for _, name in tenant_databases(observed, rules)]
    if databases:
        more = ", …" if len(databases) > 1 else ""
        yield Refusal(
            "empty-source",
            f"the sources hold no tenant, but the targets hold "
            f"{count(len(databases), 'tenant database')} ({databases[0]}{more}): "
            "is this the right registry?",
        )
