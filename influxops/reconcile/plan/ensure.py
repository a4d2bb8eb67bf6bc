"""From what should be and what is to a plan; pure, no I/O."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.change import Action, Change
from influxops.domain.database import (
    UNKNOWN,
    UNMANAGED,
    Database,
    Retention,
    TargetCapabilities,
    Unknown,
)
from influxops.domain.durations import format_duration
from influxops.domain.finding import Finding, FindingKind, Severity, blocked
from influxops.domain.hint import Hint
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.selection import Scope
from influxops.domain.text import summarize
from influxops.reconcile.observe.selected import (
    Asked,
    Known,
    may_be_anothers,
    observe_selected,
    reads_single,
)
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan import recorded
from influxops.reconcile.plan.desired import LOOK, desire, homes_of
from influxops.reconcile.plan.placement import placement_of
from influxops.reconcile.plan.warnings import PlanWarnings
from influxops.reconcile.policy import Rules
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed
from influxops.runtime.context import RunContext


class Ensure(Operation, Struct, frozen=True):
    """Gives tenants what they should have: a complete database, with its retention period.

    Args:
        recreate: Ids of tenants whose lost database is created again, empty.
        only_create: Whether nothing is changed but what creates, completes or keeps a database.
    """

    command: ClassVar[str] = "ensure"
    needs_ledger: ClassVar[bool] = False
    reconciles: ClassVar[bool] = True

    recreate: frozenset[str] = frozenset()
    only_create: bool = False

    def observe(self, request: RunRequest, context: RunContext) -> Observed:
        """Read what concerns the tenants that the scope names, or all where that would miss some.

        Raises:
            ConfigError: When two targets are one server.
        """
        scope = context.scope
        is_narrow = scope.tenants is not None and scope.targets is None and not context.verify
        if not is_narrow or not reads_single(request):
            return super().observe(request, context)
        ids = scope.tenants or frozenset()
        context.on_stage("reading", 0)
        asked = {id_: Asked(id_) for id_ in ids}
        observed = observe_selected(asked, request, context, Known(), reports=True).observed
        context.check()
        if observed is None or not ids <= {tenant.id for tenant in observed.tenants}:
            return super().observe(request, context)  # which tells more
        desired = desire(observed, request.rules, context.check)
        plan = make_plan(observed, desired, request.rules, scope, context.check)
        if any(may_be_anothers(each, observed, request) for each in plan.tenants.values()):
            return super().observe(request, context)
        return observed

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it."""
        plan = make_plan(observed, desired, request.rules, context.scope, context.check)
        if not self.only_create:
            return plan
        tenants = {id_: _only_creating(each) for id_, each in plan.tenants.items()}
        return replace(plan, tenants=tenants)


class Drop(Operation, Struct, frozen=True):
    """Drops the databases of the tenants that the run's scope names, at once."""

    command: ClassVar[str] = "ensure"
    needs_ledger: ClassVar[bool] = False
    reconciles: ClassVar[bool] = True
    drops: ClassVar[bool] = True

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it."""
        rules, scope = request.rules, context.scope
        return make_plan(observed, desired, rules, scope, context.check, absent=True)


_CREATING = (Action.CREATE, Action.COMPLETE, Action.UNRETIRE)


def _only_creating(plan: TenantPlan) -> TenantPlan:
    if plan.is_replacement:
        return plan  # for the guards, which refuse it
    kept = tuple(change for change in plan.changes if change.action in _CREATING)
    if len(kept) == len(plan.changes):
        return plan
    if kept:
        return replace(plan, changes=kept)
    return replace(plan, status=TenantStatus.OK, changes=(), after=plan.before)


def make_plan(
    observed: Observed,
    desired: Mapping[str, TenantPlan],
    rules: Rules,
    scope: Scope,
    check: Callable[[], None],
    *,
    absent: bool = False,
) -> Plan:
    """Decide what to do; the guards have not looked at it yet.

    Args:
        scope: What may be written.
        check: Raises when the run is over; called now and then.
        absent: Whether the tenants that the scope names are to lose their databases.
    """
    planner = _EnsurePlanner(observed, rules, scope, check)
    planned = planner.absent(desired) if absent else planner.present(desired)
    tenants = {id_: planned[id_] for id_ in desired if id_ in planned and scope.covers(id_)}
    notes: list[Finding] = []
    if not absent:
        noticed = PlanWarnings(observed, rules, planner.placement)
        notes += noticed.in_plan([*tenants.values()])
        if not scope.is_limited and observed.sources_complete:
            notes += noticed.beyond(desired)
    return Plan(tenants, tuple(notes))


class _EnsurePlanner:
    """One planning: what it reads from, and the places that it gives away."""

    def __init__(
        self, observed: Observed, rules: Rules, scope: Scope, check: Callable[[], None]
    ) -> None:
        self.observed, self.rules, self.scope, self.check = observed, rules, scope, check
        self.unread = observed.unread
        self.ledger_view = observed.ledger_view
        self.placement = placement_of(observed, rules)
        for record in self.ledger_view.records.values():
            # What another run has reserved is as good as there, though it is not yet.
            place = self.placement.locations.get(record.target or "")
            if record.is_claimed and place is not None and record.state is State.ALLOCATED:
                known = observed.inventories[place.target].databases
                place.used += record.database not in known
        self._no_place: dict[str | None, Finding] = {}

    def present(self, desired: Mapping[str, TenantPlan]) -> dict[str, TenantPlan]:
        """Plan that every tenant has its database; who is left out is outside of the scope."""
        planned: dict[str, TenantPlan] = {}
        missing: list[TenantPlan] = []
        for number, plan in enumerate(desired.values()):
            if number % LOOK == 0:
                self.check()
            homes = homes_of(plan.database, self.observed) if plan.database else []
            record = self.ledger_view.record(plan.tenant)
            if record is not None:
                plan = replace(plan, record=record)
                if record.target in homes or record.target not in self.observed.inventories:
                    homes = [h for h in homes if h == record.target or h != record.secondary_target]
            is_there = record is not None and record.target in homes
            if (
                record is not None
                and record.is_claimed
                and plan.status is not TenantStatus.BLOCKED
                and not (record.state is State.MOVING and is_there)
            ):
                planned[plan.tenant] = recorded.busy(plan, record)
            elif homes:
                plan = self._existing(plan, homes)
                if self._writes(plan.target):
                    planned[plan.tenant] = plan
            elif plan.status is TenantStatus.BLOCKED:
                planned[plan.tenant] = plan
            else:
                missing.append(plan)
        # Who is known to get nothing takes nobody's place, and neither does who may have one on a
        # target that cannot be read.
        missing.sort(key=lambda p: (p.tenant in self.rules.acknowledged, bool(self._unseen(p))))
        for number, plan in enumerate(missing):
            if number % LOOK == 0:
                self.check()
            # Placed even outside the scope: who comes after must not find that place free.
            plan = self._missing(plan)
            if self._writes(plan.target or plan.pin):
                planned[plan.tenant] = plan
        return planned

    def _named(self, desired: Mapping[str, TenantPlan]) -> list[str]:
        """Return the tenants that the scope names."""
        return [id_ for id_ in desired if id_ in (self.scope.tenants or ())]

    def absent(self, desired: Mapping[str, TenantPlan]) -> dict[str, TenantPlan]:
        """Plan that the tenants of the scope lose their databases, wherever these are.

        Only who asks for it chooses among copies. What a registry or a pin says is where a
        database should be, which may be the copy that holds the data.
        """
        planned: dict[str, TenantPlan] = {}
        named = [Record(i, State.READY, desired[i].database) for i in self._named(desired)]
        shared = recorded.sharing(named, desired, self.observed)
        for id_ in self._named(desired):
            plan = desired[id_]
            if plan.status is not TenantStatus.BLOCKED and (why := shared.get(id_)):
                plan = plan.block(why)
            plan = replace(plan, pin=self.observed.named_targets.get(plan.tenant))
            plan = replace(plan, record=self.ledger_view.record(plan.tenant))
            planned[plan.tenant] = plan
            every = homes_of(plan.database, self.observed) if plan.database else []
            homes = [home for home in every if plan.pin in (None, home)]
            if plan.status is TenantStatus.BLOCKED:
                continue
            unseen = tuple(self._unseen(plan))
            if unseen and not homes:
                planned[plan.tenant] = self._not_read(plan, unseen)
            elif len(homes) > 1:
                planned[plan.tenant] = self._on_several(plan, homes)
            elif homes and plan.record is not None and recorded.is_copy(plan.record, homes[0]):
                planned[plan.tenant] = plan.block(recorded.not_copied(plan.record))
            elif homes and self._writes(homes[0]):
                before = self.observed.inventories[homes[0]].databases[plan.database]
                change = Change(Action.DROP, plan.tenant, homes[0], plan.database, before, None)
                planned[plan.tenant] = replace(
                    plan,
                    status=TenantStatus.PENDING,
                    target=homes[0],
                    before=before,
                    changes=(change,),
                    # Of several copies, the others stay.
                    notes=(*plan.notes, *(self._known_again(plan) if len(every) == 1 else ())),
                    unseen_on=unseen,
                )
        return planned

    def _known_again(self, plan: TenantPlan) -> Iterator[Finding]:
        if plan.tenant in self.observed.known_elsewhere:
            yield Finding(
                FindingKind.STILL_REGISTERED_AFTER_DROP,
                Severity.WARNING,
                "a source still has it, so the next run makes its database again, empty",
                "take it out of the registry first",
                tenant=plan.tenant,
            )

    # What exists

    def _existing(self, plan: TenantPlan, homes: list[str]) -> TenantPlan:
        at = plan.record.target if plan.record is not None else None
        home = next((each for each in (at, plan.pin) if each in homes), homes[0])
        assert home is not None
        before = self.observed.inventories[home].databases[plan.database]
        plan = replace(plan, target=home, before=before, after=before)
        if plan.status is TenantStatus.BLOCKED:
            return plan
        if len(homes) > 1:
            plan = self._on_several(plan, homes)
            return plan.acknowledge() if plan.tenant in self.rules.acknowledged else plan
        if plan.record is not None and recorded.is_elsewhere(plan.record, home, self.observed):
            plan = plan.block(recorded.misplaced(plan, plan.record, home))
            return plan.acknowledge() if plan.tenant in self.rules.acknowledged else plan
        if recorded.is_recreated(plan.record, before):
            return self._recreated(plan, home, before)
        capabilities = self.rules.targets[home].capabilities
        if recorded.may_be_recreated(plan.record, before, capabilities):
            return plan.mark_unknown(
                FindingKind.NOT_READ,
                f"it was lost, and whether what is on {home} is its own cannot be read",
                "give its target a token that may read all",
            )
        if plan.record is not None and plan.record.state is State.MOVING:
            return plan.note(recorded.moving(plan.record))
        decided: tuple[Change, ...] = ()
        if plan.record is not None and plan.record.state is State.RETIRING:
            change, note = recorded.unretired(plan)
            decided, plan = (change,), plan.note(note)
        if plan.pin is not None and plan.pin != home:
            plan = plan.note(self._misplaced(plan, home))
        changes = (*decided, *self._changes(plan, home, before))
        if not changes:
            return plan
        return replace(plan, status=TenantStatus.PENDING, changes=changes, after=changes[-1].after)

    def _recreated(self, plan: TenantPlan, home: str, before: Database) -> TenantPlan:
        """Replace what a client has created, for the guards `recreate-lost` and `drop`."""
        assert plan.record is not None
        why = recorded.why_lost(plan.record, self.observed)
        tenant, database, after = plan.tenant, plan.database, self._new(plan, home)
        changes = (
            Change(Action.DROP, tenant, home, database, before, None, why),
            Change(Action.CREATE, tenant, home, database, None, after, why),
        )
        return replace(plan, status=TenantStatus.PENDING, changes=changes, after=after)

    def _new(self, plan: TenantPlan, target: str) -> Database:
        """Return a tenant's database as it is once it was created on a target."""
        capabilities = self.rules.targets[target].capabilities
        retention: Retention | Unknown = UNKNOWN if capabilities.retention is None else None
        if plan.retention is not UNMANAGED and capabilities.retention is not None:
            assert plan.retention is None or isinstance(plan.retention, int)
            retention = plan.retention
        return new_database(plan.database, retention, capabilities)

    @staticmethod
    def _misplaced(plan: TenantPlan, home: str) -> Finding:
        why = "influxops moves no data"
        remedy: str | Hint = f"move it, or set its target to {home}"
        if plan.record is not None:
            why = "it is moved only by a move"
            remedy = Hint.command(
                f"move {shlex.quote(plan.tenant)} --to {plan.pin}",
                f"run {{}}, or set its target to {home}",
            )
        return Finding(
            FindingKind.MISPLACED,
            Severity.WARNING,
            f"the database {plan.database} is on {home}, but should be on {plan.pin}; {why}",
            remedy,
            plan.tenant,
            home,
            plan.database,
        )

    def _changes(self, plan: TenantPlan, home: str, before: Database) -> Iterator[Change]:
        now = before
        wanted, actual = plan.retention, before.retention
        if wanted is not UNMANAGED and actual is not UNKNOWN and wanted != actual:
            assert not isinstance(wanted, type(UNMANAGED))
            now = replace(before, retention=wanted)
            yield Change(
                Action.SET_RETENTION,
                plan.tenant,
                home,
                plan.database,
                before,
                now,
                f"retention {_retention(actual)} → {_retention(wanted)}",
            )
        if before.complete is False:
            after = replace(now, complete=True)
            yield Change(Action.COMPLETE, plan.tenant, home, plan.database, now, after)

    def _on_several(self, plan: TenantPlan, homes: list[str]) -> TenantPlan:
        remedy: str | Hint = (
            "find out which one holds the data, then drop the other: a task with `state: absent`, "
            "the tenant's `id` and its `target` drops one copy"
        )
        if plan.record is not None and plan.record.target in homes:
            other = next(home for home in homes if home != plan.record.target)
            pair = shlex.quote(f"{plan.tenant}={plan.database}")
            remedy = Hint.command(
                f"adopt {pair} --target {shlex.quote(other)}",
                f"find out which one holds the data: {{}} takes that on {other}, and what only the "
                "other one has comes along; a task with `state: absent`, the tenant's `id` and its "
                "`target` drops one copy",
            )
        finding = blocked(
            FindingKind.IN_TWO_TARGETS,
            f"the database {plan.database} is on {' and on '.join(homes)}",
            remedy,
        )
        facts = {"copies": [{"target": home} for home in homes]}
        return replace(plan, changes=()).block(replace(finding, target=plan.target, facts=facts))

    # What is missing

    def _missing(self, plan: TenantPlan) -> TenantPlan:
        before = plan.record.target if plan.record is not None else None
        if plan.record is not None:
            finding = recorded.unknown(plan, plan.record, self.observed, self.rules)
            if finding is not None:
                unseen = (before,) if before in self.unread else tuple(self.unread)
                return replace(
                    plan,
                    status=TenantStatus.UNKNOWN,
                    finding=finding,
                    unseen_on=tuple(filter(None, unseen)),
                )
        unseen = tuple(self._unseen(plan))
        if unseen and (plan.pin is not None or not self.placement.locations):
            return self._not_read(plan, unseen)
        location = self.placement.choose(plan.pin, before)
        if location is None:
            if unseen:
                return self._not_read(plan, unseen)
            plan = plan.block(self._without_place(plan.pin))
            return plan.acknowledge() if plan.tenant in self.rules.acknowledged else plan
        after = self._new(plan, location.target)
        why = recorded.why_lost(plan.record, self.observed) if plan.record is not None else ""
        change = Change(
            Action.CREATE, plan.tenant, location.target, plan.database, None, after, why
        )
        return replace(
            plan,
            status=TenantStatus.PENDING,
            target=location.target,
            after=after,
            changes=(change,),
            may_exceed_capacity=location.is_over_estimate,
            unseen_on=unseen,
        )

    def _unseen(self, plan: TenantPlan) -> list[str]:
        """Return the targets that cannot be read and may hold a tenant's database."""
        if not self.unread:
            return []
        return [name for name in self.unread if plan.pin is None or plan.pin == name]

    @staticmethod
    def _not_read(plan: TenantPlan, unseen: tuple[str, ...]) -> TenantPlan:
        where = "its target" if plan.pin is not None else "it may be on"
        names = summarize(unseen) if plan.pin is None else unseen[0]
        finding = Finding(
            FindingKind.NOT_READ,
            Severity.ERROR,
            f"{where} {names}{', which' if plan.pin is None else ''} cannot be read",
            tenant=plan.tenant,
            database=plan.database,
        )
        return replace(plan, status=TenantStatus.UNKNOWN, finding=finding, unseen_on=unseen)

    def _without_place(self, pin: str | None) -> Finding:
        """Say why nothing takes one more; the same for all tenants of one pin."""
        if pin not in self._no_place:
            pinned = self.placement.locations.get(pin) if pin is not None else None
            why = self.placement.why_none(pin)
            if pinned is not None and pinned.draining:
                self._no_place[pin] = blocked(
                    FindingKind.DRAINING,
                    f"no place left: {pin} is draining and gets nothing new",
                    "pin it elsewhere, or set that target's state to active",
                )
            else:
                self._no_place[pin] = blocked(
                    FindingKind.OVER_CAPACITY,
                    f"no place left: {why or 'no target can be reached'}",
                    "add a target, raise a capacity, or drop what is not needed",
                )
        return self._no_place[pin]

    def _writes(self, target: str | None) -> bool:
        return self.scope.covers(None, target)


def new_database(
    name: str, retention: Retention | Unknown, capabilities: TargetCapabilities
) -> Database:
    """Return a database as it is once it was made on a target of some kind.

    Args:
        retention: Its retention period.
        capabilities: What its target has.
    """
    return Database(
        name,
        retention,
        complete=True if capabilities.completion_marker else UNKNOWN,
        in_use=False if capabilities.table_label else UNKNOWN,
    )


def _retention(seconds: object) -> str:
    return "kept for ever" if seconds is None else format_duration(int(str(seconds)))
