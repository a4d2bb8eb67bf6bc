"""The operations `influxops retire --due` and `--copies`: drop what is due, or old copies at once.

The run plans twice: first to claim the tenants, then from what is read again while they are
claimed. Whatever is not known then is postponed. The databases of retired tenants are dropped like
that; what moved tenants left behind takes more (`apply/drop_due.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import TargetHints
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.plan import Action, TenantPlan
from influxops.domain.record import Record, State
from influxops.domain.text import format_time, pluralize
from influxops.errors import ConfigError
from influxops.reconcile.apply.apply import carry_out, still_open
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.drop_due import OldCopies, drops_old_copy
from influxops.reconcile.files.export import export_first
from influxops.reconcile.guards import guard
from influxops.reconcile.ledger.commit import record as write
from influxops.reconcile.observe.observe import observe
from influxops.reconcile.observe.reread import reread
from influxops.reconcile.observe.selected import observe_selected, reads_single
from influxops.reconcile.operation import RecordOperation
from influxops.reconcile.plan.desired import LOOK, with_desired
from influxops.reconcile.plan.late_writes import note_late_writes
from influxops.reconcile.plan.recorded import (
    MAY_READ_ALL,
    due_on,
    find_shared_databases,
    is_copy,
    is_recreated,
    lost,
    misplaced,
    move_in_progress_finding,
    plan_from_record,
    recreated_note,
    unretire,
)
from influxops.reconcile.plan.retire import check_recent_writes
from influxops.reconcile.state import RunState

#: So many tenants at least are claimed, read again and dropped at once, fewer where each is copied
#: from before; and how often all may be read again, however many there are.
_AT_ONCE, _COPIES, _READINGS = 200, 16, 20
#: Seconds of an export after which all else is looked at again before the drop. So are all tenants
#: after so many, or (from the third time on) so many times as long as that takes: another may have
#: its database now.
_SHORT, _SHARE = 1.0, 10


class DropDue(RecordOperation, Struct, frozen=True):
    """Drops what is due: databases of retired tenants, and what moved ones left behind.

    The former are exported first, where `export` or the ledger's settings have a directory.
    """

    command: ClassVar[str] = "retire --due"

    export: Path | None = None

    def candidates(self, state: RunState) -> Iterator[TenantPlan]:
        """Return the tenants of which something is due, with what is."""
        due = [*self.due(state)]
        shared = find_shared_databases((each[0] for each in due), state.desired, state)
        for record, target in due:
            plan, why = plan_from_record(record, target, state), shared.get(record.tenant)
            is_blocked = why is not None and not state.is_registered(record.tenant)
            yield plan.block(why) if why is not None and is_blocked else plan

    def due(self, state: RunState) -> Iterator[tuple[Record, str]]:
        """Yield the records of which something is due, and the target that has it."""
        for number, record in enumerate(state.ledger_view.records.values()):
            if number % LOOK == 0:
                state.context.check()
            target = due_on(record, state.now)
            if target is not None and state.covers(record.tenant, target):
                yield record, target

    def plan(self, state: RunState) -> RunState:
        """Plan it, look when telemetry last came, and count the tenants that are not due yet."""
        state = super().plan(state)
        if not state.ledger_view.is_readable:
            return state
        retiring = {
            id_: each
            for id_, each in state.plans.items()
            if each.record is not None and each.record.state is State.RETIRING
        }
        return state.planned(
            {**state.plans, **check_recent_writes(retiring, state)}, _waiting(state)
        )

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that a database or an old copy is dropped, or say why it is not."""
        record, target, observed = plan.record, plan.target or "", state
        assert record is not None
        is_retiring = record.state is State.RETIRING
        if is_retiring and observed.is_registered(record.tenant):
            change, note = unretire(plan)
            return plan.note(note).with_changes(change)
        if is_retiring and not observed.sources_complete:
            why = "not every source could be read, so whether it is back is unknown"
            return plan.defer(FindingKind.NOT_READ, why)
        if target not in state.rules.targets:
            why = f"it is recorded on {target}, which is not configured any more"
            return plan.defer(FindingKind.NOT_CONFIGURED, why, "configure that target again")
        inventory = observed.inventories.get(target)
        if inventory is None:
            return plan.defer(FindingKind.NOT_READ, f"its target {target} cannot be read")
        if plan.before is None and not inventory.complete:
            why = f"{target} does not show all that it holds"
            return plan.defer(FindingKind.NOT_READ, why, MAY_READ_ALL)
        if is_retiring:
            plan = recreated_note(plan, observed)
        elif plan.before is not None and (kept := _kept(plan, record, observed)):
            return kept
        if plan.before is None:
            # A run that died may have dropped it: what the server still keeps is reported.
            message = f"its database is not on {target} any more: there is nothing to drop"
            until = inventory.deleted.get(plan.database)
            plan = plan.note(plan.info(FindingKind.RETIRING, message))
            change = plan.change(Action.DROP, reason="it was gone already", until=until)
            return plan.with_changes(change)
        plan = plan.with_changes(plan.change(Action.DROP))
        return note_late_writes(plan) if drops_old_copy(plan) else plan

    def execute(self, state: RunState) -> Iterator[RunState]:
        """Drop what is planned, after it was claimed, read again and planned again."""
        assert state.request.ledger is not None
        folder = self.export or state.request.ledger.settings.export_before_drop
        # The ledger remembers it, and is read elsewhere.
        folder = Path(folder).absolute() if folder else None
        alone, look = list[str](), _Look(state.context.seconds)
        while batch := _next_batch(state, 1 if folder else _AT_ONCE):
            state.context.check()
            state, batch = reserve(batch, state)
            yield state
            if not batch:
                continue
            if folder and not drops_old_copy(batch[0]):
                alone += [plan.tenant for plan in batch]
                whole = state
                for known in self._drop_exported(batch, folder, state, look):
                    yield (state := _with_done(whole, known))
                continue
            state, batch = self._plan_again(batch, state)
            yield state
            copies = [plan for plan in batch if drops_old_copy(plan)]
            others = [plan for plan in batch if not drops_old_copy(plan)]
            if others:
                yield (state := carry_out(others, state))
                yield (state := write(state))
            if copies:
                for known in OldCopies(state, self.command).drop(copies):
                    yield (state := known)
        if made := [
            o for id_ in alone if id_ in state.settled for o in state.settled[id_].outcomes
        ]:
            yield reread(made, state)  # what is reported of the targets is how they are now

    def _drop_exported(
        self, batch: Sequence[TenantPlan], folder: Path, state: RunState, look: _Look
    ) -> Iterator[RunState]:
        """Drop a tenant right after its export, and after a look at what concerns it."""
        began = time.monotonic()
        state, left = self._plan_again(batch, state, look)
        if any(map(_is_dropped, left)):
            state, left = export_first(left, folder, state)
            yield state
            if left and time.monotonic() - began > _SHORT:
                # A source may have it again, and another run may have claimed it.
                state, left = reserve(left, state)
                state, left = self._plan_again(left, state, look)
                state, left = export_first(left, folder, state, recent=True)
                yield state
        if left:
            yield (state := carry_out(left, state))
            state = write(state)
        yield state

    def _plan_again(
        self,
        batch: Sequence[TenantPlan],
        state: RunState,
        look: Callable[[RunState, Collection[str]], RunState] | None = None,
    ) -> tuple[RunState, list[TenantPlan]]:
        """Read and plan again for claimed tenants; return those for which the same is to do."""
        before, why = state, ""
        try:
            named = [plan.tenant for plan in batch]
            state = self.observe(state) if look is None else look(state, named)
        except ConfigError as error:
            why = error.message
        again, view = state.planned({}), state.ledger_view
        if not why and view.is_readable:
            own = {p.tenant: view.records[p.tenant] for p in batch if p.tenant in view.records}
            part = with_desired(replace(state, ledger_view=replace(view, records=own)))
            again = guard(replace(self.plan(part), ledger_view=view))
        plans = dict(before.plans)
        still = []
        for each in batch:
            why = why or view.error or "the ledger has changed in the meantime"
            now = again.plans.get(each.tenant) or each.defer(FindingKind.NOT_READ, why)
            plans[each.tenant] = now
            if [c.action for c in now.changes] == [c.action for c in each.changes]:
                still.append(now)
        refusals = tuple(dict.fromkeys((*before.refusals, *again.refusals)))
        return replace(state, plans=plans, refusals=refusals), still


class DropCopies(DropDue, Struct, frozen=True):
    """Drops what moved tenants left behind, before it is due."""

    command: ClassVar[str] = "retire --copies"

    tenants: tuple[str, ...] = ()  # whose old copies; none: those of all

    def guarded_plan(self, state: RunState) -> RunState:
        """Plan it, without what the guards refuse; a tenant must be one that the ledger knows."""
        if state.ledger_view.is_readable:
            state.named_records(self.tenants)
        return super().guarded_plan(state)

    def due(self, state: RunState) -> Iterator[tuple[Record, str]]:
        """Yield the records that have an old copy, as if it was due, and all that were named."""
        records = state.ledger_view.records
        for id_ in self.tenants or records:
            record = records.get(id_)
            if record is None:
                continue
            if record.state is State.READY and is_copy(record, record.secondary_target or ""):
                yield replace(record, drop_after=state.now), record.secondary_target or ""
            elif self.tenants:
                yield record, record.target or ""

    def plan(self, state: RunState) -> RunState:
        """Plan it, and say what cannot be done any more after that."""
        state = RecordOperation.plan(self, state)
        if not state.is_pending:
            return state
        message = "without its old copy a tenant cannot be moved back (`move --back`)"
        return state.planned(state.plans, [Finding.warning(FindingKind.RETIRING, message)])

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan that an old copy is dropped, or say why it is not."""
        record = plan.record
        assert record is not None
        if record.state is State.MOVING:
            return plan.block(move_in_progress_finding(record))
        if record.secondary_target is None or record.secondary_target == record.target:
            return plan.note(plan.info(FindingKind.RETIRING, "it has no old copy"))
        if record.state is not State.READY:
            why = f"it is recorded as {record.state.value}, so its old copy on "
            return plan.blocked(FindingKind.MOVING, f"{why}{record.secondary_target} stays")
        return super().plan_one(plan, state)


def _is_dropped(plan: TenantPlan) -> bool:
    return any(change.action is Action.DROP for change in plan.changes)


class _Look:
    """Reads what concerns some tenants, however many there are, and now and then all."""

    def __init__(self, ago: float) -> None:
        # All were read so many seconds ago, before planning looked for telemetry.
        self._at, self._took = time.monotonic() - ago, list[float]()

    def __call__(self, state: RunState, tenants: Collection[str]) -> RunState:
        began = time.monotonic()
        share = _SHARE * self._took[-1] if len(self._took) > 1 else 0.0
        if began - self._at <= max(_SHORT, share):
            return _observe_alone(state, tenants)
        state = observe(state)
        self._at = time.monotonic()
        self._took.append(self._at - began)
        return state


def _observe_alone(state: RunState, tenants: Collection[str]) -> RunState:
    """Read what concerns some tenants, where each can be read alone."""
    if not reads_single(state.request):
        return observe(state)
    asked: dict[str, dict[str, str]] = {id_: {} for id_ in tenants}
    read, failed, _ = observe_selected(asked, state, TargetHints(used={}), retiring=True)
    state.context.check()
    if read is None:
        name, error = next(iter(failed.items()))
        raise ConfigError(f"{name}: {error.message}", hint=error.remedy)
    view = read.ledger_view
    records = {**state.ledger_view.records, **view.records}
    return replace(read, ledger_view=replace(view, records=records))


def _with_done(whole: RunState, known: RunState) -> RunState:
    """Return what was read of all, with what was done since to a tenant that was read alone."""
    return replace(
        whole,
        ledger_view=whole.ledger_view.with_records(known.ledger_view.records),
        plans=known.plans,
        refusals=known.refusals,
        settled=known.settled,
        recorded=known.recorded,
        kept=known.kept,
        events=known.events,
        notes=known.notes,
    )


def _next_batch(state: RunState, most: int) -> list[TenantPlan]:
    """Return the tenants that are claimed next: what was read is soon old, and costly to read.

    Only one is dropped after its export: nothing is to be written to it in between.
    """
    waiting = still_open(state)
    copies = [plan for plan in waiting if drops_old_copy(plan)]
    others = [plan for plan in waiting if not drops_old_copy(plan)]
    share = len(state.plans) // _READINGS
    return others[: max(most, share if most > 1 else 1)] or copies[: max(_COPIES, share)]


def _kept(plan: TenantPlan, record: Record, observed: RunState) -> TenantPlan | None:
    """Return a moved tenant whose old copy may be all that is left, and stays; else None."""
    inventory = observed.inventories.get(record.target or "")
    if inventory is None:
        why = f"its database is recorded on {record.target}, which cannot be read"
        return plan.defer(FindingKind.NOT_READ, why)
    now = plan_from_record(
        replace(record, claimed_by="", is_claimed=False), record.target, observed
    )
    if is_recreated(now.record, now.before):
        return lost(now, observed)
    if now.before is None and inventory.complete:
        return misplaced(plan, record, record.secondary_target or "", observed)
    return None


def _waiting(state: RunState) -> Iterator[Finding]:
    """Yield how many tenants are not due yet."""
    later = [
        record.drop_after
        for record in state.ledger_view.records.values()
        if record.state is State.RETIRING
        and record.drop_after is not None
        and record.drop_after > state.now
    ]
    if later:
        yield Finding.info(
            FindingKind.RETIRING,
            f"{pluralize(len(later), 'tenant')} {'is' if len(later) == 1 else 'are'} retiring and "
            f"not due, the first after {format_time(min(later))}",
        )
