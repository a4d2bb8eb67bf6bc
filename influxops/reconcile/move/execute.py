"""Moving tenants: make room, copy, cut over, copy the rest; each step is recorded before the next.

    ready ─▶ moving: secondary_target = where it goes ─▶ copy ─▶ cut-over: target = where it went,
             secondary_target = where it was ─▶ passes for the rest ─▶ ready, the old copy retiring

The cut-over is one write to the ledger. If the process is killed between steps, the record says
which step comes next; what a tenant's clients read, `target`, holds all of its rows at any time.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from msgspec.structs import replace

from influxops.config.plugin_settings import LedgerSettings
from influxops.domain.database import UNMANAGED, Retention, Unknown, Unmanaged
from influxops.domain.durations import parse_duration
from influxops.domain.finding import FindingKind
from influxops.domain.plan import Action, Change, ChangeResult, TenantPlan, TenantStatus
from influxops.domain.record import BACK, Event, HistoryEntry, LedgerUpdate, Record, State
from influxops.domain.text import format_time
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.apply.apply import carry_out
from influxops.reconcile.move.backfill import MoveSteps
from influxops.reconcile.move.copy import look_ahead
from influxops.reconcile.move.plan import MovePlanner, MoveRequest, route_of
from influxops.reconcile.move.rebalance import RebalancePlanner
from influxops.reconcile.move.state import MoveFailed, MoveProgress
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.recorded import busy, is_cut_over
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import RunState

#: So many tenants get their databases at once, before they are copied one after the other.
_AT_ONCE = 16


class Move(Operation):
    """Moves the tenants of the run's scope to another target, with all that their databases hold.

    Args:
        to: The target that they go to.
        back: Whether each goes back to where its old copy is.
        writers_paused: Whether their writers are paused, as the user says.
        retire_after: Seconds for which the old copies are kept; None for what the ledger's
            settings say.
        without_tables: Tables that do not keep a tenant from being moved where they cannot be
            copied; one that can be is copied all the same.
    """

    command: ClassVar[str] = "move"
    without_ledger: ClassVar[str] = (
        "moving a tenant takes a ledger, which knows at any time where it is"
    )
    _away: str | None = None  # the target that all recorded tenants leave
    _planner_type: ClassVar[type[MovePlanner]] = MovePlanner

    def __init__(
        self,
        to: str | None = None,
        *,
        back: bool = False,
        writers_paused: bool = False,
        retire_after: float | None = None,
        without_tables: Iterable[str] = (),
    ) -> None:
        self._to, self._back, self._writers_paused = to, back, writers_paused
        self._retire_after, self._without_tables = retire_after, tuple(without_tables)

    def _goal(self, settings: LedgerSettings, rules: Rules) -> MoveRequest:
        after = self._retire_after
        return MoveRequest(
            self._to,
            self._back,
            self._away,
            self._writers_paused,
            parse_duration(settings.cache_ttl),
            parse_duration(settings.last_pass),
            rules.routing,
            parse_duration(settings.retire_after) if after is None else int(after),
            self._without_tables,
        )

    def plan(self, state: RunState) -> RunState:
        """Plan which tenant is moved where; a dry run also finds out what there is to copy."""
        context = state.context
        assert state.request.ledger is not None
        goal = self._goal(state.request.ledger.settings, state.rules)
        self._planner = self._planner_type(goal, state)
        state = self._planner.plan()
        if not context.dry_run:
            return state
        to_do = [each for each in state.plans.values() if each.changes]
        context.on_stage("counting", len(to_do))
        plans = dict(state.plans)
        for each in to_do:
            plans[each.tenant] = look_ahead(
                each, self._planner.handles, self._planner.goal.without_tables, context
            )
            context.on_progress(1)
        return replace(state, plans=plans)

    def execute(self, state: RunState) -> Iterator[RunState]:
        """Move the planned tenants; yield what is known at the end, or when the run is over."""
        moves = _MoveExecutor(self._planner, state)
        try:
            moves.run()
        except Interrupted as error:
            moves.interrupted(error)
            yield moves.known
            raise
        yield moves.known


class Drain(Move):
    """Moves all recorded tenants of a target to where placement puts them among the others."""

    command: ClassVar[str] = "drain"

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__(**options)
        self._away = target


class Rebalance(Move):
    """Moves as few tenants as it takes that no target is full, or that all are evenly full."""

    command: ClassVar[str] = "move --rebalance"
    _planner_type = RebalancePlanner


class _MoveExecutor(MoveSteps):
    """All moves of a run."""

    def __init__(self, planner: MovePlanner, state: RunState) -> None:
        super().__init__(planner.goal, state)
        self.planner = planner
        planner.ledger_view = replace(planner.ledger_view, records=self.records)

    def run(self) -> None:
        """Move all of them: backfill passes that are due take precedence over new copies."""
        to_do = deque(plan for plan in self.tenants.values() if plan.changes)
        ready: deque[MoveProgress] = deque()
        while to_do or ready or self.waiting:
            self.context.check()
            at = self.waiting[0][0] if self.waiting else math.inf
            if self.waiting and (at <= time.monotonic() or not (ready or to_do)):
                self._pause_until(at)
                self.step(heapq.heappop(self.waiting)[2])
            elif ready:
                self.step(ready.popleft())
            else:
                batch = [to_do.popleft() for _ in range(min(_AT_ONCE, len(to_do)))]
                begun, again = self._begin(batch)
                ready.extend(begun)
                to_do.extendleft(again)

    def _pause_until(self, at: float) -> None:
        seconds = math.ceil(at - time.monotonic())
        if seconds <= 0:
            return
        is_cut = is_cut_over(self.waiting[0][2].record)
        why = "for clients that still use the old target" if is_cut else "for writers to be quiet"
        what = f"waiting {seconds} s {why}"
        self.context.on_stage(what, seconds)
        while (left := at - time.monotonic()) > 0:
            self.context.sleep(min(left, 1.0))
            self.context.on_progress(1)
        self.context.on_stage("", 0)

    # Before anything is copied ---------------------------------------------------------------

    def _begin(self, batch: Sequence[TenantPlan]) -> tuple[list[MoveProgress], list[TenantPlan]]:
        """Claim tenants, and create their databases; return those that can be copied now.

        Also those that need another place.
        """
        plans = []
        for plan in batch:
            ahead = look_ahead(plan, self.handles, self.goal.without_tables, self.context)
            self.tenants[plan.tenant] = ahead
            if ahead.changes:
                # How much there is is part of the final report.
                notes = tuple(n for n in ahead.notes if n.kind is not FindingKind.MOVING)
                plans.append(replace(ahead, notes=notes))
        moves = self._take(plans)
        for move in [move for move in moves if move.route.is_cancelled]:
            self._cancel(move)
        moves = [move for move in moves if move.plan.tenant in self.open]
        return self._make(moves)

    def _take(self, plans: Sequence[TenantPlan]) -> list[MoveProgress]:
        """Claim tenants: from here on they are moving."""
        wanted = {plan.tenant: self._moving(plan) for plan in plans}
        if not wanted:
            return []
        try:
            found = self.ledger.claim([*wanted.values()], self.context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            return self._not_taken(plans, error)
        self.records.update(found)
        mine = []
        for plan in plans:
            record = found[plan.tenant]
            if record.claimed_by == self.context.id:
                mine.append(plan)
            else:
                self.tenants[plan.tenant] = busy(plan, record)
        moves = [MoveProgress(plan, found[plan.tenant]) for plan in mine]
        # From here on each claim is released, however the run ends.
        self.open.update({move.plan.tenant: move for move in moves})
        try:
            entries = tuple(self._started(plan) for plan in mine)
            self.ledger.commit(LedgerUpdate(entries=entries), self.context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            return self._not_taken(mine, error)
        return moves

    def _not_taken(self, plans: Sequence[TenantPlan], error: InfluxopsError) -> list[MoveProgress]:
        """Skip tenants, because the ledger cannot record that they are moving."""
        for plan in plans:
            self.open.pop(plan.tenant, None)
            message = f"not tried: the ledger: {error.message}"
            failed = MoveFailed(message, error.remedy, kind=FindingKind.NOT_ATTEMPTED)
            self.resolve(plan, failed, ChangeResult.SKIPPED)
        return []

    def _moving(self, plan: TenantPlan) -> Record:
        """Return the record of a tenant that is about to be moved."""
        assert plan.record is not None
        route, record = route_of(plan), plan.record
        if route.was_cut_over or route.is_cancelled:
            return record
        inventory = self.planner.state.inventories[route.target]
        goes_on = (
            record.state is State.MOVING
            and not is_cut_over(record)
            and record.secondary_identity == inventory.identity
            # What is created, or was created again by a client, holds nothing of what was copied.
            and not any(c.action in (Action.CREATE, Action.COMPLETE) for c in plan.changes)
        )
        return replace(
            record,
            state=State.MOVING,
            secondary_target=route.target,
            secondary_identity=inventory.identity,
            drop_after=None,
            progress=record.progress if goes_on else BACK * route.is_back,
        )

    def _started(self, plan: TenantPlan) -> HistoryEntry:
        route, record = route_of(plan), plan.record
        assert record is not None
        is_begun = record.state is State.MOVING and not is_cut_over(record)
        again = "goes on" if is_begun else ""
        if route.is_cancelled:
            again = f"given up, it stays on {route.source}"
        elif route.was_cut_over:
            again = f"the rest of it from {route.source}"
        to = record.secondary_target or route.target if route.is_cancelled else route.target
        return self.request.entry(Event.MOVING, plan, route.source, route.source, to, message=again)

    def _make(self, moves: Sequence[MoveProgress]) -> tuple[list[MoveProgress], list[TenantPlan]]:
        """Create the databases that are missing on the new targets, as any other."""
        making = [
            replace(
                move.plan, target=move.route.target, changes=changes, retention=_wanted(changes)
            )
            for move in moves
            if (changes := tuple(c for c in move.plan.changes if c.action is not Action.MOVE))
        ]
        if not making:
            return [*moves], []
        before = replace(self.state, settled={})
        after = carry_out(making, before)
        self.state = replace(after, settled=self.state.settled)
        made = {plan.tenant: after.settled.get(plan.tenant) for plan in making}
        ready, again = [], []
        for move in moves:
            tenant = move.plan.tenant
            if tenant not in made:
                ready.append(move)
                continue
            result = made[tenant]
            if result is None:
                again += self._replace_target(move)
                continue
            move.made = result.outcomes
            if result.status is TenantStatus.CHANGED:
                ready.append(move)
            elif self.context.interruption is None:
                finding = result.finding
                message = finding.message if finding else result.status.value
                self._not_made(move, MoveFailed(message, finding.remedy if finding else ""))
        # A creation that was interrupted is reported as an interrupted copy is.
        self.context.check()
        return ready, again

    def _replace_target(self, move: MoveProgress) -> list[TenantPlan]:
        """Return a plan for a tenant whose new target took nothing more; none where it ends."""
        target = move.route.target
        why = self.state.closed.get(target, "it is full")
        failed = MoveFailed(f"{target} is full ({why})", kind=FindingKind.OVER_CAPACITY)
        if self.goal.to is not None:
            self._not_made(move, failed)
            return []
        self.planner.close(move.route.source, target, why)
        if not self.write({move.plan.tenant: (move, self._restore_record(move), None)}):
            return []
        plan = self.planner.one(replace(move.plan, status=TenantStatus.OK, notes=()))
        self.tenants[plan.tenant] = plan
        return [plan] if plan.changes else []

    def _not_made(self, move: MoveProgress, failed: MoveFailed) -> None:
        """Abort a move whose destination database could not be created."""
        is_there = any(
            o.partially_applied or o.status in (ChangeResult.UNKNOWN, ChangeResult.DONE)
            for o in move.made
        )
        if is_there or move.progress:
            self.fail(move, failed)
            return
        record = replace(
            self._restore_record(move), error=failed.message, attempts=move.record.attempts + 1
        )
        if self.write({move.plan.tenant: (move, record, self.failure(move, failed))}):
            self.resolve(move.plan, failed, ChangeResult.SKIPPED, move.made)

    @staticmethod
    def _restore_record(move: MoveProgress) -> Record:
        """Return the record of a tenant as it was before this run."""
        assert move.plan.record is not None
        return replace(move.plan.record, version=move.record.version)

    def _cancel(self, move: MoveProgress) -> None:
        """Cancel a move; what was copied is dropped later."""
        record = move.record
        other, state = record.secondary_target, self.state
        is_there = other in self.handles  # or it is not known
        if other in state.inventories:
            is_there = state.database(other, record.database) is not None
        due = self.due() if is_there else None
        message, entry = f"it stays on {move.route.source}", None
        if due:
            kept = f"what was copied is kept until {format_time(due)}"
            entry = self.request.entry(Event.RETIRING, move.plan, other, message=kept)
            message += f"; what was copied to {other} may be dropped after {format_time(due)}"
        if self.write({move.plan.tenant: (move, self.ended(move, due), entry)}):
            self.done(move, move.route.source, message, due=due, given_up=True)


def _wanted(changes: Sequence[Change]) -> Retention | Unmanaged:
    """Return the retention period that a database should have on its new target."""
    after = changes[0].after
    known = changes[0].action in (Action.CREATE, Action.SET_RETENTION)
    if not known or after is None or isinstance(after.retention, Unknown):
        return UNMANAGED
    return after.retention
