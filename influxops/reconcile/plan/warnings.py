"""What planning notices that is about no single tenant: places, what cannot be read, orphans."""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from influxops.domain.database import UNKNOWN, UNMANAGED
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.plan import TenantPlan
from influxops.domain.text import pluralize
from influxops.reconcile.plan import recorded
from influxops.reconcile.plan.desired import unknown_configured_tenants
from influxops.reconcile.plan.placement import Placement
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Observed


class PlanWarnings:
    """What is noticed in one planning.

    Args:
        placement: The places, as they were given away.
    """

    def __init__(self, observed: Observed, rules: Rules, placement: Placement) -> None:
        self.observed, self.rules, self.placement = observed, rules, placement

    def in_plan(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        """Tell what several of the planned tenants have in common.

        Args:
            plans: Those in the scope.
        """
        yield from self._estimates(plans)
        yield from self._retentions_not_read(plans)
        yield from self._not_decidable(plans)
        yield from self._capacities()

    def beyond(self, desired: Mapping[str, TenantPlan]) -> Iterator[Finding]:
        """Tell what is about nobody's tenant, where all sources were read."""
        named = dict.fromkeys(self.rules.acknowledged - desired.keys(), "[tenants] ignore")
        named |= {id_: "[placement] pins" for id_ in self.rules.pins if id_ not in desired}
        yield from unknown_configured_tenants(named, desired)
        yield from self._orphans(desired)

    def _estimates(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        beyond: defaultdict[str, list[TenantPlan]] = defaultdict(list)
        created: Counter[str] = Counter()
        for plan in plans:
            if plan.target is not None and plan.changes and plan.before is None:
                created[plan.target] += 1
                if plan.may_exceed_capacity:
                    beyond[plan.target].append(plan)
        for target, these in beyond.items():
            location = self.placement.locations[target]
            capacity = location.capacity or 0
            left = max(0, capacity - (location.used - created[target]))
            unknown = any(plan.tenant not in self.rules.acknowledged for plan in these)
            yield Finding(
                FindingKind.OVER_CAPACITY,
                Severity.ERROR if unknown else Severity.INFO,
                f"{created[target]:,} to create, {pluralize(left, 'place')} left (an estimate: "
                f"it is thought to hold {capacity}); {len(these):,} may find no place",
                Hint.setting(
                    "capacity",
                    "add a target, or set {} if the server holds more",
                    f"target:{target}",
                    self.rules.targets[target].capacity_written,
                ),
                target=target,
                facts={"to_create": created[target], "left": left, "beyond": len(these)},
            )

    def _retentions_not_read(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        """Tell what is wanted and cannot be read; a partial inventory was told of already."""
        unread: Counter[str] = Counter(
            plan.target
            for plan in plans
            if plan.target is not None
            and plan.before is not None
            and plan.retention is not UNMANAGED
            and plan.before.retention is UNKNOWN
            and self.observed.inventories[plan.target].complete
        )
        for target, number in unread.items():
            yield Finding(
                FindingKind.RETENTION_NOT_READ,
                Severity.WARNING,
                f"the retention periods of {pluralize(number, 'database')} cannot be read, so they "
                "are left as they are",
                "ask the author of its plugin, or leave out the retention period",
                target=target,
            )

    def _not_decidable(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        """Tell of databases that even a close look does not show to be complete."""
        counted: Counter[str] = Counter(
            plan.target
            for plan in plans
            if plan.target is not None
            and plan.before is not None
            and plan.before.complete is UNKNOWN
            and self.rules.targets[plan.target].capabilities.completion_marker
            and self.observed.inventories[plan.target].complete
        )
        for target, number in counted.items():
            marker = self.rules.targets[target].capabilities.completion_marker
            yield Finding(
                FindingKind.COMPLETENESS_UNKNOWN,
                Severity.INFO,
                f"whether {pluralize(number, 'database')} had a {marker} cannot be told: a "
                "retention period may have taken it",
                target=target,
            )

    def _capacities(self) -> Iterator[Finding]:
        """Tell of a configured capacity that the server contradicted in this run."""
        for target, location in self.placement.locations.items():
            full = location.closed is not None and location.capacity is not None
            if full and not location.estimated and location.used < (location.capacity or 0):
                yield Finding(
                    FindingKind.CAPACITY,
                    Severity.WARNING,
                    f"its capacity is set to {location.capacity}, but it took no more than "
                    f"{location.used}",
                    Hint.setting(
                        "capacity",
                        "correct {}, or leave it out",
                        f"target:{target}",
                        self.rules.targets[target].capacity_written,
                    ),
                    target=target,
                )

    def _orphans(self, desired: Mapping[str, TenantPlan]) -> Iterator[Finding]:
        wanted = {plan.database for plan in desired.values()}
        owners = {
            (r.target, r.database): r.tenant for r in self.observed.ledger_view.records.values()
        }
        known, told = recorded.left_behind(self.observed, desired)
        yield from told
        databases = [
            each for each in tenant_databases(self.observed, self.rules) if each not in known
        ]
        orphans = [(target, name) for target, name in databases if name not in wanted]
        if len(orphans) > 1 and len(orphans) > len(databases) - len(orphans) and desired:
            yield Finding(
                FindingKind.ORPHAN,
                Severity.WARNING,
                f"{len(orphans):,} of {pluralize(len(databases), 'tenant database')} belong to no "
                f"tenant any more; the sources hold {pluralize(len(desired), 'tenant')}",
                "is the registry complete? They are left alone",
            )
        for target, name in orphans:
            if recorded.came_back(name, target, self.observed):
                yield Finding(
                    FindingKind.RECREATED_AFTER_DROP,
                    Severity.WARNING,
                    f"the database {name} on {target} was deleted, and is there again: a late "
                    "write made it",
                    "stop what writes to it, then drop it",
                    database=name,
                    facts={"target": target},
                )
                continue
            yield Finding(
                FindingKind.ORPHAN,
                Severity.INFO,
                f"the database {name} on {target} belongs to no tenant",
                self._retire(owners[target, name])
                if (target, name) in owners
                else "influxops leaves it alone; drop it if its tenant is gone",
                database=name,
                facts={"target": target},
            )

    @staticmethod
    def _retire(tenant: str) -> Hint:
        """Return what to do about the database of a tenant that is recorded, and in no source."""
        return Hint.command(f"retire {shlex.quote(tenant)}", "run {} if that tenant is gone")


def tenant_databases(observed: Observed, rules: Rules) -> Iterator[tuple[str, str]]:
    """Yield (target, name) of every database that is named as a tenant's would be."""
    for target, inventory in observed.inventories.items():
        for name in inventory.databases:
            if rules.template.tenant_id(name) is not None:
                yield target, name
