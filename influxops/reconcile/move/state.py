"""State of the moves in progress, and how each result is recorded and reported."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from influxops.domain.copy import CopyProgress
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint, typed
from influxops.domain.plan import Action, ChangeResult, Outcome, TenantPlan, TenantStatus
from influxops.domain.record import (
    BACK,
    Event,
    HistoryEntry,
    LedgerUpdate,
    Record,
    State,
    percent_of,
)
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.move.copy import facts
from influxops.reconcile.move.plan import MoveRequest, route_of
from influxops.reconcile.plan.recorded import busy, is_cut_over, is_move_back
from influxops.reconcile.request import GRACE
from influxops.reconcile.state import RunState


class MoveProgress:
    """One tenant that is being moved."""

    def __init__(self, plan: TenantPlan, record: Record) -> None:
        self.plan, self.route, self.record = plan, route_of(plan), record
        self.made: tuple[Outcome, ...] = ()  # what was made on the new target
        self.started_at = time.monotonic()
        self.last_saved_at = self.started_at  # when its progress was last recorded in the ledger
        self.is_back = is_move_back(record)  # whether it goes back to its old copy
        self.progress = percent_of(record.progress)[1]
        self.copied = ""  # the progress of the copy that was cut over
        self.rows = self.bytes = 0  # what was copied, by all calls
        self.now = CopyProgress()  # what the call that is under way said last
        self.last = CopyProgress()  # what the last call that ended said
        self.notes: dict[str, Finding] = {}
        self.cut_at = 0.0  # when it was cut over, or taken up again after that
        self.safe_at = 0.0  # from when on no client writes to its old target any more
        self.is_routed = False  # whether proxies have said so
        self.passes = 0  # passes since all clients must have looked its target up again
        self.writers_paused = False  # whether its writers are paused, as was said and tested
        self.is_written_to = False  # whether the test has shown that they are not
        self.looked_at = 0.0  # when that was first looked at
        self.quiet_since = 0.0  # when a row was found last
        #: Whether an earlier run has begun it, so that the new target may hold newer rows.
        self.is_taken_up = (
            plan.record is not None
            and plan.record.state is State.MOVING
            and not any(change.action is Action.CREATE for change in plan.changes)
        )
        #: Whether the new target holds newer rows: then only rows that it lacks are copied.
        self.is_ahead = False
        #: Whether a write of its copy was abandoned, and may still arrive: its claim stays.
        self.is_abandoned = False

    @property
    def recorded_progress(self) -> str:
        """How far it is, as the ledger has it."""
        rows, total = self.now.rows, self.now.total or 0
        percent = f"{100 * rows // total}% " if self.progress and total >= rows and total else ""
        return f"{BACK * self.is_back}{percent}{self.progress}"

    @property
    def counted(self) -> CopyProgress:
        """What was copied so far."""
        last = self.last if self.last.done else self.now
        return replace(last, rows=self.rows + self.now.rows, bytes=self.bytes + self.now.bytes)

    @property
    def ended_as(self) -> ChangeResult:
        """How it ended where it did not end well."""
        return ChangeResult.UNKNOWN if self.is_abandoned else ChangeResult.FAILED

    def noticed(self) -> tuple[Finding, ...]:
        """Return what was noticed while it was copied, and not before."""
        known = {note.message for note in self.plan.notes}
        return tuple(note for message, note in self.notes.items() if message not in known)

    def ended(self, copied: CopyProgress) -> None:
        """Count what a call copied."""
        self.rows += copied.rows
        self.bytes += copied.bytes
        self.last, self.now = copied, CopyProgress()


class MoveFailed(Exception):
    """One tenant cannot go on before its remedy; `again` is how, if not by the same command."""

    def __init__(
        self,
        message: str,
        remedy: str | Hint = "",
        *,
        kind: FindingKind = FindingKind.CHANGE_FAILED,
        again: Hint | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.remedy, self.kind, self.again = message, remedy, kind, again


class ClaimLost(MoveFailed):
    """Another run has claimed the tenant."""

    def __init__(self, record: Record) -> None:
        super().__init__("another run has it", kind=FindingKind.CLAIMED)
        self.record = record


class MovesInProgress:
    """What a run knows of the tenants that it moves, which it has claimed."""

    def __init__(self, goal: MoveRequest, state: RunState) -> None:
        request, context = state.request, state.context
        assert request.ledger is not None
        self.goal, self.request, self.context, self.ledger = goal, request, context, request.ledger
        self.handles = {handle.name: handle for handle in request.targets}
        # These change while the run goes on: each tenant costs the same, however many there are.
        self.tenants = dict(state.plans)
        self.settled = dict(state.settled)
        self.records = dict(state.ledger_view.records)
        self.state = state
        self.open: dict[str, MoveProgress] = {}
        self.kept: set[str] = set()  # whose claims stay
        self._began = time.monotonic()

    @property
    def known(self) -> RunState:
        """What is known by now."""
        ledger_view = replace(self.state.ledger_view, records=self.records)
        return replace(
            self.state,
            ledger_view=ledger_view,
            plans=self.tenants,
            settled=self.settled,
            recorded=self.settled.keys(),
            kept=frozenset(self.kept),
        )

    def done(
        self,
        move: MoveProgress,
        target: str,
        message: str,
        *,
        due: datetime | None = None,
        given_up: bool = False,
    ) -> None:
        """Report a tenant whose move has ended, or was given up, as the ledger has recorded.

        At `due` the other copy may be dropped, if there is one.
        """
        plan, kind = move.plan, FindingKind.MOVING if given_up else FindingKind.MOVED
        seconds = round(time.monotonic() - move.started_at, 3)
        known = facts(move.route, move.counted, seconds=seconds, old_copy_due=due)
        note = plan.info(kind, message, target=target, facts=known)
        inventory = self.state.inventories.get(target)
        assert plan.move is not None
        self.settled[plan.tenant] = replace(
            plan,
            status=TenantStatus.CHANGED,
            target=target,
            after=inventory.databases.get(plan.database) if inventory else plan.after,
            outcomes=(*move.made, Outcome(plan.move, ChangeResult.DONE, message)),
            notes=(*plan.notes, note, *move.noticed()),
            finding=None,
        )
        self.open.pop(plan.tenant, None)

    def fail(self, move: MoveProgress, failed: MoveFailed) -> None:
        """Stop one tenant's move, and record its progress: the next run continues from there."""
        tenant = move.plan.tenant
        if isinstance(failed, ClaimLost):
            self.open.pop(tenant, None)
            self.tenants[tenant] = busy(move.plan, failed.record)
        elif self.write({tenant: (move, self._left(move, failed), self.failure(move, failed))}):
            self._report_failed(move, failed, failed.kind)

    def _report_failed(self, move: MoveProgress, failed: MoveFailed, kind: FindingKind) -> None:
        source, target = move.route.source, move.route.target
        where = f"it stays on {source}, where all of it is"
        if is_cut_over(move.record):
            where = f"it is on {target}, and the last rows on {source} are open"
        if move.is_abandoned:
            where += "; what was written last may still arrive at the copy"
        message = f"moving it to {target} did not end: {failed.message}; {where}"
        again = failed.again or Hint.command(
            typed("move", move.plan.tenant, options=f"--to {target}"),
            f"{failed.remedy}, then go on with {{}}" if failed.remedy else "go on with {}",
        )
        reported = MoveFailed(message, again, kind=kind)
        self.resolve(move.plan, reported, move.ended_as, move.made, move)

    @staticmethod
    def _left(move: MoveProgress, failed: MoveFailed) -> Record:
        """Return the record of a tenant whose move stops here, with its progress."""
        attempts = move.record.attempts + 1
        progress = move.recorded_progress
        return replace(move.record, progress=progress, error=failed.message, attempts=attempts)

    @staticmethod
    def ended(move: MoveProgress, due: datetime | None, progress: str = "", **more: Any) -> Record:
        """Return the record of a tenant whose move has ended."""
        record = move.record
        return replace(
            record,
            state=State.READY,
            secondary_target=record.secondary_target if due else None,
            secondary_identity=record.secondary_identity if due else None,
            drop_after=due,
            progress=progress,
            error="",
            attempts=0,
            **more,
        )

    def due(self) -> datetime:
        """Return when a copy that is left now may be dropped."""
        return self.now() + timedelta(seconds=self.goal.retire_after)

    def failure(self, move: MoveProgress, failed: MoveFailed) -> HistoryEntry:
        """Return the line of the history that says why a move did not end."""
        return self.request.entry(
            Event.MOVING,
            move.plan,
            move.record.target,
            ended=move.ended_as.value,
            message=failed.message,
        )

    def write(self, ended: Mapping[str, tuple[MoveProgress, Record, HistoryEntry | None]]) -> bool:
        """Write the records of tenants, and release their claims; some have to stay.

        Each failure is reported for its tenant; whether the ledger has all of them now is returned.
        """
        records = tuple(record for move, record, _ in ended.values() if not move.is_abandoned)
        kept = [record for move, record, _ in ended.values() if move.is_abandoned]
        entries = tuple(entry for _, _, entry in ended.values() if entry is not None)
        self.kept.update(record.tenant for record in kept)
        context = self.context.with_grace_period(GRACE)
        try:
            found = self.ledger.claim(kept, context) if kept else {}
            found |= self.ledger.commit(LedgerUpdate(records, entries=entries), context)
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
            if is_written(record, found[tenant]):
                continue
            whole = False
            if found[tenant].claimed_by in ("", self.context.id):
                changed = MoveFailed("its record was changed in the meantime")
                self._report_failed(move, changed, FindingKind.CLAIMED)
            else:
                self.tenants[tenant] = busy(move.plan, found[tenant])
        return whole

    def _not_recorded(self, move: MoveProgress, error: InfluxopsError) -> None:
        """Report that the ledger could not record where a tenant is."""
        tenant = move.plan.tenant
        self.open.pop(tenant, None)
        message = f"the progress of its move could not be recorded: {error.message}"
        again = typed("move", tenant, options=f"--to {move.route.target}")
        remedy = Hint.command(again, "fix the ledger, then continue with {}")
        failed = MoveFailed(message, remedy, kind=FindingKind.FAILED_LEDGER)
        self.resolve(move.plan, failed, ChangeResult.UNKNOWN, move.made, move)

    def resolve(
        self,
        plan: TenantPlan,
        failed: MoveFailed,
        status: ChangeResult,
        made: tuple[Outcome, ...] = (),
        move: MoveProgress | None = None,
    ) -> None:
        """Report why a tenant was not moved."""
        target, more, notes = plan.target, {}, plan.notes
        if move is not None:
            target = move.route.target if is_cut_over(move.record) else target
            more, notes = facts(move.route, move.counted), (*notes, *move.noticed())
        finding = plan.error(failed.kind, failed.message, failed.remedy, target=target, facts=more)
        assert plan.move is not None
        is_unknown = status is ChangeResult.UNKNOWN
        self.settled[plan.tenant] = replace(
            plan,
            status=TenantStatus.UNKNOWN if is_unknown else TenantStatus.FAILED,
            target=target,
            after=plan.before,
            finding=finding,
            outcomes=(*made, Outcome(plan.move, status, failed.message, failed.remedy)),
            notes=notes,
        )

    def interrupted(self, error: Interrupted) -> None:
        """Record how far all open moves are, and release their claims."""
        failed = MoveFailed(error.message)
        moves = dict(self.open)
        ended = {
            tenant: (move, self._left(move, failed), self.failure(move, failed))
            for tenant, move in moves.items()
        }
        try:
            self.write(ended)
        except Interrupted:
            return  # no time is left; the ledger knows how far they were a moment ago
        for tenant, move in moves.items():
            if tenant not in self.settled and self.tenants[tenant].changes:
                self._report_failed(move, failed, FindingKind.INTERRUPTED)

    def warn(self, move: MoveProgress, message: str, remedy: str) -> None:
        """Note what a person should know of a move."""
        source = move.route.source
        move.notes[message] = move.plan.warning(FindingKind.MOVING, message, remedy, target=source)

    def now(self) -> datetime:
        """Return the time by the ledger's clock."""
        ledger_view = self.state.ledger_view
        return ledger_view.now + timedelta(seconds=time.monotonic() - self._began)


def is_written(record: Record, found: Record) -> bool:
    """Return whether a record is as it was written."""
    now = (found.state, found.target, found.secondary_target)
    wanted = (record.state, record.target, record.secondary_target)
    return found.version > record.version and now == wanted
