"""From what should be and what is to a plan; pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from influxops import guards
from influxops.desired import Desired, DesiredState, desired_state
from influxops.durations import format_duration
from influxops.model import (
    UNKNOWN,
    UNMANAGED,
    Action,
    Change,
    Database,
    Finding,
    Plan,
    Refusal,
    Retention,
    Severity,
)
from influxops.naming import broken_rule, nearest, printable
from influxops.placement import Place, Placement
from influxops.rules import Facts, Rules, places
from influxops.run import Scope


def make_plan(
    facts: Facts,
    rules: Rules,
    scope: Scope | None = None,
    allow: Iterable[str] = (),
    *,
    absent: bool = False,
) -> Plan:
    """Decide what to do.

    Args:
        facts: What was read.
        rules: What the configuration says.
        scope: What may be written.
        allow: The names of the guards that are overridden.
        absent: Whether the tenants that the scope names are to lose their databases.

    Returns:
        The plan, guards applied.
    """
    planner = _Planner(facts, rules, scope or Scope(), frozenset(allow))
    return planner.plan_absent() if absent else planner.plan_present()


class _Planner:
    """One planning: holds what it reads from and what it collects."""

    def __init__(self, facts: Facts, rules: Rules, scope: Scope, allow: frozenset[str]) -> None:
        self.facts = facts
        self.rules = rules
        self.scope = scope
        self.allow = allow
        self.desired: DesiredState = desired_state(
            facts.tenants, rules.template, rules.retention, rules.pins, list(rules.targets)
        )
        self.unreachable = [name for name in rules.targets if name not in facts.inventories]
        self.placement = Placement(places(rules, facts), rules.policy)
        self.changes: list[Change] = []
        self.findings: list[Finding] = []
        self.refused: dict[str, list[Change]] = {}
        self.unknown: list[str] = []
        self.waiting: list[str] = []
        self.beyond_estimate: dict[str, list[str]] = {}

    def plan_present(self) -> Plan:
        self._settle_case_doubles()
        in_scope = [d for d in self.desired.tenants.values() if self.scope.covers(d.tenant, None)]
        missing = []
        for desired in in_scope:
            homes = self._homes(desired.database)
            if desired.tenant in self.desired.held:
                continue
            if homes:
                self._plan_existing(desired, homes)
            else:
                missing.append(desired)
        # Acknowledged tenants last: who is known to get nothing takes nobody's place.
        for desired in sorted(missing, key=lambda d: d.tenant in self.rules.acknowledged):
            self._plan_missing(desired)
        self._tell_estimates()
        self._tell_orphans()
        order = {tenant: number for number, tenant in enumerate(self.desired.tenants)}
        # Who may find no place is tried last.
        doubtful = {tenant for beyond in self.beyond_estimate.values() for tenant in beyond}
        self.changes.sort(key=lambda change: (change.tenant in doubtful, order[change.tenant]))
        return self._finish(self._empty_source())

    def plan_absent(self) -> Plan:
        for desired in self.desired.tenants.values():
            if desired.tenant not in self.scope.tenants or desired.tenant in self.desired.held:
                continue
            if self.unreachable and "unreachable" not in self.allow:
                # Gone here and still there is not gone: all of it, or nothing.
                self.unknown.append(desired.tenant)
                self.waiting.append(desired.tenant)
                continue
            for home in filter(self._writes, self._homes(desired.database)):
                before = self.facts.inventories[home].databases[desired.database]
                self._add(desired, Action.DROP, home, before, None, guard="drop")
        return self._finish()

    # What exists

    def _homes(self, database: str) -> list[str]:
        return [
            name
            for name in self.rules.targets
            if name in self.facts.inventories and database in self.facts.inventories[name].databases
        ]

    def _plan_existing(self, desired: Desired, homes: list[str]) -> None:
        home = desired.pin if desired.pin in homes else homes[0]
        assert home is not None
        who = f"tenant {printable(desired.tenant)}"
        if len(homes) > 1:
            self._find(
                "in-two-targets",
                Severity.WARNING,
                f"{who}: the database {desired.database} is on {' and on '.join(homes)}; "
                f"{home} is taken for the right one",
                "find out which one holds the data, then drop the other",
                desired,
                home,
            )
        if desired.pin is not None and desired.pin != home:
            self._find(
                "misplaced",
                Severity.WARNING,
                f"{who}: the database {desired.database} is on {home}, but should be on "
                f"{desired.pin}; influxops moves no data",
                f"move it, or set its target to {home}",
                desired,
                home,
            )
        if not self._writes(home):
            return
        before = self.facts.inventories[home].databases[desired.database]
        now = self._plan_retention(desired, home, before)
        if before.marker is False:
            now = self._add(desired, Action.ADD_MARKER, home, now, replace(now, marker=True))
        elif now is before:
            self._add(desired, Action.KEEP, home, before, before)

    def _plan_retention(self, desired: Desired, home: str, before: Database) -> Database:
        wanted, actual = desired.retention, before.retention
        if wanted is UNMANAGED or actual is UNKNOWN or wanted == actual:
            return before
        assert wanted is None or isinstance(wanted, int)
        assert actual is None or isinstance(actual, int)
        shorter = wanted is not None and (actual is None or wanted < actual)
        reason = f"retention {_retention(actual)} → {_retention(wanted)}"
        return self._add(
            desired,
            Action.SET_RETENTION,
            home,
            before,
            replace(before, retention=wanted),
            reason=reason,
            guard="shorter-retention" if shorter else None,
        )

    # What is missing

    def _plan_missing(self, desired: Desired) -> None:
        # Placed even outside the scope: who comes after must not find that place free.
        place = self.placement.choose(desired.pin)
        if not self._writes(place.target if place else desired.pin):
            return
        if self._may_exist_unseen(desired):
            if place is not None:
                place.used -= 1
            return
        if place is None:
            self._hold_without_place(desired)
            return
        if place.capacity is not None and place.used > place.capacity:
            self.beyond_estimate.setdefault(place.target, []).append(desired.tenant)
        retention = None if desired.retention is UNMANAGED else desired.retention
        after = Database(desired.database, retention, marker=True, telemetry=False)
        self._add(desired, Action.CREATE, place.target, None, after)

    def _may_exist_unseen(self, desired: Desired) -> bool:
        """Tell whether a tenant waits because a target that may hold its database is not read."""
        if not self.unreachable or (desired.pin and desired.pin not in self.unreachable):
            return False
        if "unreachable" in self.allow and desired.pin is None and self.placement.places:
            return False
        self.unknown.append(desired.tenant)
        if desired.pin is None and self.placement.places:
            self.waiting.append(desired.tenant)
        return True

    def _hold_without_place(self, desired: Desired) -> None:
        who = f"tenant {printable(desired.tenant)}"
        pinned = self.placement.places.get(desired.pin) if desired.pin else None
        if pinned is not None and pinned.draining:
            kind, why = "draining", f"{pinned.target} is draining and gets nothing new"
            hint = "pin it elsewhere, or set that target's state to active"
        else:
            kind, why = (
                "over-capacity",
                _no_place([pinned] if pinned else list(self.placement.places.values())),
            )
            hint = "add a target, raise a capacity, or drop what is not needed"
        self.desired.hold(
            desired.tenant, kind, f"{who}: no place left: {why}", hint, desired.database
        )

    def _tell_estimates(self) -> None:
        for target, beyond in self.beyond_estimate.items():
            place = self.placement.places[target]
            planned = sum(1 for c in self.changes if c.target == target and c.before is None)
            left = max(0, (place.capacity or 0) - (place.used - planned))
            self.findings.append(
                Finding(
                    "over-capacity",
                    Severity.ERROR if set(beyond) - self.rules.acknowledged else Severity.INFO,
                    f"{planned} to create, {left} {'place' if left == 1 else 'places'} left on "
                    f"{target} (an estimate: its edition holds {place.capacity} databases); "
                    f"{len(beyond)} may find no place",
                    "add a target, or set this target's `capacity` if the server holds more",
                    target=target,
                )
            )

    # What is noticed

    def _settle_case_doubles(self) -> None:
        """Hold ids that differ only by case, unless their database is there already."""
        for tenant, other in self.desired.case_doubles.items():
            desired = self.desired.tenants[tenant]
            message = f"tenant {printable(tenant)}: it differs only by case from {printable(other)}"
            hint = "rename one of them; people and tools mix them up"
            homes = self._homes(desired.database)
            if homes:
                if self.scope.covers(tenant, homes[0]):
                    self._find("case", Severity.WARNING, message, hint, desired, homes[0])
            else:
                hint = f"{hint}; or list it in [naming] acknowledged"
                self.desired.hold(tenant, "case", message, hint, desired.database)

    def _tell_misspelt(self) -> None:
        """Tell of configured tenants that no source knows: a misspelt pin pins nobody."""
        where = {**dict.fromkeys(self.rules.acknowledged, "[naming] acknowledged")}
        where |= dict.fromkeys(self.rules.pins, "[placement] pins")
        for tenant, table in where.items():
            if tenant not in self.desired.tenants:
                hint = nearest(tenant, self.desired.tenants)
                self.findings.append(
                    Finding(
                        "unknown-tenant",
                        Severity.WARNING if hint else Severity.INFO,
                        f"{table} names {printable(tenant)}, which no source knows",
                        hint or "take it out, or add it to the registry",
                    )
                )

    def _tell_orphans(self) -> None:
        if self.scope or not self.facts.sources_complete:
            return
        self._tell_misspelt()
        wanted = {desired.database for desired in self.desired.tenants.values()}
        for target, database in self._tenant_databases():
            if database not in wanted:
                self.findings.append(
                    Finding(
                        "orphan",
                        Severity.INFO,
                        f"the database {database} on {target} belongs to no tenant",
                        "influxops leaves it alone; drop it if its tenant is gone",
                        target=target,
                        database=database,
                    )
                )

    def _tenant_databases(self) -> list[tuple[str, str]]:
        return [
            (target, name)
            for target, inventory in self.facts.inventories.items()
            for name in inventory.databases
            if self.rules.template.tenant_id(name) is not None
        ]

    # Collecting

    def _writes(self, target: str | None) -> bool:
        return not self.scope.targets or target is None or target in self.scope.targets

    def _find(
        self,
        kind: str,
        severity: Severity,
        message: str,
        hint: str,
        desired: Desired,
        target: str | None = None,
    ) -> None:
        self.findings.append(
            Finding(kind, severity, message, hint, desired.tenant, target, desired.database)
        )

    def _add(
        self,
        desired: Desired,
        action: Action,
        target: str,
        before: Database | None,
        after: Database | None,
        *,
        reason: str = "",
        guard: str | None = None,
    ) -> Database:
        """Add a change, or leave it to its guard; give the database as the next change finds it."""
        change = Change(action, desired.tenant, target, desired.database, before, after, reason)
        if guard is not None and guard not in self.allow:
            self.refused.setdefault(guard, []).append(change)
            after = before
        else:
            self.changes.append(change)
        return after or Database(desired.database)

    def _empty_source(self) -> list[Refusal]:
        if self.desired.tenants or not self.facts.sources_complete or "empty-source" in self.allow:
            return []
        databases = [name for _, name in self._tenant_databases()]
        return [guards.empty_source(databases)] if databases else []

    def _finish(self, refusals: Iterable[Refusal] = ()) -> Plan:
        refusals = [*refusals, *(guards.changes(*item) for item in self.refused.items())]
        if self.waiting:
            refusals.append(guards.unreachable(self.waiting, self.unreachable))
        in_scope = [d for d in self.desired.tenants.values() if self.scope.covers(d.tenant, None)]
        held = [
            _acknowledge(finding) if tenant in self.rules.acknowledged else finding
            for tenant, finding in self.desired.held.items()
            if self.scope.covers(tenant, finding.target)
        ]
        return Plan(
            changes=tuple(self.changes),
            findings=(*held, *self.findings),
            refusals=tuple(refusals),
            refused=tuple(change for changes in self.refused.values() for change in changes),
            held=tuple(finding.tenant for finding in held if finding.tenant is not None),
            unknown=tuple(self.unknown),
            doubtful=tuple(t for beyond in self.beyond_estimate.values() for t in beyond),
            databases={d.tenant: "" if broken_rule(d.database) else d.database for d in in_scope},
            retentions={d.tenant: d.retention for d in in_scope},
        )


def _acknowledge(finding: Finding) -> Finding:
    return replace(finding, severity=Severity.INFO, message=f"{finding.message} (acknowledged)")


def _retention(seconds: Retention) -> str:
    return "none" if seconds is None else format_duration(seconds)


def _no_place(considered: Sequence[Place]) -> str:
    if not considered:
        return "no target can be reached"
    return ", ".join(
        f"{place.target} "
        + (
            "is draining"
            if place.draining
            else f"is full ({place.full or f'databases: {place.used}'})"
        )
        for place in considered
    )
