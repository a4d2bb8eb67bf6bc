"""Dropping the old copies of moved tenants: each right after a pass that found nothing.

    claimed ─▶ pass ─▶ wait until all that was acknowledged is visible ─▶ pass ─▶ claim ─▶ drop
                 └──────────── found rows: postponed; the third time: held ─┘

One tenant after the other is copied and dropped; only the waits overlap. If the process is killed
between two steps, nothing is dropped without its last pass: the next run begins with the first.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from influxops.domain.copy import CopyProgress, CopyRequest
from influxops.domain.finding import Finding, FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import Action, ChangeResult, Outcome, TenantPlan
from influxops.domain.record import Event, HistoryEntry, LedgerUpdate, Record, State
from influxops.domain.text import pluralize, summarize, truncate
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.apply.apply import apply
from influxops.reconcile.apply.verify import verify
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.move.copy import about, copy
from influxops.reconcile.observe.ledger import failed_ledger
from influxops.reconcile.observe.reread import reread
from influxops.reconcile.plan.late_writes import MOST_POSTPONED, Late
from influxops.reconcile.plan.recorded import busy
from influxops.reconcile.request import GRACE
from influxops.reconcile.state import RunState

#: Seconds after the end of the last pass in which the drop has to begin, and those in which it has
#: to be answered: a request that is sent again later would drop rows that no pass has seen.
_BEGINS, _ENDS = 1.0, 2.0
#: Seconds of a pass after which rows may have come behind it: what is young is looked at again.
_SHORT = 1.0
#: Seconds between two readings of the targets and writes to the ledger, while there is more to do.
_EVERY = 5.0
#: How many tables with late rows a message names.
_TABLES = 3
#: The guard that lets an old copy be dropped that is still written to.
ALLOWED = "late-writes"


def drops_old_copy(plan: TenantPlan) -> bool:
    """Return whether a planned change drops what a moved tenant left behind, and it is there."""
    known = plan.record
    return (
        known is not None
        and known.state is not State.RETIRING
        and any(c.action is Action.DROP and c.needs_target for c in plan.changes)
    )


class OldCopies:
    """The old copies that a run is dropping; their tenants are claimed."""

    def __init__(self, state: RunState, command: str) -> None:
        request = state.request
        assert request.ledger is not None
        self._command = command
        self.state, self.request, self.context = state, request, state.context
        self.ledger = request.ledger
        self._handles = {handle.name: handle for handle in request.targets}
        self._began = self._settled_at = time.monotonic()
        # Since the last settling: how tenants ended, and what is to be written of them.
        self._plans: dict[str, TenantPlan] = {}
        self._records: dict[str, Record] = {}
        self._late: list[tuple[Record, HistoryEntry]] = []
        self._dropped: list[tuple[TenantPlan, Outcome]] = []
        self._faults: list[Finding] = []
        self._notes: dict[str, tuple[Finding, ...]] = {}
        self._progress: dict[str, str] = {}  # of the last pass, by tenant

    def drop(self, plans: Sequence[TenantPlan]) -> Iterator[RunState]:
        """Drop old copies, each after its passes; yield what is known now and then."""
        to_do, waiting = deque(plans), deque[tuple[float, TenantPlan]]()
        try:
            while to_do or waiting:
                self.context.check()
                if waiting and (waiting[0][0] <= time.monotonic() or not to_do):
                    at, plan = waiting.popleft()
                    self.context.sleep(max(at - time.monotonic(), 0))
                    self._end(plan)
                elif self._pass(plan := to_do.popleft()):
                    waiting.append((time.monotonic() + self._visible(plan), plan))
                if time.monotonic() - self._settled_at >= _EVERY:
                    self._resolve_outcomes()
                    yield self.state
        except Interrupted:
            self._resolve_outcomes()
            yield self.state
            raise
        self._resolve_outcomes()
        yield self.state

    def _visible(self, plan: TenantPlan) -> float:
        """Return the seconds from one pass to the next: whatever was acknowledged is seen then.

        Twice the time, since the server's clock and this one's begin it at different moments.
        """
        return 2 * self._handles[plan.changes[0].target].capabilities.visible_after

    # One tenant ------------------------------------------------------------------------------

    def _pass(self, plan: TenantPlan, *, recent: bool = False) -> bool:
        """Copy what only the old copy has; return whether that may go on to be dropped."""
        tenant = plan.tenant
        known = self._records.setdefault(tenant, self.state.ledger_view.records[tenant])
        old, new = known.secondary_target, known.target
        if missing := next((name for name in (old, new) if name not in self._handles), None):
            why = f"the target {missing} is not configured any more"
            return self._not_copied(plan, known, why, "")
        late = Late.of(known)
        progress = self._progress[tenant] if recent else late.moved
        rest = CopyRequest(known.database, progress=progress, only_missing=True, recent=recent)
        try:
            copied = copy(self._handles[old or ""], self._handles[new or ""], rest, self.context)
        except Interrupted:
            raise
        except InfluxopsError as error:
            self.context.log.debug("copying %s failed", known.database, exc_info=True)
            if error.abandoned:
                self.state = replace(self.state, kept=self.state.kept | {tenant})
            return self._not_copied(plan, known, error.message, error.remedy)
        self._progress[tenant] = copied.progress
        now, is_postponed = self._now(), bool(copied.rows) and ALLOWED not in self.request.allow
        if copied.rows:
            seconds = (now - (late.at or known.created_at or now)).total_seconds()
            late = replace(late, rate=copied.rows / max(seconds, 1.0))
        late = replace(late, at=now, postponed=late.postponed + is_postponed)
        self._records[tenant] = replace(known, progress=msgspec.json.encode(late).decode())
        if is_postponed:
            self._postpone(plan, late, copied)
        else:
            self._note(plan, copied)
        return not is_postponed

    def _end(self, plan: TenantPlan) -> None:
        """Make the last pass over an old copy, and drop it right after that."""
        tenant, began = plan.tenant, time.monotonic()
        if not self._pass(plan):
            return
        if time.monotonic() - began > _SHORT and not self._pass(plan, recent=True):
            return
        ended = time.monotonic()
        try:
            # Another run that has claimed it may have moved the tenant back to this very copy.
            found = self.ledger.claim([self._records[tenant]], self.context)[tenant]
        except Interrupted:
            raise
        except InfluxopsError as error:
            why, remedy = f"the ledger: {error.message}", error.remedy or "run it again"
            self._plans[tenant] = plan.defer(FindingKind.FAILED_LEDGER, why, remedy)
            return
        self._records[tenant] = found
        if found.claimed_by != self.context.id:
            self._plans[tenant] = busy(plan, found)
            return
        if time.monotonic() - ended > _BEGINS:
            why = f"the ledger took more than {_BEGINS:g} s to answer after the last pass"
            self._plans[tenant] = plan.defer(FindingKind.FAILED_LEDGER, why)
            return
        limited = self.context.with_timeout(_ENDS)
        (outcome,), faults = apply(plan.changes, self.request.targets, limited)
        if (
            limited.interruption
            and not self.context.interruption
            and outcome.status is not ChangeResult.DONE
        ):
            why = f"its target did not answer the drop within {_ENDS:g} s"
            outcome = replace(outcome, status=ChangeResult.UNKNOWN, message=why)
        self._dropped.append((plan.note(*self._notes.pop(tenant, ())), outcome))
        self._faults += faults

    def _note(self, plan: TenantPlan, copied: CopyProgress) -> None:
        """Keep what a pass noticed, to be reported once the old copy was dropped."""
        notes = [about(plan, finding) for finding in copied.findings]
        if copied.rows:
            known = self._records[plan.tenant]
            message = f"{_rows(copied)} came late: copied to {known.target} before the drop"
            counted = {"rows": copied.rows, "tables": dict(copied.rows_by_table)}
            old = known.secondary_target
            notes.append(plan.info(FindingKind.LATE_WRITES, message, target=old, facts=counted))
        kept = self._notes.get(plan.tenant, ())
        self._notes[plan.tenant] = (*kept, *(note for note in notes if note not in kept))

    # What is reported of one -----------------------------------------------------------------

    def _not_copied(self, plan: TenantPlan, known: Record, why: str, remedy: object) -> bool:
        message = (
            f"what only its old copy on {known.secondary_target} may hold could not be copied to "
            f"{known.target}: {why}"
        )
        advice = remedy if isinstance(remedy, Hint) else str(remedy)
        self._plans[plan.tenant] = plan.defer(FindingKind.MOVING, message, advice)
        return False

    def _postpone(self, plan: TenantPlan, late: Late, copied: CopyProgress) -> None:
        """Leave an old copy to which rows came since the pass before; the ledger counts that."""
        known, rows = self._records[plan.tenant], _rows(copied)
        old, new = known.secondary_target, known.target
        use = "let its clients write to the new target"
        if late.is_held:
            message = (
                f"{late.still_written(old)}; the last pass found {rows}, which it copied to {new}, "
                f"and the drop was postponed {late.postponed} times"
            )
            remedy = Hint.allow(ALLOWED, f"{use}; to copy the rest and drop it then")
            after = plan.unchanged().blocked(FindingKind.LATE_WRITES, message, remedy, target=old)
        else:
            message = (
                f"{rows} came late to its old copy on {old}: copied to {new} "
                f"(postponed {late.postponed} of {MOST_POSTPONED} times)"
            )
            remedy = Hint.command(self._command, f"{use}, then run {{}}")
            after = plan.defer(FindingKind.LATE_WRITES, message, remedy)
        assert after.finding is not None
        counted = {"rows": copied.rows, "tables": dict(copied.rows_by_table)}
        counted |= {"rate": round(late.rate, 3), "postponed": late.postponed}
        self._plans[plan.tenant] = replace(after, finding=replace(after.finding, facts=counted))
        ended, message = ChangeResult.SKIPPED.value, after.finding.message
        entry = self.request.entry(Event.DROPPED, plan, old, ended=ended, message=message)
        self._late.append((known, entry))

    # What is known of all --------------------------------------------------------------------

    def _now(self) -> datetime:
        """Return the time by the ledger's clock."""
        passed = timedelta(seconds=time.monotonic() - self._began)
        return self.state.ledger_view.now + passed

    def _resolve_outcomes(self) -> None:
        """Read again what was dropped, and record it; also when the run is over."""
        self._keep(self._records)
        self._wait_for_writers()
        state, settled = self.state, dict(self.state.settled)
        if outcomes := [outcome for _, outcome in self._dropped]:
            state = reread(outcomes, state)
            settled |= verify([plan for plan, _ in self._dropped], outcomes, state, {})
        tenants = {**self.state.plans, **self._plans}
        self.state = replace(
            state,
            plans=tenants,
            settled=settled,
            notes=(*self.state.notes, *self._faults),
        )
        self._record_late()
        self.state = record(self.state)
        for kept in (self._plans, self._records, self._late, self._dropped, self._faults):
            kept.clear()
        self._settled_at = time.monotonic()

    def _keep(self, records: Mapping[str, Record]) -> None:
        ledger_view = self.state.ledger_view.with_records(records)
        self.state = replace(self.state, ledger_view=ledger_view)

    def _wait_for_writers(self) -> None:
        """Wait where rows came late: what still writes creates the database again in that time."""
        written = [
            self._visible(plan)
            for plan, _ in self._dropped
            if any(note.kind is FindingKind.LATE_WRITES for note in plan.notes)
        ]
        with contextlib.suppress(Interrupted):
            self.context.sleep(max(written, default=0.0))

    def _record_late(self) -> None:
        """Write to the ledger what was postponed, and release its claims."""
        if not self._late:
            return
        records, entries = zip(*self._late, strict=True)
        try:
            writing = LedgerUpdate(records, entries=entries)
            found = self.ledger.commit(writing, self.context.with_grace_period(GRACE))
        except InfluxopsError as error:
            self.state = replace(self.state, notes=(*self.state.notes, failed_ledger(error)))
            return
        self._keep(found)
        self.state = replace(self.state, events=(*self.state.events, *entries))


def _rows(copied: CopyProgress) -> str:
    """Return how many rows were copied, and of which tables as far as that is known."""
    rows, told = copied.rows_by_table, pluralize(copied.rows, "row")
    if not rows:
        return told
    named = sorted(rows, key=lambda name: (-rows[name], name))
    return f"{told} ({summarize([f'{truncate(name)} {rows[name]:,}' for name in named], _TABLES)})"
