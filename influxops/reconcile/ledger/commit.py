"""Commit the results of a run to the ledger; its tenants were claimed before (`claims.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from msgspec.structs import replace

from influxops.domain.database import UNKNOWN, Database
from influxops.domain.finding import FindingKind
from influxops.domain.plan import Action, Change, ChangeResult, Outcome, TenantPlan, TenantStatus
from influxops.domain.record import Event, HistoryEntry, LedgerUpdate, Record, State
from influxops.domain.text import format_time
from influxops.errors import InfluxopsError
from influxops.reconcile.ledger.servers import ServerFacts
from influxops.reconcile.observe.ledger import failed_ledger
from influxops.reconcile.plan.recorded import explain_lost, is_copy, is_recreated
from influxops.reconcile.request import GRACE, RunRequest
from influxops.reconcile.state import RunState

_EVENTS = {
    Action.CREATE: Event.CREATED,
    Action.COMPLETE: Event.COMPLETED,
    Action.SET_RETENTION: Event.RETENTION,
    Action.DROP: Event.DROPPED,
    Action.ADOPT: Event.ADOPTED,
    Action.RETIRE: Event.RETIRING,
    Action.UNRETIRE: Event.UNRETIRED,
    Action.FORGET: Event.FORGOTTEN,
    Action.EXPORT: Event.EXPORTED,
    Action.IMPORT: Event.IMPORTED,
}


def record(state: RunState, *, at_end: bool = False, with_seen: bool = False) -> RunState:
    """Write the results of a run to the ledger that are not recorded yet.

    At the end of a run, what was read is written, too: `with_seen` also of unchanged tenants.
    """
    ledger_view, request, context = state.ledger_view, state.request, state.context
    if request.ledger is None or not ledger_view.is_readable or context.dry_run:
        return state
    writing = _Writer(state).writing(at_end=at_end, with_seen=with_seen)
    state = replace(state, recorded=frozenset(state.settled))
    if not writing:
        return state
    state = replace(state, events=(*state.events, *writing.entries))
    try:
        found = request.ledger.commit(writing, context.with_grace_period(GRACE))
    except InfluxopsError as error:
        note = failed_ledger(error)
        message = f"{note.message}; what this run did is not recorded: the next run reconciles it"
        state = state.note(replace(note, message=message))
        lost = [each.tenant for each in writing.records]
        return replace(state, settled={**state.settled, **dict(_undecided(lost, state, error))})
    return replace(state, ledger_view=ledger_view.with_records(found))


def _undecided(
    tenants: Iterable[str], state: RunState, error: InfluxopsError
) -> Iterator[tuple[str, TenantPlan]]:
    """Yield the tenants that needed a change of the ledger alone, as failed."""
    for plan in filter(None, map(state.settled.get, tenants)):
        if all(outcome.change.needs_target for outcome in plan.outcomes):
            continue
        outcomes = tuple(
            o
            if o.change.needs_target or o.status is not ChangeResult.DONE
            else replace(o, status=ChangeResult.FAILED, message=error.message, remedy=error.remedy)
            for o in plan.outcomes
        )
        finding = plan.error(
            FindingKind.CHANGE_FAILED,
            f"it could not be recorded: {error.message}",
            error.remedy or "run it again",
        )
        yield (
            plan.tenant,
            replace(plan, outcomes=outcomes, status=TenantStatus.FAILED, finding=finding),
        )


class _Writer:
    """Computes the ledger update from the state of a run."""

    def __init__(self, state: RunState) -> None:
        self.state, self.request, self.run = state, state.request, state.context.id
        self.observed, self.ledger_view = state, state.ledger_view
        self.entries: list[HistoryEntry] = []
        self._facts = ServerFacts(state)

    def writing(self, *, at_end: bool, with_seen: bool) -> LedgerUpdate:
        """Return the update."""
        records, forgotten = [], []
        for id_, planned in self.state.plans.items():
            settled = self.state.settled.get(id_)
            before = self.ledger_view.records.get(id_) or Record(id_, State.PENDING)
            after = before
            if settled is not None and settled.outcomes and id_ not in self.state.recorded:
                after = self._tried(settled, before)
            elif settled is None and at_end and with_seen:
                after = self._seen(planned, before)
            if id_ in self.state.kept or (settled is not None and _may_still_drop(settled)):
                continue  # its claim stays until the next run has read how it ended
            if settled is not None and any(c.action is Action.FORGET for c in settled.made):
                forgotten += [before] if id_ not in self.state.recorded else []
                continue
            if after != before or (at_end and before.claimed_by == self.run):
                records.append(after)  # claims of tenants that this run did not change are released
        if not at_end:
            entries = tuple(self.entries)
            return LedgerUpdate(tuple(records), entries=entries, forgotten=tuple(forgotten))
        records += self._given_up() if with_seen else ()
        return LedgerUpdate(
            tuple(records),
            self._facts.servers(records),
            {} if self.observed.is_selected else self.ledger_view.renamed,
            self._facts.sources(),
            (*self.entries, *self._facts.entries),
        )

    def _given_up(self) -> Iterator[Record]:
        """Yield records of tenants that no source has any more, and that only waited."""
        observed = self.observed
        if observed.is_selected or not (observed.sources_complete and observed.has_registry):
            return
        known = {tenant.id for tenant in observed.tenants}
        for record in self.ledger_view.records.values() if known else ():
            if record.tenant in known or record.is_claimed or not is_overdue(record, self._now):
                continue
            on = record.target
            is_there = on is not None and observed.database(on, record.database) is not None
            if not is_there and (on is None or observed.shows_all(on)):
                after, entry = give_up(record, self.request)
                self.entries.append(entry)
                yield after

    def _tried(self, plan: TenantPlan, before: Record) -> Record:
        """Return a tenant's record after its changes were tried."""
        if plan.recreated_after_drop is not None:
            self._tell_found(plan, before, self._state(plan.before, plan.target))
        for outcome in plan.outcomes:
            if outcome.status is not ChangeResult.NO_CAPACITY:  # nothing happened there
                self._tell_change(outcome, plan, before)
        ended = {o.change.action: o for o in plan.outcomes}
        if plan.status is TenantStatus.CHANGED:
            record = replace(before, error="", attempts=0)
        else:
            message = plan.reason
            record = replace(before, error=message, attempts=before.attempts + 1)
        if Action.DROP in ended and Action.CREATE not in ended:
            return _dropped(record, ended[Action.DROP])
        for outcome in ended.values():
            if outcome.status is ChangeResult.DONE:
                record = self._decided(record, outcome.change, plan)
        if all(action in (Action.RETIRE, Action.UNRETIRE) for action in ended):
            return record
        if Action.ADOPT in ended:
            return record.importing("")
        imported = ended.get(Action.IMPORT)
        is_imported = imported is not None and imported.status is ChangeResult.DONE
        if is_imported:
            record = record.importing("")
        made = ended.get(Action.CREATE)
        if made is None and not before.is_provisioned and plan.after is None:
            return record
        if made is not None and made.status is not ChangeResult.DONE and not made.partially_applied:
            if made.status is ChangeResult.UNKNOWN:
                return record  # it may be there: its slot stays reserved
            if made.status is not ChangeResult.UNCONFIRMED:
                free = State.LOST if before.is_provisioned else State.PENDING
                return replace(record, state=free)
        placed = self._placed(record, plan, made is not None)
        last = ended.get(Action.COMPLETE, made)
        is_sure = last is None or last.status is ChangeResult.DONE
        if last is None and before.state is State.UNCONFIRMED:
            is_sure = is_imported
        if record.imported_from:
            # What is to be in it is not: an import alone makes it good.
            placed = placed.importing(record.imported_from)
            return replace(placed, state=State.UNCONFIRMED, last_seen_at=None)
        if not is_sure:
            return replace(placed, state=State.UNCONFIRMED)
        placed = replace(placed, last_seen_at=self._now)
        if before.state is State.MOVING:
            return placed
        due = placed.drop_after if placed.secondary_target is not None else None
        was_seen = made is None and before.state in (State.READY, State.RETIRING)
        return replace(placed, state=self._state(plan.after, plan.target, was_seen), drop_after=due)

    def _state(self, found: Database | None, target: str | None, was_seen: bool = False) -> State:
        """Return the state of a tenant with a database: ready once its marker was ever seen."""
        is_marked = found.is_marked if found is not None else UNKNOWN
        policy = self.request.rules.targets.get(target or "")
        if is_marked is UNKNOWN and (
            was_seen or not (policy and policy.capabilities.completion_marker)
        ):
            is_marked = True
        return State.READY if is_marked is True else State.UNCONFIRMED

    def _seen(self, plan: TenantPlan, before: Record) -> Record:
        """Return a tenant's record where the run did not change it."""
        if plan.kind is FindingKind.LOST:
            if before.state is State.LOST:
                return before
            again = is_recreated(before, plan.before)
            self.entries.append(
                self.request.entry(
                    Event.RECREATED if again else Event.LOST,
                    plan,
                    before.target,
                    before=before.state.value,
                    after=State.LOST.value,
                    message=plan.reason.removeprefix("lost: ")
                    if again
                    else explain_lost(before, self.observed),
                )
            )
            due = before.drop_after if before.secondary_target is not None else None
            return replace(before, state=State.LOST, drop_after=due)
        if plan.status is not TenantStatus.OK or plan.before is None:
            return before
        if self.observed.is_replaced(plan.target):
            return before  # no one has confirmed that this is its server
        state = self._state(plan.before, plan.target)
        if before.state is State.UNCONFIRMED and state is not State.READY:
            return before  # it is still not known
        if before.state in (State.READY, State.MOVING) and before.target == plan.target:
            inventory = self.observed.inventories[plan.target or ""]
            return replace(before, identity=inventory.identity)
        after = replace(self._placed(before, plan, made=False), state=_going_on(before, state))
        if before.state is not State.UNCONFIRMED or before.last_seen_at is None:
            self._tell_found(plan, before, after.state)
        return replace(after, last_seen_at=self._now, error="", attempts=0)

    def _tell_found(self, plan: TenantPlan, before: Record, after: State) -> None:
        """Write a line of the history about a database that is there."""
        events = {State.UNCONFIRMED: Event.CONFIRMED, State.LOST: Event.FOUND_AGAIN}
        event, again = events.get(before.state, Event.FOUND), plan.recreated_after_drop
        was = before.state.value if before.version else ""
        why = again.message if again is not None else ""
        entry = self.request.entry(
            event, plan, plan.target, before=was, after=after.value, message=why
        )
        self.entries.append(entry)

    def _decided(self, record: Record, change: Change, plan: TenantPlan) -> Record:
        """Return a record after what the ledger alone does."""
        if change.action is Action.RETIRE:
            if record.target is None:  # found, and not recorded until now
                record = self._at(record, change)
            return replace(record, state=State.RETIRING, drop_after=change.until)
        if change.action is Action.UNRETIRE:
            state = State.UNCONFIRMED if record.imported_from else State.READY
            return replace(record, state=state, drop_after=None)
        if change.action is not Action.ADOPT:
            return record
        state = self._state(plan.after, change.target)
        adopted = self._at(record, change)
        if (record.database, record.target) == (change.database, change.target):
            # A copy that a move has begun, or left behind, stays what it was.
            due = record.drop_after if record.secondary_target is not None else None
            return replace(adopted, state=_going_on(record, state), drop_after=due)
        left = change.until is not None  # what it had before becomes its old copy
        return replace(
            adopted,
            state=state,
            secondary_target=record.target if left else None,
            secondary_identity=record.identity if left else None,
            drop_after=change.until,
            progress="",
        )

    def _at(self, record: Record, change: Change) -> Record:
        """Return a record that has its database where a change found it."""
        return replace(
            record,
            database=change.database,
            target=change.target,
            identity=self.observed.identity(change.target),
            created_at=self._now,
            created_by=self.run,
            last_seen_at=self._now,
        )

    def _tell_change(self, outcome: Outcome, plan: TenantPlan, before: Record) -> None:
        """Write a line of the history about one change."""
        change = outcome.change
        was, now = {
            Action.ADOPT: (_place(before.database, before.target), _place(plan.database, "")),
            Action.RETIRE: (before.state.value, State.RETIRING.value),
            Action.UNRETIRE: (before.state.value, State.READY.value),
        }.get(change.action, ("", ""))
        data = f"old copy on {before.target}" if change.action is Action.ADOPT else "data"
        again = change.action is Action.CREATE and before.is_provisioned
        parts = (
            outcome.message or ("made again, empty: it was lost" if again else change.reason),
            f"its {data} is kept until {format_time(change.until)}" if change.until else "",
        )
        self.entries.append(
            self.request.entry(
                _EVENTS[change.action],
                plan,
                change.target or None,
                before=was,
                after=now,
                ended=outcome.status.value,
                message="; ".join(filter(None, parts)),
            )
        )

    @property
    def _now(self) -> datetime:
        return self.ledger_view.now

    def _placed(self, record: Record, plan: TenantPlan, made: bool) -> Record:
        target = plan.target or ""
        identity = record.identity
        if target in self.observed.inventories:
            identity = self.observed.identity(target)
        record = replace(record, database=plan.database, target=target, identity=identity)
        if record.secondary_target == target:
            # What a move left there, or had begun, is its database now.
            record = replace(
                record, secondary_target=None, secondary_identity=None, drop_after=None, progress=""
            )
        if made or record.created_at is None or record.state is State.RETIRED:
            record = replace(record, created_at=self._now, created_by=self.run)
        return record


#: A tenant that no source has yet may be registered within this time: it was enqueued before.
_UNREGISTERED = timedelta(minutes=10)


def is_overdue(record: Record, now: datetime) -> bool:
    """Return whether a tenant that no source has has waited for longer than it may."""
    is_waiting = record.state in (State.PENDING, State.ALLOCATED)
    since = record.state_since
    return is_waiting and since is not None and now - since > _UNREGISTERED


def give_up(record: Record, request: RunRequest) -> tuple[Record, HistoryEntry]:
    """Return the record of a tenant that waits no more, and what the history says of it."""
    after = replace(record, state=State.RETIRED, database="", target=None, identity=None, error="")
    told = HistoryEntry(
        Event.GIVEN_UP, record.tenant, record.target, record.database, record.state.value
    )
    told = replace(told, after=after.state.value, message="no source has it any more")
    return after, request.signed(told)


def _may_still_drop(plan: TenantPlan) -> bool:
    """Return whether the drop of a tenant's data was abandoned, and its result is unknown."""
    return any(
        o.abandoned and o.status is ChangeResult.UNKNOWN and o.change.action is Action.DROP
        for o in plan.outcomes
    )


def _going_on(record: Record, state: State) -> State:
    """Return the state of a tenant that has its database again, by what is recorded of its move."""
    is_moving = record.state is State.MOVING or (
        record.secondary_target is not None and record.drop_after is None
    )
    return State.MOVING if is_moving else state


def _dropped(record: Record, outcome: Outcome) -> Record:
    """Return a tenant's record after its database, or the copy that it left behind, was dropped."""
    if outcome.status is not ChangeResult.DONE:
        return record
    if is_copy(record, outcome.change.target):
        return replace(
            record, secondary_target=None, secondary_identity=None, drop_after=None, progress=""
        )
    return replace(record, state=State.RETIRED, drop_after=None)


def _place(database: str, target: str | None) -> str:
    return " on ".join(part for part in (database, target) if part)
