"""The tenants that a run is moving, and how each ends: in the ledger, and in what is told."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from influxops.domain.change import Action, ChangeResult, Outcome
from influxops.domain.copy import CopyProgress
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.hint import Hint
from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.domain.record import Event, HistoryEntry, LedgerUpdate, Record, State
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.move.copy import facts
from influxops.reconcile.move.route import MoveRequest, Route, is_cut_over
from influxops.reconcile.plan.recorded import busy
from influxops.reconcile.request import GRACE, RunRequest
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext


class MoveProgress:
    """One tenant on its way."""

    def __init__(self, plan: TenantPlan, route: Route, record: Record) -> None:
        self.plan, self.route, self.record = plan, route, record
        self.made: tuple[Outcome, ...] = ()  # what was made on the new target
        self.began = time.monotonic()
        self.kept = self.began  # when the ledger was last told how far it is
        self.progress = record.progress
        self.copied = ""  # the progress of the copy that was cut over
        self.rows = self.bytes = 0  # what was copied, by all calls
        self.now = CopyProgress()  # what the call that is under way said last
        self.last = CopyProgress()  # what the last call that ended said
        self.notes: dict[str, Finding] = {}
        self.cut_at = 0.0  # when it was cut over, or taken up again after that
        self.passes = 0  # passes since every client must have looked its place up anew
        self.is_paused = False  # whether nobody writes meanwhile, as was said and tested
        #: Whether an earlier run has begun it, so that the new place may hold newer rows by now.
        self.is_taken_up = (
            plan.record is not None
            and plan.record.state is State.MOVING
            and not any(change.action is Action.CREATE for change in plan.changes)
        )
        self.is_ahead = False  # whether it does: then only what it lacks is copied

    @property
    def counted(self) -> CopyProgress:
        """What was copied so far."""
        last = self.last if self.last.done else self.now
        return replace(last, rows=self.rows + self.now.rows, bytes=self.bytes + self.now.bytes)

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
    """One tenant cannot go on.

    Args:
        message: Why.
        remedy: What to do before it goes on.
        kind: What kind of finding that is.
        again: How it goes on; None for the same command as before.
    """

    def __init__(
        self,
        message: str,
        remedy: object = "",
        *,
        kind: FindingKind = FindingKind.CHANGE_FAILED,
        again: Hint | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.remedy, self.kind, self.again = message, remedy, kind, again


class ClaimLost(MoveFailed):
    """Another run has the tenant in its hands."""

    def __init__(self, record: Record) -> None:
        super().__init__("another run has it", kind=FindingKind.CLAIMED)
        self.record = record


class MovesInProgress:
    """What a run that moves tenants has in its hands, and knows of all of them.

    Args:
        goal: What the move is for.
        state: What is known when it begins.
    """

    def __init__(
        self, goal: MoveRequest, state: RunState, request: RunRequest, context: RunContext
    ) -> None:
        assert request.ledger is not None
        self.goal, self.request, self.context, self.ledger = goal, request, context, request.ledger
        self.handles = {handle.name: handle for handle in request.targets}
        # These change while the run goes on: each tenant costs the same, however many there are.
        self.tenants = dict(state.plan.tenants)
        self.settled = dict(state.settled)
        self.records = dict(state.observed.ledger_view.records)
        self.state = state
        self.open: dict[str, MoveProgress] = {}
        self._began = time.monotonic()

    @property
    def known(self) -> RunState:
        """What is known by now."""
        ledger_view = replace(self.state.observed.ledger_view, records=self.records)
        return replace(
            self.state,
            observed=replace(self.state.observed, ledger_view=ledger_view),
            plan=replace(self.state.plan, tenants=self.tenants),
            settled=self.settled,
            recorded=frozenset(self.settled),
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
        """Say that a tenant is where it is to be.

        Args:
            move: Its move, which the ledger knows to have ended.
            target: Where it is.
            message: What was done.
            due: When the other copy may be dropped; None where there is none.
            given_up: Whether it was to stay after all.
        """
        route, plan = move.route, move.plan
        seconds = round(time.monotonic() - move.began, 3)
        note = Finding(
            FindingKind.MOVING if given_up else FindingKind.MOVED,
            Severity.INFO,
            message,
            tenant=plan.tenant,
            target=target,
            database=plan.database,
            facts=facts(
                route.source, route.target, move.counted, seconds=seconds, old_copy_due=due
            ),
        )
        inventory = self.state.observed.inventories.get(target)
        assert plan.move is not None
        done = Outcome(plan.move, ChangeResult.DONE, message)
        self.settled[plan.tenant] = replace(
            plan,
            status=TenantStatus.CHANGED,
            target=target,
            after=inventory.databases.get(plan.database) if inventory else plan.after,
            outcomes=(*move.made, done),
            notes=(*plan.notes, note, *move.noticed()),
            finding=None,
        )
        self.open.pop(plan.tenant, None)

    def fail(
        self, move: MoveProgress, failed: MoveFailed, *, kind: FindingKind | None = None
    ) -> None:
        """End one tenant's move for now: it goes on from there when it is run again."""
        tenant = move.plan.tenant
        if isinstance(failed, ClaimLost):
            self.open.pop(tenant, None)
            self.tenants[tenant] = busy(replace(move.plan, changes=()), failed.record)
        elif self.write({tenant: (move, self._left(move, failed), self.failure(move, failed))}):
            self._say_failed(move, failed, kind or failed.kind)

    def _say_failed(self, move: MoveProgress, failed: MoveFailed, kind: FindingKind) -> None:
        if is_cut_over(move.record):
            stands = (
                f"it is on {move.route.target}, and the last rows on {move.route.source} are open"
            )
        else:
            stands = f"it stays on {move.route.source}, where all of it is"
        message = f"moving it to {move.route.target} did not end: {failed.message}; {stands}"
        again = failed.again or Hint.command(
            f"move {shlex.quote(move.plan.tenant)} --to {move.route.target}",
            f"{failed.remedy}, then go on with {{}}" if failed.remedy else "go on with {}",
        )
        told = MoveFailed(message, again, kind=kind)
        self.settle(move.plan, told, ChangeResult.FAILED, move.made, move)

    @staticmethod
    def _left(move: MoveProgress, failed: MoveFailed) -> Record:
        """Return the record of a tenant that is left on its way, to go on from there."""
        tries = move.record.attempts + 1
        return replace(move.record, progress=move.progress, error=failed.message, attempts=tries)

    def failure(self, move: MoveProgress, failed: MoveFailed) -> HistoryEntry:
        """Return the line of the history that says why a move did not end."""
        ended, place = ChangeResult.FAILED.value, move.record.target
        return self.request.entry(
            Event.MOVING, move.plan, place, ended=ended, message=failed.message
        )

    def write(self, ended: Mapping[str, tuple[MoveProgress, Record, HistoryEntry | None]]) -> bool:
        """Write the records of tenants, and let go of them.

        Returns:
            Whether the ledger has all of them now; the others are settled.
        """
        records = tuple(record for _, record, _ in ended.values())
        entries = tuple(entry for _, _, entry in ended.values() if entry is not None)
        try:
            writing = LedgerUpdate(records, entries=entries)
            found = self.ledger.commit(writing, self.context.or_grace(GRACE))
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
                changed = MoveFailed("its record was changed meanwhile")
                self._say_failed(move, changed, FindingKind.CLAIMED)
            else:
                self.tenants[tenant] = busy(replace(move.plan, changes=()), found[tenant])
        return whole

    def _not_recorded(self, move: MoveProgress, error: InfluxopsError) -> None:
        """Say that the ledger could not be told where a tenant stands."""
        tenant = move.plan.tenant
        self.open.pop(tenant, None)
        message = f"the ledger could not be told how far its move is: {error.message}"
        again = Hint.command(
            f"move {shlex.quote(tenant)} --to {move.route.target}",
            "see to the ledger, then go on with {}",
        )
        failed = MoveFailed(message, again, kind=FindingKind.FAILED_LEDGER)
        self.settle(move.plan, failed, ChangeResult.UNKNOWN, move.made, move)

    def settle(
        self,
        plan: TenantPlan,
        failed: MoveFailed,
        status: ChangeResult,
        made: tuple[Outcome, ...] = (),
        move: MoveProgress | None = None,
    ) -> None:
        """Say why a tenant was not moved."""
        is_over = move is not None and is_cut_over(move.record)
        target = move.route.target if move is not None and is_over else plan.target
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
        notes = move.noticed() if move is not None else ()
        if move is not None:
            known = facts(move.route.source, move.route.target, move.counted)
            finding = replace(finding, facts=known)
        self.settled[plan.tenant] = replace(
            plan,
            status=TenantStatus.UNKNOWN if status is ChangeResult.UNKNOWN else TenantStatus.FAILED,
            target=target,
            after=plan.before,
            finding=finding,
            outcomes=(*made, outcome),
            notes=(*plan.notes, *notes),
        )

    def interrupted(self, error: Interrupted) -> None:
        """Note how far all is that the run has in its hands, and let go of it."""
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
                self._say_failed(move, failed, FindingKind.INTERRUPTED)

    def warn(self, move: MoveProgress, message: str, remedy: str) -> None:
        """Note what somebody should know of a move."""
        move.notes[message] = Finding(
            FindingKind.MOVING,
            Severity.WARNING,
            message,
            remedy,
            move.plan.tenant,
            move.route.source,
            move.plan.database,
        )

    def has(self, target: str | None, database: str) -> bool:
        """Return whether a target was read and holds a database."""
        inventory = self.state.observed.inventories.get(target or "")
        return inventory is not None and database in inventory.databases

    def now(self) -> datetime:
        """Return the time by the ledger's clock."""
        ledger_view = self.state.observed.ledger_view
        return ledger_view.now + timedelta(seconds=time.monotonic() - self._began)


def is_written(record: Record, found: Record) -> bool:
    """Return whether a record stands as it was written."""
    return found.version > record.version and (
        found.state,
        found.target,
        found.secondary_target,
    ) == (
        record.state,
        record.target,
        record.secondary_target,
    )
