"""Moving tenants: make room, copy, cut over, copy the rest; each step is recorded before the next.

    ready ─▶ moving: other = where it goes ─▶ copy ─▶ cut-over: target = where it went,
             other = where it was ─▶ passes for the rest ─▶ ready, the old copy retiring

The cut-over is one write to the ledger. Who is killed between two steps leaves a record that says
which one is next; what a tenant's clients are told, `target`, holds all of its rows at any time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from msgspec.structs import replace

from influxops.domain.change import Action, Change, Status
from influxops.domain.database import UNMANAGED, Retention, Unknown, Unmanaged
from influxops.domain.finding import Kind
from influxops.domain.plan import Plan, TenantPlan, Verdict
from influxops.domain.record import Entry, Event, Record, State, Writing
from influxops.domain.text import moment
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.apply.apply import carry_out
from influxops.reconcile.move.backfill import Passes
from influxops.reconcile.move.copy import look_ahead
from influxops.reconcile.move.plan import Planner
from influxops.reconcile.move.route import Goal, way_of
from influxops.reconcile.move.state import Failed, Hands, Move
from influxops.reconcile.plan.recorded import busy
from influxops.reconcile.request import Order
from influxops.reconcile.state import Draft, Observed
from influxops.runtime.context import Context

#: So many tenants get their databases at once, before they are copied one after the other.
_AT_ONCE = 16


class Mover:
    """Plans moves and carries them out; what `Order` takes as planner.

    Args:
        goal: What the move is for.
    """

    def __init__(self, goal: Goal) -> None:
        self.goal = goal

    def __call__(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        order: Order,
        context: Context,
    ) -> Plan:
        """Plan who is moved where; a dry run also finds out what there is to copy."""
        self.goal.refuse(order.rules.targets)
        self._planner = Planner(self.goal, observed, order)
        plan = self._planner.plan(desired, context)
        if not context.dry_run:
            return plan
        to_do = [each for each in plan.tenants.values() if each.changes]
        context.on_stage("counting", len(to_do))
        tenants = dict(plan.tenants)
        for each in to_do:
            tenants[each.tenant] = look_ahead(
                each, self._planner.handles, self.goal.without_tables, context
            )
            context.on_progress(1)
        return replace(plan, tenants=tenants)

    def carry_out(self, draft: Draft, order: Order, context: Context) -> Iterator[Draft]:
        """Move whom the plan says; yield what is known at the end, or when the run is over.

        Raises:
            Interrupted: When the run is over.
        """
        hands = Hands(self.goal, draft, order, context)
        try:
            _Work(self._planner, hands).through()
        except Interrupted as error:
            hands.interrupted(error)
            yield hands.known
            raise
        yield hands.known


class _Work:
    """All moves of a run.

    Args:
        planner: Who planned them.
        hands: What the run has in its hands.
    """

    def __init__(self, planner: Planner, hands: Hands) -> None:
        self.planner, self.hands, self.passes = planner, hands, Passes(hands)
        planner.recalled = replace(planner.recalled, records=hands.records)

    def through(self) -> None:
        """Move all of them: what waits for its next pass goes before the next copy."""
        to_do = deque(plan for plan in self.hands.tenants.values() if plan.changes)
        ready: deque[Move] = deque()
        while to_do or ready or self.passes.next_at is not None:
            self.hands.context.check()
            at = self.passes.next_at
            if at is not None and (at <= time.monotonic() or not (ready or to_do)):
                self._pause_until(at)
                self.passes.step(self.passes.next())
            elif ready:
                self.passes.step(ready.popleft())
            else:
                batch = [to_do.popleft() for _ in range(min(_AT_ONCE, len(to_do)))]
                begun, again = self._begin(batch)
                ready.extend(begun)
                to_do.extendleft(again)

    def _pause_until(self, at: float) -> None:
        seconds = math.ceil(at - time.monotonic())
        if seconds <= 0:
            return
        what = f"waiting {seconds} s for clients that still use the old place"
        self.hands.context.on_stage(what, seconds)
        while (left := at - time.monotonic()) > 0:
            self.hands.context.pause(min(left, 1.0))
            self.hands.context.on_progress(1)
        self.hands.context.on_stage("", 0)

    # Before anything is copied ---------------------------------------------------------------

    def _begin(self, batch: Sequence[TenantPlan]) -> tuple[list[Move], list[TenantPlan]]:
        """Take tenants into this run's hands, and make their databases.

        Returns:
            Those that can be copied now, and those that need another place.
        """
        plans = []
        for plan in batch:
            ahead = look_ahead(
                plan, self.hands.handles, self.hands.goal.without_tables, self.hands.context
            )
            self.hands.tenants[plan.tenant] = ahead
            if ahead.changes:
                # How much there is stands in what is told at the end.
                notes = tuple(n for n in ahead.notes if n.kind is not Kind.MOVING)
                plans.append(replace(ahead, notes=notes))
        moves = self._take(plans)
        for move in [move for move in moves if move.way.is_given_up]:
            self._give_up(move)
        moves = [move for move in moves if move.plan.tenant in self.hands.open]
        return self._make(moves)

    def _take(self, plans: Sequence[TenantPlan]) -> list[Move]:
        """Reserve tenants: from here on they are moving."""
        wanted = {plan.tenant: self._moving(plan) for plan in plans}
        if not wanted:
            return []
        try:
            found = self.hands.ledger.reserve([*wanted.values()], self.hands.context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            return self._not_taken(plans, error)
        self.hands.records.update(found)
        mine = []
        for plan in plans:
            record = found[plan.tenant]
            if record.holder == self.hands.context.id:
                mine.append(plan)
            else:
                self.hands.tenants[plan.tenant] = busy(
                    replace(plan, changes=(), after=plan.before), record
                )
        moves = [Move(plan, way_of(plan), found[plan.tenant]) for plan in mine]
        # From here on each is let go of, however the run ends.
        self.hands.open.update({move.plan.tenant: move for move in moves})
        try:
            entries = tuple(self._started(plan) for plan in mine)
            self.hands.ledger.record(Writing(entries=entries), self.hands.context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            return self._not_taken(mine, error)
        return moves

    def _not_taken(self, plans: Sequence[TenantPlan], error: InfluxopsError) -> list[Move]:
        """Leave tenants alone, because the ledger cannot be told that they are moving."""
        for plan in plans:
            self.hands.open.pop(plan.tenant, None)
            message = f"not tried: the ledger: {error.message}"
            failed = Failed(message, error.remedy, kind=Kind.NOT_TRIED)
            self.hands.settle(plan, failed, Status.SKIPPED)
        return []

    def _moving(self, plan: TenantPlan) -> Record:
        """Return the record of a tenant that is about to be moved."""
        assert plan.record is not None
        way, record = way_of(plan), plan.record
        if way.was_cut_over or way.is_given_up:
            return record
        inventory = self.planner.observed.inventories[way.target]
        goes_on = (
            record.state is State.MOVING
            and record.other_identity == inventory.identity
            # What is created, or was created again by a client, holds nothing of what was copied.
            and not any(c.action in (Action.CREATE, Action.COMPLETE) for c in plan.changes)
        )
        return replace(
            record,
            state=State.MOVING,
            other=way.target,
            other_identity=inventory.identity,
            due=None,
            progress=record.progress if goes_on else "",
        )

    def _started(self, plan: TenantPlan) -> Entry:
        way, record = way_of(plan), plan.record
        assert record is not None
        again = "goes on" if record.state is State.MOVING else ""
        if way.is_given_up:
            again = f"given up, it stays on {way.source}"
        elif way.was_cut_over:
            again = f"the rest of it from {way.source}"
        to = record.other or way.target if way.is_given_up else way.target
        return self.hands.entry(Event.MOVING, plan, way.source, way.source, to, message=again)

    def _make(self, moves: Sequence[Move]) -> tuple[list[Move], list[TenantPlan]]:
        """Make the databases that are missing on the new targets, as any other."""
        making = [
            replace(move.plan, target=move.way.target, changes=changes, retention=_wanted(changes))
            for move in moves
            if (changes := tuple(c for c in move.plan.changes if c.action is not Action.MOVE))
        ]
        if not making:
            return [*moves], []
        before = replace(self.hands.draft, settled={})
        after = carry_out(making, before, self.hands.order, self.hands.context)
        self.hands.draft = replace(after, settled=self.hands.draft.settled)
        made = {plan.tenant: after.settled.get(plan.tenant) for plan in making}
        ready, again = [], []
        for move in moves:
            tenant = move.plan.tenant
            if tenant not in made:
                ready.append(move)
                continue
            result = made[tenant]
            if result is None:
                again += self._elsewhere(move)
                continue
            move.made = result.outcomes
            if result.verdict is Verdict.CHANGED:
                ready.append(move)
            elif self.hands.context.over is None:
                finding = result.finding
                message = finding.message if finding else result.verdict.value
                self._not_made(move, Failed(message, finding.remedy if finding else ""))
        # Whose making the end of the run has interrupted is told as whose copying it has.
        self.hands.context.check()
        return ready, again

    def _elsewhere(self, move: Move) -> list[TenantPlan]:
        """Return a plan for a tenant whose new target took nothing more; none where it ends."""
        target = move.way.target
        why = self.hands.draft.observed.closed.get(target, "it is full")
        failed = Failed(f"no place left: {target} is full ({why})", kind=Kind.OVER_CAPACITY)
        if self.hands.goal.to is not None:
            self._not_made(move, failed)
            return []
        self.planner.close(move.way.source, target, why)
        if not self.hands.write({move.plan.tenant: (move, self._back(move), None)}):
            return []
        plan = self.planner.one(replace(move.plan, verdict=Verdict.OK, notes=()))
        self.hands.tenants[plan.tenant] = plan
        return [plan] if plan.changes else []

    def _not_made(self, move: Move, failed: Failed) -> None:
        """End a move whose database could not be made: where nothing is there, it is none."""
        is_there = any(o.effect or o.status in (Status.UNKNOWN, Status.DONE) for o in move.made)
        if is_there or move.progress:
            self.hands.fail(move, failed)
            return
        record = replace(self._back(move), error=failed.message, tries=move.record.tries + 1)
        if self.hands.write({move.plan.tenant: (move, record, self.hands.failure(move, failed))}):
            self.hands.settle(move.plan, failed, Status.SKIPPED, move.made)

    @staticmethod
    def _back(move: Move) -> Record:
        """Return the record of a tenant as it was before this run."""
        assert move.plan.record is not None
        return replace(move.plan.record, version=move.record.version)

    def _give_up(self, move: Move) -> None:
        """End a move that somebody does not want any more; what was copied is dropped later."""
        record = move.record
        inventory = self.hands.draft.observed.inventories.get(record.other or "")
        is_there = record.other in self.hands.handles  # or nobody knows
        if inventory is not None:
            is_there = record.database in inventory.databases
        due = self.hands.now() + timedelta(seconds=self.hands.goal.retire_after)
        after = replace(
            record,
            state=State.READY,
            other=record.other if is_there else None,
            other_identity=record.other_identity if is_there else None,
            due=due if is_there else None,
            progress="",
            error="",
            tries=0,
        )
        message = f"what was copied is kept until {moment(due)}"
        entry = self.hands.entry(Event.RETIRING, move.plan, record.other, message=message)
        if self.hands.write({move.plan.tenant: (move, after, entry if is_there else None)}):
            message = f"it stays on {move.way.source}"
            if is_there:
                message += f"; what was copied to {record.other} may be dropped after {moment(due)}"
            kept = due if is_there else None
            self.hands.done(move, move.way.source, message, due=kept, given_up=True)


def _wanted(changes: Sequence[Change]) -> Retention | Unmanaged:
    """Return the retention period that a database should have on its new target."""
    after = changes[0].after
    known = after is not None and changes[0].action is Action.CREATE
    if not known or after is None or isinstance(after.retention, Unknown):
        return UNMANAGED
    return after.retention
