"""What planning notices that is about no single tenant: room, what cannot be read, orphans."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from influxops.domain.database import NEARLY_FULL, UNKNOWN, UNMANAGED, Database
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import format_time, pluralize, truncate
from influxops.reconcile.plan.desired import unknown_configured_tenants
from influxops.reconcile.plan.placement import Placement
from influxops.reconcile.plan.recorded import was_recreated
from influxops.reconcile.state import RunState


class PlanWarnings:
    """What is noticed in one planning."""

    def __init__(self, state: RunState, placement: Placement) -> None:
        self.observed, self.rules, self.placement = state, state.rules, placement

    def in_plan(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        """Yield what several of the planned tenants, which are in the scope, have in common."""
        yield from self._estimates(plans)
        yield from self._unread(plans)
        yield from self._capacities()
        yield from self._tables()

    def beyond(self, desired: Mapping[str, TenantPlan]) -> Iterator[Finding]:
        """Yield what is about no tenant of the sources, where all of these were read."""
        yield from unknown_configured_tenants(desired, self.rules)
        yield from self._orphans(desired)

    def _capacity_setting(self, target: str, text: str) -> Hint:
        written = self.rules.targets[target].capacity_written
        return Hint.setting("capacity", text, f"target:{target}", written)

    def _estimates(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        beyond: defaultdict[str, list[TenantPlan]] = defaultdict(list)
        created: Counter[str] = Counter()
        for plan in plans:
            if plan.changes and plan.target is not None and plan.before is None:
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
                # No error: the server decides, and may hold more than is estimated.
                Severity.WARNING if unknown else Severity.INFO,
                f"{created[target]:,} to create, ~{pluralize(left, 'slot')} free (estimated "
                f"capacity {capacity}): {len(these):,} may not fit",
                self._capacity_setting(target, "add a target, or set {} if the server holds more"),
                target=target,
                facts={"to_create": created[target], "left": left, "beyond": len(these)},
            )

    def _unread(self, plans: Sequence[TenantPlan]) -> Iterator[Finding]:
        """Yield what cannot be read of databases; a partial inventory was reported already."""
        retentions: Counter[str] = Counter()
        markers: Counter[str] = Counter()
        for plan in plans:
            target, before = plan.target, plan.before
            if (
                target is None
                or before is None
                or UNKNOWN
                not in (
                    before.retention,
                    before.complete,
                )
            ):
                continue
            if not self.observed.inventories[target].complete:
                continue
            if plan.retention is not UNMANAGED and before.retention is UNKNOWN:
                retentions[target] += 1
            if (
                before.complete is UNKNOWN
                and self.rules.targets[target].capabilities.completion_marker
            ):
                markers[target] += 1
        for target, number in retentions.items():
            yield Finding.warning(
                FindingKind.RETENTION_NOT_READ,
                f"the retention periods of {pluralize(number, 'database')} cannot be read, so they "
                "are left as they are",
                "ask the author of its plugin, or leave out the retention period",
                target=target,
            )
        for target, number in markers.items():
            marker = self.rules.targets[target].capabilities.completion_marker
            yield Finding.info(
                FindingKind.COMPLETENESS_UNKNOWN,
                f"whether {pluralize(number, 'database')} had a {marker} is unknown: a "
                "retention period may have deleted it",
                target=target,
            )

    def _capacities(self) -> Iterator[Finding]:
        """Yield each configured capacity that the server contradicted in this run."""
        for target, location in self.placement.locations.items():
            full = location.closed is not None and location.capacity is not None
            # What is used up may be tables.
            full = full and not location.out_of_tables
            if full and not location.estimated and location.used < (location.capacity or 0):
                yield Finding.warning(
                    FindingKind.CAPACITY,
                    f"its capacity is set to {location.capacity}, but it took no more than "
                    f"{location.used}",
                    self._capacity_setting(target, "correct {}, or leave it out"),
                    target=target,
                )

    def _tables(self) -> Iterator[Finding]:
        """Yield each target that holds nearly as many tables as it can."""
        for target, inventory in self.observed.inventories.items():
            tables, capacity = inventory.tables, inventory.table_capacity
            held, is_nearly = "its tables", False
            if tables and capacity:
                held = f"{tables:,} of about {pluralize(capacity, 'table')}"
                is_nearly = tables >= NEARLY_FULL * capacity
            if not is_nearly and not inventory.out_of_tables:
                continue
            yield Finding(
                FindingKind.TABLE_CAPACITY,
                Severity.WARNING,
                f"it takes no further table: {held} are used up"
                if inventory.out_of_tables
                else f"it holds {held}, and every tenant takes at least two",
                "add a target, or drop tables that are not needed",
                target=target,
                facts={"tables": tables, "table_capacity": capacity},
            )

    def _orphans(self, desired: Mapping[str, TenantPlan]) -> Iterator[Finding]:
        wanted = {plan.database for plan in desired.values()}
        records = self.observed.ledger_view.records.values()
        owners = {(r.target, r.database): r.tenant for r in records}
        known, reported = explained_databases(self.observed, desired)
        yield from reported
        number, orphans = 0, []
        for target, name in tenant_databases(self.observed):
            if not known or (target, name) not in known:
                number += 1
                if name not in wanted:
                    orphans.append((target, name))
        if len(orphans) > 1 and len(orphans) > number - len(orphans) and desired:
            yield Finding.warning(
                FindingKind.ORPHAN,
                f"{len(orphans):,} of {pluralize(number, 'tenant database')} belong to no "
                f"tenant any more; the sources hold {pluralize(len(desired), 'tenant')}",
                "is the registry complete? They are left alone",
            )
        for target, name in orphans:
            kind, severity, owner = FindingKind.ORPHAN, Severity.INFO, owners.get((target, name))
            message = f"the database {name} on {target} belongs to no tenant"
            remedy = Hint.advise("influxops leaves it alone; drop it if its tenant is gone")
            if was_recreated(name, target, self.observed):
                kind, severity = FindingKind.RECREATED_AFTER_DROP, Severity.WARNING
                message = f"the database {name} on {target} was deleted, and is there again: a "
                message += "late write probably created it"
                remedy = Hint.advise("stop what writes to it, then drop it")
            elif owner is not None:  # a tenant that is recorded, and in no source
                retire = typed("retire", owner)
                remedy = Hint.command(retire, "run {} if that tenant is gone")
            yield Finding(kind, severity, message, remedy, database=name, facts={"target": target})


def explained_databases(
    observed: RunState, desired: Mapping[str, TenantPlan]
) -> tuple[set[tuple[str, str]], list[Finding]]:
    """Return the (target, name) of each database that the ledger explains, and what to report."""
    explained: set[tuple[str, str]] = set()
    reported: list[Finding] = []
    records = observed.ledger_view.records.values()
    provisioned = {(r.target, r.database) for r in records if r.state is not State.RETIRED}
    for record in records:
        for target, inventory in observed.inventories.items():
            place, found = (target, record.database), inventory.databases.get(record.database)
            if found is None:
                continue
            if target == record.secondary_target:
                explained.add(place)
            elif record.tenant in desired or place in explained:
                continue
            elif record.state is State.RETIRING and target == record.target:
                explained.add(place)
                due = (
                    f"dropped after {format_time(record.drop_after)}"
                    if record.drop_after
                    else "to be dropped"
                )
                message = f"it is retiring: {due}"
                who = (record.tenant, target, record.database)
                reported.append(Finding(FindingKind.RETIRING, Severity.INFO, message, "", *who))
            elif record.state is State.RETIRED and place not in provisioned:
                # On whatever target: a writer may have cached another location.
                explained.add(place)
                reported.append(recreated_after_drop(record, target, found))
    return explained, reported


def recreated_after_drop(
    record: Record, target: str, found: Database, *, is_wanted: bool = False
) -> Finding:
    """Return the finding that a retired tenant's database exists again, `is_wanted` or not."""
    when = f" {format_time(record.state_since)}" if record.state_since else ""
    # A database that a write creates has no marker.
    by = (
        "a late write probably created it"
        if found.complete is False
        else "another program created it"
    )
    how = "stop what writes to it, then run {}"
    if is_wanted:
        by += "; a source has the tenant again, so it is the tenant's"
        how = "if what it holds is not the tenant's, take that out of the registry and run {}"
    return Finding.warning(
        FindingKind.RECREATED_AFTER_DROP,
        f"its database {truncate(record.database)} was dropped{when}, and is on {target} again: "
        + by,
        Hint.command(typed("retire", record.tenant), how),
        tenant=record.tenant,
        target=target,
        database=record.database,
    )


def tenant_databases(observed: RunState) -> Iterator[tuple[str, str]]:
    """Yield (target, name) of every database that is named as a tenant's would be."""
    fits = observed.rules.template.fits
    for target, inventory in observed.inventories.items():
        for name in inventory.databases:
            if fits(name):
                yield target, name
