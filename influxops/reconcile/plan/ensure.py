"""From what should be and what is to a plan; pure, no I/O."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import (
    UNKNOWN,
    Database,
    Retention,
    TargetCapabilities,
    TargetHints,
    Unknown,
    Unmanaged,
)
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, Change, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import summarize
from influxops.reconcile.observe.selected import may_be_anothers, observe_selected, reads_single
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan import recorded
from influxops.reconcile.plan.desired import LOOK, with_desired
from influxops.reconcile.plan.late_writes import note_late_writes
from influxops.reconcile.plan.placement import placement_of
from influxops.reconcile.plan.warnings import PlanWarnings, recreated_after_drop
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import RunState
from influxops.report.wording import format_retention


class Ensure(Operation, Struct, frozen=True):
    """Gives tenants what they should have: a complete database, with its retention period.

    Lost ones are created again, empty, where `recreate` has their ids. With `only_create` nothing
    is changed but what creates, completes or keeps a database.
    """

    command: ClassVar[str] = "ensure"
    needs_ledger: ClassVar[bool] = False
    reconciles: ClassVar[bool] = True

    recreate: frozenset[str] = frozenset()
    only_create: bool = False

    def observe(self, state: RunState) -> RunState:
        """Read what concerns the named tenants, or all where that would miss some."""
        context, ids = state.context, state.context.tenants
        is_narrow = ids is not None and context.targets is None and not context.verify
        if ids is None or not is_narrow or not reads_single(state.request):
            return super().observe(state)
        context.on_stage("reading", 0)
        asked: dict[str, dict[str, str]] = {id_: {} for id_ in ids}
        read, *_ = observe_selected(asked, state, TargetHints(), reports=True)
        context.check()
        if read is None or not ids <= {tenant.id for tenant in read.tenants}:
            return super().observe(state)  # which tells more
        plans = make_plan(with_desired(read)).plans.values()
        if any(may_be_anothers(each, read) for each in plans):
            return super().observe(state)
        return read

    def plan(self, state: RunState) -> RunState:
        """Plan it."""
        state = make_plan(state)
        if not self.only_create:
            return state
        return replace(state, plans={i: only_creating(each) for i, each in state.plans.items()})


class Drop(Operation, Struct, frozen=True):
    """Drops the databases of the tenants that the run's scope names, at once."""

    command: ClassVar[str] = "ensure"
    needs_ledger: ClassVar[bool] = False
    reconciles: ClassVar[bool] = True
    drops: ClassVar[bool] = True

    def plan(self, state: RunState) -> RunState:
        """Plan it."""
        return make_plan(state, absent=True)


_CREATING = (Action.CREATE, Action.COMPLETE, Action.UNRETIRE)


def only_creating(plan: TenantPlan) -> TenantPlan:
    """Return a tenant whose database is created, completed or kept, and not changed otherwise."""
    if plan.is_replacement:
        return plan  # for the guards, which refuse it
    kept = tuple(change for change in plan.changes if change.action in _CREATING)
    if len(kept) == len(plan.changes):
        return plan
    if kept:
        return replace(plan, changes=kept)
    return replace(plan, status=TenantStatus.OK, changes=(), after=plan.before)


def make_plan(
    state: RunState, *, absent: bool = False, check: Callable[[], None] | None = None
) -> RunState:
    """Decide what to do, before the guards; with `absent`, tenants of the scope lose databases.

    `check` raises when the run is over, as the context's does.
    """
    desired, context = state.desired, state.context
    planner = _EnsurePlanner(state, check or context.check)
    if absent:
        return state.planned(planner.absent(desired))
    planned = planner.present(desired)
    plans: Mapping[str, TenantPlan] = planned
    if context.tenants is not None or [*planned] != [*desired]:  # what was missing came last
        plans = {id_: planned[id_] for id_ in desired if id_ in planned and state.covers(id_)}
    warnings = PlanWarnings(state, planner.placement)
    notes = [*warnings.in_plan([*plans.values()])]
    if not context.is_limited and state.sources_complete:
        notes += warnings.beyond(desired)
    return state.planned(plans, notes)


class _EnsurePlanner:
    """One planning: what it reads from, and the targets' room that it gives away."""

    def __init__(self, state: RunState, check: Callable[[], None]) -> None:
        self.observed, self.rules, self.context = state, state.rules, state.context
        self.check = check
        self.unread = state.unread
        # Few differ. It refers to no planning: what was read would outlive the run in a cycle.
        self._new = cache(partial(_created, state.rules))
        self.ledger_view = state.ledger_view
        self.placement = placement_of(state.rules, state.inventories, state.closed, state.used)
        for record in self.ledger_view.records.values():
            # What another run has reserved is as good as created.
            location = self.placement.locations.get(record.target or "")
            if record.is_claimed and location is not None and record.state is State.ALLOCATED:
                location.used += state.database(record.target, record.database) is None

    def present(self, desired: Mapping[str, TenantPlan]) -> dict[str, TenantPlan]:
        """Plan that every tenant has its database; what is outside of the scope is left out."""
        planned: dict[str, TenantPlan] = {}
        missing: list[TenantPlan] = []
        held = [(name, each.databases) for name, each in self.observed.inventories.items()]
        targets = self.context.targets
        for number, plan in enumerate(desired.values()):
            if number % LOOK == 0:
                self.check()
            homes = [name for name, databases in held if plan.database in databases]
            record = self.ledger_view.record(plan.tenant)
            if record is not None:
                plan = replace(plan, record=record)
                if record.target in homes or record.target not in self.observed.inventories:
                    homes = [h for h in homes if h == record.target or h != record.secondary_target]
            if (
                record is not None
                and record.is_claimed
                and plan.status is not TenantStatus.BLOCKED
                and not (record.state is State.MOVING and record.target in homes)
            ):
                planned[plan.tenant] = recorded.busy(plan, record)
            elif homes:
                plan = self._existing(plan, homes)
                if targets is None or plan.target in targets:
                    planned[plan.tenant] = plan
            elif plan.status is TenantStatus.BLOCKED:
                planned[plan.tenant] = plan
            else:
                missing.append(plan)
        # Place tenants that will not be created (acknowledged, or possibly on an unreadable target)
        # last, so they use up no capacity.
        if self.unread or self.rules.acknowledged:
            missing.sort(key=lambda p: (p.tenant in self.rules.acknowledged, bool(self._unseen(p))))
        for number, plan in enumerate(missing):
            if number % LOOK == 0:
                self.check()
            # Placed even outside the scope: those that follow must not find that slot free.
            plan = self._missing(plan)
            if self._writes(plan.target or plan.pin):
                planned[plan.tenant] = plan
        return planned

    def absent(self, desired: Mapping[str, TenantPlan]) -> dict[str, TenantPlan]:
        """Plan that the tenants of the scope lose their databases, wherever these are.

        Only the caller chooses among copies. What a registry or a pin says is where a database
        should be, which may be the copy that holds the data.
        """
        planned: dict[str, TenantPlan] = {}
        named = [id_ for id_ in desired if id_ in (self.context.tenants or ())]
        records = [Record(id_, State.READY, desired[id_].database) for id_ in named]
        shared = recorded.find_shared_databases(records, desired, self.observed)
        for id_ in named:
            plan = desired[id_]
            if plan.status is not TenantStatus.BLOCKED and (why := shared.get(id_)):
                plan = plan.block(why)
            pin = self.observed.named_targets.get(id_)
            plan = replace(plan, pin=pin, record=self.ledger_view.record(id_))
            planned[id_] = plan if plan.status is TenantStatus.BLOCKED else self._dropped(plan)
        return planned

    def _dropped(self, plan: TenantPlan) -> TenantPlan:
        every = self.observed.targets_holding(plan.database)
        homes = [home for home in every if plan.pin in (None, home)]
        unseen = tuple(self._unseen(plan))
        if unseen and not homes:
            return self._not_read(plan, unseen)
        if len(homes) > 1:
            return self._on_several(plan, homes)
        if homes and plan.record is not None and recorded.is_copy(plan.record, homes[0]):
            return plan.block(recorded.not_copied(plan.record))
        if not homes or not self._writes(homes[0]):
            return plan
        if self.observed.is_registered(plan.tenant) and len(every) == 1:
            note = plan.warning(
                FindingKind.STILL_REGISTERED_AFTER_DROP,
                "a source still has it, so the next run makes its database again, empty",
                "take it out of the registry first",
                target=None,
                database=None,
            )
            plan = plan.note(note)
        before = self.observed.database(homes[0], plan.database)
        plan = replace(plan, target=homes[0], before=before, unseen_on=unseen)
        return plan.with_changes(plan.change(Action.DROP))

    # What exists

    def _existing(self, plan: TenantPlan, homes: list[str]) -> TenantPlan:
        record = plan.record
        at = record.target if record is not None else None
        home = at if at in homes else plan.pin if plan.pin in homes else homes[0]
        assert home is not None
        before = self.observed.inventories[home].databases[plan.database]
        plan = replace(plan, target=home, before=before, after=before)
        if plan.status is TenantStatus.BLOCKED:
            return plan
        if len(homes) > 1:
            return self._acknowledged(self._on_several(plan, homes))
        if record is not None and recorded.is_elsewhere(record, home, self.observed):
            return self._acknowledged(recorded.misplaced(plan, record, home, self.observed))
        if recorded.is_recreated(record, before):
            # For the guards `recreate-lost` and `drop`.
            why = recorded.explain_lost(record, self.observed)
            new = self._new(plan.retention, home)
            return plan.with_changes(
                plan.change(Action.DROP, reason=why),
                plan.change(Action.CREATE, reason=why, before=None, after=new),
            )
        known = self.ledger_view.records.get(plan.tenant)
        if known is not None and known.state is State.RETIRED and known.database == plan.database:
            plan = plan.note(recreated_after_drop(known, home, before, is_wanted=True))
        is_lost = record is not None and record.state is State.LOST
        marks = self.rules.targets[home].capabilities.completion_marker
        if is_lost and marks and before.is_marked is UNKNOWN:
            return plan.mark_unknown(
                FindingKind.NOT_READ,
                f"it was lost, and whether what is on {home} is its own cannot be read",
                recorded.MAY_READ_ALL,
            )
        if record is not None and record.state is State.MOVING:
            return plan.note(recorded.moving(record))
        if record is not None and record.state is State.UNCONFIRMED and record.imported_from:
            return plan.blocked(
                FindingKind.UNCONFIRMED,
                f"its import from {record.imported_from} has not ended",
                Hint.command(
                    f"import {shlex.quote(record.imported_from)}",
                    f"go on with {{}}; influxops {typed('adopt', plan.tenant)} takes it as it is",
                ),
            )
        changes: list[Change] = []
        if record is not None and record.secondary_target is not None:
            plan = note_late_writes(plan, 1)
        if record is not None and record.state is State.RETIRING:
            change, note = recorded.unretire(plan)
            changes, plan = [change], plan.note(note)
        if plan.pin is not None and plan.pin != home:
            plan = plan.note(self._misplaced(plan, home))
        changes += self._changes(plan, before)
        if before.retention is not None and not any(
            change.action is Action.SET_RETENTION for change in changes
        ):
            plan = plan.note(*recorded.bad_retention(plan, self.rules))
        return plan.with_changes(*changes)

    def _acknowledged(self, plan: TenantPlan) -> TenantPlan:
        return plan.acknowledge() if plan.tenant in self.rules.acknowledged else plan

    @staticmethod
    def _misplaced(plan: TenantPlan, home: str) -> Finding:
        why, remedy = "influxops moves no data", Hint.advise("move it")
        if plan.record is not None:
            why = "it is moved only by a move"
            remedy = Hint.command(typed("move", plan.tenant, options=f"--to {plan.pin}"))
        return plan.warning(
            FindingKind.MISPLACED,
            f"the database {plan.database} is on {home}, but should be on {plan.pin}; {why}",
            remedy._replace(text=f"{remedy.text}, or set its target to {home}"),
        )

    @staticmethod
    def _changes(plan: TenantPlan, before: Database) -> Iterator[Change]:
        now = before
        wanted, actual = plan.retention, before.retention
        if not isinstance(wanted, Unmanaged) and actual is not UNKNOWN and wanted != actual:
            now = replace(before, retention=wanted)
            reason = f"retention {format_retention(actual)} → {format_retention(wanted)}"
            yield plan.change(Action.SET_RETENTION, reason=reason, after=now)
        if before.complete is False:
            after = replace(now, complete=True)
            yield plan.change(Action.COMPLETE, before=now, after=after)

    @staticmethod
    def _on_several(plan: TenantPlan, homes: list[str]) -> TenantPlan:
        drops = "a task with `state: absent`, the tenant's `id` and its `target` drops one copy"
        which = "find out which one holds the data"
        remedy = Hint.advise(f"{which}, then drop the other: {drops}")
        if plan.record is not None and plan.record.target in homes:
            other = next(home for home in homes if home != plan.record.target)
            pair = f"{plan.tenant}={plan.database}"
            remedy = Hint.command(
                typed("adopt", pair, options=f"--target {shlex.quote(other)}"),
                f"{which}: {{}} takes that on {other}, and what only the other one has comes "
                f"along; {drops}",
            )
        return replace(plan, changes=()).on_several(homes, remedy, plan.target)

    # What is missing

    def _missing(self, plan: TenantPlan) -> TenantPlan:
        before, reason = None, ""
        if plan.record is not None:
            before, reason = plan.record.target, recorded.explain_lost(plan.record, self.observed)
            if finding := recorded.explain_unknown(plan, plan.record, self.observed, self.rules):
                unread = [before] if before in self.unread else self.unread
                unseen = tuple(filter(None, unread))
                return replace(plan, status=TenantStatus.UNKNOWN, finding=finding, unseen_on=unseen)
        unseen = tuple(self._unseen(plan))
        if unseen and (plan.pin is not None or not self.placement.locations):
            return self._not_read(plan, unseen)
        location = self.placement.choose(plan.pin, before)
        if location is None:
            if unseen:
                return self._not_read(plan, unseen)
            return self._acknowledged(plan.blocked(*self._explain_no_placement(plan.pin)))
        target, beyond = location.target, location.is_over_estimate
        new = self._new(plan.retention, target)
        change = plan.change(Action.CREATE, target, reason, after=new, may_exceed_capacity=beyond)
        return plan.with_changes(change, target=target, unseen_on=unseen)

    def _unseen(self, plan: TenantPlan) -> list[str]:
        """Return the targets that cannot be read and may hold a tenant's database."""
        return [name for name in self.unread if plan.pin in (None, name)]

    @staticmethod
    def _not_read(plan: TenantPlan, unseen: tuple[str, ...]) -> TenantPlan:
        message = f"it may be on {summarize(unseen)}, which cannot be read"
        if plan.pin is not None:
            message = f"its target {unseen[0]} cannot be read"
        return plan.mark_unknown(FindingKind.NOT_READ, message, unseen_on=unseen)

    def _explain_no_placement(self, pin: str | None) -> tuple[FindingKind, str, str]:
        pinned = self.placement.locations.get(pin or "")
        if pinned is not None and pinned.draining:
            why = f"no free slot: {pin} is draining and gets nothing new"
            remedy = "pin it elsewhere, or set that target's state to active"
            return FindingKind.DRAINING, why, remedy
        return self.placement.explain_no_placement("no target can be reached", pin)

    def _writes(self, target: str | None) -> bool:
        return self.observed.covers(None, target)


def _created(rules: Rules, wanted: Retention | Unmanaged, target: str) -> Database:
    """Return a database as it is once it was created on a target."""
    capabilities = rules.targets[target].capabilities
    retention: Retention | Unknown = UNKNOWN if capabilities.retention is None else None
    if not isinstance(wanted, Unmanaged) and capabilities.retention is not None:
        retention = wanted
    return new_database(retention, capabilities)


def new_database(retention: Retention | Unknown, capabilities: TargetCapabilities) -> Database:
    """Return a database as it is once it was created on a target that has some traits."""
    return Database(
        retention,
        complete=True if capabilities.completion_marker else UNKNOWN,
        in_use=False if capabilities.table_label else UNKNOWN,
    )
