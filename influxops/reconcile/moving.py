"""Moving tenants: make room, copy, cut over, copy the rest; each step is recorded before the next.

    ready ─▶ moving: other = where it goes ─▶ copy ─▶ cut-over: target = where it went,
             other = where it was ─▶ passes for the rest ─▶ ready, the old copy retiring

The cut-over is one write to the ledger. Who is killed between two steps leaves a record that says
which one is next; what a tenant's clients are told, `target`, holds all of its rows at any time.
"""

from __future__ import annotations

import heapq
import math
import shlex
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from influxops.context import Context
from influxops.errors import InfluxopsError, Interrupted, LedgerError
from influxops.findings import Finding, Kind, Severity
from influxops.ledger import Entry, Event, Record, State, Writing
from influxops.model import (
    UNMANAGED,
    Action,
    Change,
    Copied,
    CopyOrder,
    Outcome,
    Retention,
    Status,
    TenantPlan,
    Unknown,
    Unmanaged,
    Verdict,
)
from influxops.reconcile import run
from influxops.reconcile.copying import about, copy, facts, size, took
from influxops.reconcile.move import Goal, Planner, Way, is_cut_over, look_ahead, way_of
from influxops.reconcile.observe import Observed
from influxops.reconcile.plan import Plan
from influxops.reconcile.remembered import busy
from influxops.reconcile.run import GRACE, Draft, Order
from influxops.remedy import Remedy
from influxops.text import count, moment

#: So many tenants get their databases at once, before they are copied one after the other.
_AT_ONCE = 16
#: Seconds between two notes in the ledger of how far copying is.
_EVERY = 5.0
#: Seconds between two passes that look whether anything is new.
_BETWEEN = 5.0
#: After so many passes of which each found something, somebody is told who still writes.
_PASSES = 12


class Mover:
    """Plans and carries out moves; what `Order` takes as planner and carrier.

    Args:
        goal: What the move is for.
    """

    def __init__(self, goal: Goal) -> None:
        self.goal = goal

    def plan(
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
            tenants[each.tenant] = look_ahead(each, self._planner.handles, context)
            context.on_progress(1)
        return replace(plan, tenants=tenants)

    def carry_out(self, draft: Draft, order: Order, context: Context) -> Iterator[Draft]:
        """Move whom the plan says; yield what is known at the end, or when the run is over.

        Raises:
            Interrupted: When the run is over.
        """
        work = _Work(self.goal, self._planner, draft, order, context)
        try:
            work.through()
        except Interrupted as error:
            work.interrupted(error)
            yield work.known
            raise
        yield work.known


class _Move:
    """One tenant on its way."""

    def __init__(self, plan: TenantPlan, way: Way, record: Record) -> None:
        self.plan, self.way, self.record = plan, way, record
        self.made: tuple[Outcome, ...] = ()  # what was made on the new target
        self.began = time.monotonic()
        self.kept = self.began  # when the ledger was last told how far it is
        self.progress = record.progress
        self.rows = self.bytes = 0  # what was copied, by all calls
        self.now = Copied()  # what the call that is under way said last
        self.last = Copied()  # what the last call that ended said
        self.notes: dict[str, Finding] = {}
        self.cut_at = 0.0  # when it was cut over, or taken up again after that
        self.passes = 0  # passes since every client must have looked its place up anew
        self.is_paused = False  # whether nobody writes meanwhile, as was said and tested

    @property
    def counted(self) -> Copied:
        """What was copied so far."""
        last = self.last if self.last.done else self.now
        return replace(last, rows=self.rows + self.now.rows, bytes=self.bytes + self.now.bytes)

    def ended(self, copied: Copied) -> None:
        """Count what a call copied."""
        self.rows += copied.rows
        self.bytes += copied.bytes
        self.last, self.now = copied, Copied()


class _Failed(Exception):
    """One tenant cannot go on."""

    def __init__(self, message: str, remedy: object = "", *, kind: Kind = Kind.FAILED_CHANGE):
        super().__init__(message)
        self.message, self.remedy, self.kind = message, remedy, kind


class _Queued(Struct, order=True, frozen=True):
    """A move that was cut over, and when its next pass is due."""

    at: float
    number: int


class _Work:
    """All moves of a run."""

    def __init__(
        self,
        goal: Goal,
        planner: Planner,
        draft: Draft,
        order: Order,
        context: Context,
    ) -> None:
        assert order.ledger is not None
        self.goal, self.planner = goal, planner
        self.order, self.context, self.ledger = order, context, order.ledger
        self.handles = planner.handles
        # These change while the run goes on: each tenant costs the same, however many there are.
        self.tenants = dict(draft.plan.tenants)
        self.settled = dict(draft.settled)
        self.records = dict(draft.observed.recalled.records)
        planner.recalled = replace(planner.recalled, records=self.records)
        self.draft = draft
        self.open: dict[str, _Move] = {}  # those that this run has in its hands
        self.waiting: list[_Queued] = []
        self._moves: dict[int, _Move] = {}
        self._began = time.monotonic()

    @property
    def known(self) -> Draft:
        """What is known by now."""
        recalled = replace(self.draft.observed.recalled, records=self.records)
        return replace(
            self.draft,
            observed=replace(self.draft.observed, recalled=recalled),
            plan=replace(self.draft.plan, tenants=self.tenants),
            settled=self.settled,
            recorded=frozenset(self.settled),
        )

    def through(self) -> None:
        """Move all of them: what waits for its next pass goes before the next copy."""
        to_do = deque(plan for plan in self.tenants.values() if plan.changes)
        ready: deque[_Move] = deque()
        while to_do or ready or self.waiting:
            self.context.check()
            if self.waiting and (self.waiting[0].at <= time.monotonic() or not (ready or to_do)):
                queued = heapq.heappop(self.waiting)
                self._pause_until(queued.at)
                self._step(self._moves.pop(queued.number))
            elif ready:
                self._step(ready.popleft())
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
        self.context.on_stage(what, seconds)
        while (left := at - time.monotonic()) > 0:
            self.context.pause(min(left, 1.0))
            self.context.on_progress(1)
        self.context.on_stage("", 0)

    # Before anything is copied ---------------------------------------------------------------

    def _begin(self, batch: Sequence[TenantPlan]) -> tuple[list[_Move], list[TenantPlan]]:
        """Take tenants into this run's hands, and make their databases.

        Returns:
            Those that can be copied now, and those that need another place.
        """
        plans = []
        for plan in batch:
            ahead = look_ahead(plan, self.handles, self.context)
            self.tenants[plan.tenant] = ahead
            if ahead.changes:
                # How much there is stands in what is told at the end.
                notes = tuple(n for n in ahead.notes if n.kind is not Kind.MOVING)
                plans.append(replace(ahead, notes=notes))
        moves = self._take(plans)
        for move in [move for move in moves if move.way.is_given_up]:
            self._give_up(move)
        moves = [move for move in moves if move.plan.tenant in self.open]
        return self._make(moves)

    def _take(self, plans: Sequence[TenantPlan]) -> list[_Move]:
        """Reserve tenants: from here on they are moving."""
        wanted = {plan.tenant: self._moving(plan) for plan in plans}
        if not wanted:
            return []
        try:
            found = self.ledger.reserve([*wanted.values()], self.context)
            mine = [p for p in plans if found[p.tenant].holder == self.context.id]
            entries = tuple(self._started(plan) for plan in mine)
            self.ledger.record(Writing(entries=entries), self.context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            for plan in plans:
                message = f"not tried: the ledger: {error.message}"
                failed = _Failed(message, error.remedy, kind=Kind.NOT_TRIED)
                self._settle(plan, failed, Status.SKIPPED)
            return []
        self.records.update(found)
        for plan in plans:
            if found[plan.tenant].holder != self.context.id:
                self.tenants[plan.tenant] = busy(
                    replace(plan, changes=(), after=plan.before), found[plan.tenant]
                )
        moves = [_Move(plan, way_of(plan), found[plan.tenant]) for plan in mine]
        self.open.update({move.plan.tenant: move for move in moves})
        return moves

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
            and not any(change.action is Action.CREATE for change in plan.changes)
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
        return self._entry(Event.MOVING, plan, way.source, way.source, to, message=again)

    def _make(self, moves: Sequence[_Move]) -> tuple[list[_Move], list[TenantPlan]]:
        """Make the databases that are missing on the new targets, as any other."""
        making = [
            replace(move.plan, target=move.way.target, changes=changes, retention=_wanted(changes))
            for move in moves
            if (changes := tuple(c for c in move.plan.changes if c.action is not Action.MOVE))
        ]
        if not making:
            return [*moves], []
        before = replace(self.draft, settled={})
        after = run.carry_out(making, before, self.order, self.context)
        self.draft = replace(after, settled=self.draft.settled)
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
            else:
                finding = result.finding
                message = finding.message if finding else result.verdict.value
                self._not_made(move, _Failed(message, finding.remedy if finding else ""))
        return ready, again

    def _elsewhere(self, move: _Move) -> list[TenantPlan]:
        """Return a plan for a tenant whose new target took nothing more; none where it ends."""
        target = move.way.target
        why = self.draft.observed.closed.get(target, "it is full")
        failed = _Failed(f"no place left: {target} is full ({why})", kind=Kind.OVER_CAPACITY)
        if self.goal.to is not None:
            self._not_made(move, failed)
            return []
        self.planner.close(move.way.source, target, why)
        if not self._write({move.plan.tenant: (move, self._back(move), None)}):
            return []
        plan = self.planner.one(replace(move.plan, verdict=Verdict.OK, notes=()))
        self.tenants[plan.tenant] = plan
        return [plan] if plan.changes else []

    def _not_made(self, move: _Move, failed: _Failed) -> None:
        """End a move whose database could not be made: where nothing is there, it is none."""
        is_there = any(o.effect or o.status in (Status.UNKNOWN, Status.DONE) for o in move.made)
        if is_there or move.progress:
            self._fail(move, failed)
            return
        record = replace(self._back(move), error=failed.message, tries=move.record.tries + 1)
        if self._write({move.plan.tenant: (move, record, self._failure(move, failed))}):
            self._settle(move.plan, failed, Status.SKIPPED, move.made)

    @staticmethod
    def _back(move: _Move) -> Record:
        """Return the record of a tenant as it was before this run."""
        assert move.plan.record is not None
        return replace(move.plan.record, version=move.record.version)

    def _give_up(self, move: _Move) -> None:
        """End a move that somebody does not want any more; what was copied is dropped later."""
        record = move.record
        inventory = self.draft.observed.inventories.get(record.other or "")
        is_there = record.other in self.handles  # or nobody knows
        if inventory is not None:
            is_there = record.database in inventory.databases
        due = self._now() + timedelta(seconds=self.goal.retire_after)
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
        entry = self._entry(Event.RETIRING, move.plan, record.other, message=message)
        if self._write({move.plan.tenant: (move, after, entry if is_there else None)}):
            message = f"it stays on {move.way.source}"
            if is_there:
                message += f"; what was copied to {record.other} may be dropped after {moment(due)}"
            kept = due if is_there else None
            self._done(move, move.way.source, message, due=kept, given_up=True)

    # Copying ---------------------------------------------------------------------------------

    def _step(self, move: _Move) -> None:
        """Take the next step of one tenant; what fails ends it alone."""
        try:
            if is_cut_over(move.record):
                self._next_pass(move)
            else:
                self._copy(move)
                self._cut_over(move)
        except Interrupted:
            raise
        except _Failed as failed:
            self._fail(move, failed)
        except InfluxopsError as error:
            self.context.log.debug("moving %s failed", move.plan.database, exc_info=True)
            self._fail(move, _Failed(error.message, error.remedy))

    def _copy(self, move: _Move, *, only_missing: bool = False) -> Copied:
        """Copy once to the end, and note how far it is on the way."""
        source, target = self.handles[move.way.source], self.handles[move.way.target]

        def said(copied: Copied) -> None:
            move.now, move.progress = copied, copied.progress
            if time.monotonic() - move.kept >= _EVERY:
                self._keep(move)

        order = CopyOrder(move.plan.database, None, move.progress, only_missing)
        copied = copy(source, target, order, self.context, said)
        move.ended(copied)
        for finding in copied.findings:
            note = about(move.plan, finding)
            move.notes[note.message] = note
        self._keep(move)
        return copied

    def _keep(self, move: _Move) -> None:
        """Let the ledger know how far a move is, and make sure that it is still this run's.

        Raises:
            _Failed: When another run has it in its hands.
            InfluxopsError: When the ledger cannot be written.
        """
        record = replace(move.record, progress=move.progress)
        found = self.ledger.reserve([record], self.context)[move.plan.tenant]
        self.records[move.plan.tenant] = found
        if found.holder != self.context.id:
            raise _Taken(found)
        move.record, move.kept = found, time.monotonic()

    def _cut_over(self, move: _Move) -> None:
        """Let the ledger say that the tenant is on its new target, in one write."""
        if self.goal.writers_paused:
            move.is_paused = self._is_quiet(move)
        record, now = move.record, self._now()
        after = replace(
            record,
            target=record.other,
            identity=record.other_identity,
            other=record.target,
            other_identity=record.identity,
            due=now + timedelta(seconds=self.goal.retire_after),
            progress="",
            made=now,
            made_by=self.context.id,
            confirmed=now,
        )
        copied = move.counted
        entry = self._entry(
            Event.MOVED,
            move.plan,
            record.other,
            record.target or "",
            record.other or "",
            message=_counted(copied),
        )
        try:
            found = self.ledger.record(Writing((after,), entries=(entry,)), self.context)
            stands = found[move.plan.tenant]
        except LedgerError as error:
            raise _Failed(
                f"whether its place was changed to {record.other} is not known: {error.message}",
                Remedy.command(f"where --recorded {shlex.quote(move.plan.tenant)}", "{} says so"),
            ) from None
        if not _is_written(after, stands):
            raise _Taken(stands)
        move.record, move.progress = stands, ""
        self._keep(move)
        move.cut_at, move.passes = time.monotonic(), 0
        self._queue(move, 0)

    def _is_quiet(self, move: _Move) -> bool:
        """Return whether two passes in a row, some seconds apart, found both sides equal.

        What is as young as the pass before is copied once more whether it is new or not, so that
        it takes some passes until nothing is copied.
        """
        quiet = 0
        for _ in range(_PASSES):
            self.context.pause(_BETWEEN)
            quiet = quiet + 1 if not self._copy(move).rows else 0
            if quiet == 2:
                return True
        self._warn(
            move,
            "its writers are not paused: rows kept coming, so clients were waited for as usual",
            "find out who writes",
        )
        return False

    def _queue(self, move: _Move, seconds: float) -> None:
        number = len(self._moves) and max(self._moves) + 1
        self._moves[number] = move
        heapq.heappush(self.waiting, _Queued(time.monotonic() + seconds, number))

    def _next_pass(self, move: _Move) -> None:
        """Copy what only the old place has; the tenant is done once nothing more can come."""
        if not self._has(move.way.source, move.plan.database):
            self._without_source(move)
            return
        if not move.cut_at:
            move.cut_at = time.monotonic()  # taken up again: clients are waited for anew
        safe = move.cut_at + (0 if move.is_paused else self.goal.cache_ttl)
        began = time.monotonic()
        found = self._copy(move, only_missing=True)
        move.passes += began >= safe
        move.progress = ""
        if found.rows and move.is_paused:
            move.is_paused = False
            self._warn(move, "its writers were not paused: rows came to the old place", "")
        if began >= safe and not found.rows:
            self._finish(move)
        elif began < safe:
            self._queue(move, max(safe - time.monotonic(), 0))
        elif move.passes < _PASSES:
            self._queue(move, _BETWEEN)
        else:
            raise _Failed(
                f"somebody still writes to it on {move.way.source}: the last of {move.passes} "
                f"passes found {count(found.rows, 'new row')}",
                f"let that look the place up anew ({move.way.target}), then run it again",
            )

    def _without_source(self, move: _Move) -> None:
        """End a move whose old place cannot be read any more, as somebody allowed."""
        gone = move.way.source in self.planner.observed.inventories
        what = "is gone" if gone else "cannot be read"
        self._warn(
            move,
            f"its old copy on {move.way.source} {what}: rows that were written there after the "
            "cut-over, and not copied yet, are not here",
            "",
        )
        self._finish(move, keep=not gone)

    def _finish(self, move: _Move, *, keep: bool = True) -> None:
        """The tenant is where it should be, with all its rows; its old copy is kept for a while."""
        record = move.record
        due = self._now() + timedelta(seconds=self.goal.retire_after)
        after = replace(
            record,
            state=State.READY,
            other=record.other if keep else None,
            other_identity=record.other_identity if keep else None,
            due=due if keep else None,
            progress="",
            error="",
            tries=0,
            confirmed=self._now(),
        )
        copied = move.counted
        parts = [f"its old copy is kept until {moment(due)}"] if keep else []
        if copied.conflicts:
            parts.append(f"{count(copied.conflicts, 'conflict')}: kept as {record.target} has them")
        entry = self._entry(Event.RETIRING, move.plan, record.other, message=", ".join(parts))
        if not self._write({move.plan.tenant: (move, after, entry if keep else None)}):
            return
        way, seconds = move.way, time.monotonic() - move.began
        message = f"moved from {way.source} to {way.target}: {_counted(copied)} in {took(seconds)}"
        if copied.expiring:
            message += f"; {count(copied.expiring, 'row')} about to expire not compared"
        if keep:
            message += f"; its old copy may be dropped after {moment(due)}"
        self._done(move, move.way.target, message, due=due if keep else None)

    # How moves end ---------------------------------------------------------------------------

    def _done(
        self,
        move: _Move,
        target: str,
        message: str,
        *,
        due: datetime | None = None,
        given_up: bool = False,
    ) -> None:
        way, plan = move.way, move.plan
        seconds = round(time.monotonic() - move.began, 3)
        note = Finding(
            Kind.MOVING if given_up else Kind.MOVED,
            Severity.INFO,
            message,
            tenant=plan.tenant,
            target=target,
            database=plan.database,
            facts=facts(way.source, way.target, move.counted, seconds=seconds, old_copy_due=due),
        )
        inventory = self.draft.observed.inventories.get(target)
        assert plan.move is not None
        done = Outcome(plan.move, Status.DONE, message)
        self.settled[plan.tenant] = replace(
            plan,
            verdict=Verdict.CHANGED,
            target=target,
            after=inventory.databases.get(plan.database) if inventory else plan.after,
            outcomes=(*move.made, done),
            notes=(*plan.notes, note, *move.notes.values()),
            finding=None,
        )
        self.open.pop(plan.tenant, None)

    def _fail(self, move: _Move, failed: _Failed, *, kind: Kind | None = None) -> None:
        """End one tenant's move for now: it goes on from there when it is run again."""
        tenant = move.plan.tenant
        if isinstance(failed, _Taken):
            self.open.pop(tenant, None)
            self.tenants[tenant] = busy(replace(move.plan, changes=()), failed.record)
        elif self._write({tenant: (move, self._left(move, failed), self._failure(move, failed))}):
            self._say_failed(move, failed, kind or failed.kind)

    def _say_failed(self, move: _Move, failed: _Failed, kind: Kind) -> None:
        if is_cut_over(move.record):
            stands = f"it is on {move.way.target}, and the last rows on {move.way.source} are open"
        else:
            stands = f"it stays on {move.way.source}, where all of it is"
        message = f"moving it to {move.way.target} did not end: {failed.message}; {stands}"
        again = Remedy.command(
            f"move {shlex.quote(move.plan.tenant)} --to {move.way.target}",
            f"{failed.remedy}, then go on with {{}}" if failed.remedy else "go on with {}",
        )
        told = _Failed(message, again, kind=kind)
        self._settle(move.plan, told, Status.FAILED, move.made, move)

    @staticmethod
    def _left(move: _Move, failed: _Failed) -> Record:
        """Return the record of a tenant that is left on its way, to go on from there."""
        tries = move.record.tries + 1
        return replace(move.record, progress=move.progress, error=failed.message, tries=tries)

    def _failure(self, move: _Move, failed: _Failed) -> Entry:
        event = Event.MOVED if is_cut_over(move.record) else Event.MOVING
        ended, to = Status.FAILED.value, move.way.target
        return self._entry(event, move.plan, to, ended=ended, message=failed.message)

    def _write(self, ended: Mapping[str, tuple[_Move, Record, Entry | None]]) -> bool:
        """Write the records of tenants, and let go of them.

        Returns:
            Whether the ledger has all of them now; the others are settled.
        """
        records = tuple(record for _, record, _ in ended.values())
        entries = tuple(entry for _, _, entry in ended.values() if entry is not None)
        try:
            writing = Writing(records, entries=entries)
            found = self.ledger.record(writing, self.context.or_grace(GRACE))
        except Interrupted:
            raise
        except InfluxopsError as error:
            for move, _, _ in ended.values():
                self._not_recorded(move, error)
            return False
        self.records.update(found)
        whole = True
        for tenant, (move, record, _) in ended.items():
            self.open.pop(tenant, None)
            move.record = found[tenant]
            if _is_written(record, found[tenant]):
                continue
            whole = False
            if found[tenant].holder in ("", self.context.id):
                changed = _Failed("its record was changed meanwhile")
                self._say_failed(move, changed, Kind.BUSY)
            else:
                self.tenants[tenant] = busy(replace(move.plan, changes=()), found[tenant])
        return whole

    def _not_recorded(self, move: _Move, error: InfluxopsError) -> None:
        """Say that the ledger could not be told where a tenant stands."""
        tenant = move.plan.tenant
        self.open.pop(tenant, None)
        message = f"the ledger could not be told how far its move is: {error.message}"
        again = Remedy.command(
            f"move {shlex.quote(tenant)} --to {move.way.target}",
            "see to the ledger, then go on with {}",
        )
        failed = _Failed(message, again, kind=Kind.FAILED_LEDGER)
        self._settle(move.plan, failed, Status.UNKNOWN, move.made, move)

    def _settle(
        self,
        plan: TenantPlan,
        failed: _Failed,
        status: Status,
        made: tuple[Outcome, ...] = (),
        move: _Move | None = None,
    ) -> None:
        """Say why a tenant was not moved."""
        is_over = move is not None and is_cut_over(move.record)
        target = move.way.target if move is not None and is_over else plan.target
        finding = Finding(
            failed.kind,
            Severity.ERROR,
            failed.message,
            failed.remedy,
            plan.tenant,
            target,
            plan.database,
        )
        assert plan.move is not None
        outcome = Outcome(plan.move, status, failed.message, failed.remedy)
        notes = tuple(move.notes.values()) if move is not None else ()
        if move is not None:
            known = facts(move.way.source, move.way.target, move.counted)
            finding = replace(finding, facts=known)
        self.settled[plan.tenant] = replace(
            plan,
            verdict=Verdict.UNKNOWN if status is Status.UNKNOWN else Verdict.FAILED,
            target=target,
            after=plan.before,
            finding=finding,
            outcomes=(*made, outcome),
            notes=(*plan.notes, *notes),
        )

    def interrupted(self, error: Interrupted) -> None:
        """Note how far all is that the run has in its hands, and let go of it."""
        failed = _Failed(error.message)
        moves = dict(self.open)
        ended = {
            tenant: (move, self._left(move, failed), self._failure(move, failed))
            for tenant, move in moves.items()
        }
        try:
            self._write(ended)
        except Interrupted:
            return  # no time is left; the ledger knows how far they were a moment ago
        for tenant, move in moves.items():
            if tenant not in self.settled and self.tenants[tenant].changes:
                self._say_failed(move, failed, Kind.INTERRUPTED)

    # Small things ----------------------------------------------------------------------------

    def _warn(self, move: _Move, message: str, remedy: str) -> None:
        move.notes[message] = Finding(
            Kind.MOVING,
            Severity.WARNING,
            message,
            remedy,
            move.plan.tenant,
            move.way.source,
            move.plan.database,
        )

    def _has(self, target: str | None, database: str) -> bool:
        inventory = self.draft.observed.inventories.get(target or "")
        return inventory is not None and database in inventory.databases

    def _now(self) -> datetime:
        """Return the time by the ledger's clock."""
        recalled = self.draft.observed.recalled
        return recalled.now + timedelta(seconds=time.monotonic() - self._began)

    def _entry(
        self,
        event: Event,
        plan: TenantPlan,
        target: str | None,
        before: str = "",
        after: str = "",
        *,
        ended: str = "done",
        message: str = "",
    ) -> Entry:
        return Entry(
            event,
            plan.tenant,
            target,
            plan.database,
            before,
            after,
            ended,
            message,
            who=self.order.who,
        )


class _Taken(_Failed):
    """Another run has the tenant in its hands."""

    def __init__(self, record: Record) -> None:
        super().__init__("another run has it", kind=Kind.BUSY)
        self.record = record


def _wanted(changes: Sequence[Change]) -> Retention | Unmanaged:
    """Return the retention period that a database should have on its new target."""
    after = changes[0].after
    known = after is not None and changes[0].action is Action.CREATE
    if not known or after is None or isinstance(after.retention, Unknown):
        return UNMANAGED
    return after.retention


def _is_written(record: Record, found: Record) -> bool:
    """Return whether a record stands as it was written."""
    return found.version > record.version and (found.state, found.target, found.other) == (
        record.state,
        record.target,
        record.other,
    )


def _counted(copied: Copied) -> str:
    """Return how much was copied, for people."""
    rows = copied.rows if copied.total is None else copied.total
    words = f"{count(rows, 'row')} in {count(copied.tables, 'table')}"
    return f"{words}, {size(copied.bytes)}" if copied.bytes else words
