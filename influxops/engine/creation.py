"""Creates databases for callers that wait: what completes them follows, by another thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.database import Database, Inventory
from influxops.domain.finding import FindingKind
from influxops.domain.plan import (
    Action,
    Change,
    ChangeResult,
    Outcome,
    TenantPlan,
    TenantStatus,
)
from influxops.domain.record import LedgerUpdate, State
from influxops.errors import InfluxopsError, LedgerError, TargetError
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.verify import closed_by
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext

Tell = Callable[[TenantPlan], None]


class TargetFailure(Struct, frozen=True):
    """What ended an attempt to create databases."""

    section: str  # the full name of the section that failed
    error: InfluxopsError


def create_databases(
    plans: Sequence[TenantPlan],
    observed: RunState,
    target: TargetHandle,
    request: RunRequest,
    context: RunContext,
    tell: Tell,
    claimed: Callable[[], object] = lambda: None,
) -> TargetFailure | None:
    """Create databases on one target: claimed before and committed after, where there is a ledger.

    `tell` gets each tenant whose end is known, with what still completes it; `claimed` is called
    once the ledger counts them. What is wrong with the target or the ledger is returned.
    """
    ledger = request.ledger
    if ledger is None:
        return _create(plans, observed, target, context, tell, is_complete=True)
    done: list[TenantPlan] = []
    try:
        with ledger.error_boundary(), ledger.session(context):
            tenants = {plan.tenant: plan for plan in plans}
            # Of others nothing is written.
            records = {plan.tenant: plan.record for plan in plans if plan.record is not None}
            view = replace(observed.ledger_view, is_configured=True, records=records)
            state = replace(
                observed, request=request, context=context, ledger_view=view, plans=tenants
            )
            state, mine = reserve(plans, state)
            if state.settled:
                raise LedgerError(state.notes[-1].message, hint=state.notes[-1].remedy)
            claimed()
            tenants = dict(state.plans)
            for id_ in tenants.keys() - {plan.tenant for plan in mine}:
                tell(tenants[id_])
            failure = _create(
                mine,
                observed,
                target,
                context,
                done.append,
                is_complete=not target.capabilities.completion_marker,
            )
            why = (
                "its target did not say how it ended" if failure is None else failure.error.message
            )
            tenants |= {
                p.tenant: _ended(p, Outcome(p.changes[0], ChangeResult.UNKNOWN, why)) for p in mine
            }
            tenants |= {plan.tenant: plan for plan in done}
            settled = {id_: plan for id_, plan in tenants.items() if plan.outcomes}
            closed = closed_by((o for plan in settled.values() for o in plan.outcomes), {})
            state = replace(
                state, plans=tenants, settled=settled, closed={**state.closed, **closed}
            )
            record(state, at_end=True, with_seen=True)
            # Here, for a session that broke raises at its end: what was created is to be completed.
            for plan in done:
                tell(plan)
            return failure
    except InfluxopsError as error:
        return TargetFailure(ledger.full_name, error)


def _create(
    plans: Sequence[TenantPlan],
    observed: RunState,
    target: TargetHandle,
    context: RunContext,
    tell: Tell,
    *,
    is_complete: bool,
) -> TargetFailure | None:
    """Create databases; one that existed counts as complete or not as it is said."""
    places = {plan.tenant: plan for plan in plans}
    changes = [plan.changes[0] for plan in plans]
    if not changes:
        return None
    is_quick = target.missing is not None or target.implements("influxops_create_databases")
    try:
        if not is_quick:
            outcomes, faults = target.ensure(changes, context)
            for outcome in outcomes:
                tell(_ended(places[outcome.change.tenant], outcome))
            return (
                TargetFailure(target.full_name, InfluxopsError(faults[0].message))
                if faults
                else None
            )
        planned = observed.identity(target.name) or observed.ledger_view.identity(target.name)
        for outcome in target.create_databases(changes, context):
            plan = places[outcome.change.tenant]
            if planned and outcome.identity and outcome.identity != planned:
                what = f"another server answered: its {target.capabilities.identity} is "
                error = TargetError(f"{what}{outcome.identity}, not {planned}")
                tell(_ended(plan, Outcome(outcome.change, ChangeResult.UNKNOWN, error.message)))
                return TargetFailure(target.full_name, error)  # nothing more is sent to it
            if outcome.status is not ChangeResult.DONE:
                tell(_ended(plan, outcome))
            elif outcome.partially_applied:
                plan = _ended(plan, outcome)
                tell(with_completion(plan) if target.capabilities.completion_marker else plan)
            else:
                # Another run or a client was faster: its marker was not seen.
                there = Database()
                plan = replace(plan, status=TenantStatus.OK, before=there, after=there, changes=())
                tell(plan if is_complete else with_completion(plan))
    except InfluxopsError as error:
        return TargetFailure(target.full_name, error)
    return None


_VERDICTS = {
    ChangeResult.DONE: TenantStatus.CHANGED,
    ChangeResult.FAILED: TenantStatus.FAILED,
    ChangeResult.NO_CAPACITY: TenantStatus.FAILED,
}


def _ended(plan: TenantPlan, outcome: Outcome) -> TenantPlan:
    """Return a tenant with how its creation ended."""
    finding = None
    if outcome.status is not ChangeResult.DONE:
        finding = plan.error(FindingKind.CHANGE_FAILED, outcome.message, outcome.remedy)
    return replace(
        plan,
        status=_VERDICTS.get(outcome.status, TenantStatus.UNKNOWN),
        outcomes=(outcome,),
        after=plan.after if finding is None else None,
        changes=(),
        finding=finding,
    )


def with_completion(plan: TenantPlan) -> TenantPlan:
    """Return a tenant whose database exists, with what completes it still to be done."""
    before, after = (Database(complete=each) for each in (False, True))
    change = Change(Action.COMPLETE, plan.tenant, plan.target or "", plan.database, before, after)
    left = before if plan.after is None else replace(plan.after, complete=False)
    return replace(plan, after=left, changes=(change,))


def is_full(plan: TenantPlan) -> bool:
    """Return whether a tenant's target had no room for its database."""
    return bool(plan.outcomes) and plan.outcomes[-1].status is ChangeResult.NO_CAPACITY


def completion(plan: TenantPlan) -> Change | None:
    """Return what still completes a tenant's database; None where nothing is left to do."""
    return next((each for each in plan.changes if each.action is Action.COMPLETE), None)


def complete_databases(
    plans: Sequence[TenantPlan], target: TargetHandle, request: RunRequest, context: RunContext
) -> list[Outcome]:
    """Complete databases of one target; DONE is what was seen to be complete, and recorded.

    One that was there before (`plan.before`) and is not there now is left to a full run: a server
    makes a database for any client that writes, so the marker would create what is lost.
    """
    changes = [change for plan in plans if (change := completion(plan)) is not None]
    looks = target.implements("influxops_get_databases")
    unsure = {plan.database for plan in plans if plan.before is not None} if looks else set()
    before = target.get_databases(unsure, context) if unsure else Inventory({})
    gone = unsure - before.databases.keys()
    outcomes, left = [], []
    for each in changes:
        if each.database in gone:
            outcomes.append(Outcome(each, ChangeResult.FAILED, "it is not there any more"))
        elif _completeness(each.database, before) is True:
            outcomes.append(Outcome(each, ChangeResult.DONE))
        else:
            left.append(each)
    outcomes += target.ensure(left, context)[0] if left else []
    if not looks or request.ledger is None:
        return outcomes
    # A marker is lost where a database of the same name was deleted moments before.
    seen = target.get_databases([each.database for each in changes], context)
    _confirm(plans, seen, request, context)
    return [
        replace(outcome, status=ChangeResult.UNCONFIRMED, message="its marker is not there")
        if outcome.status is ChangeResult.DONE
        and _completeness(outcome.change.database, seen) in (None, False)
        else outcome
        for outcome in outcomes
    ]


def _completeness(database: str, inventory: Inventory) -> object:
    """Return whether a database is complete; None where there is none."""
    found = inventory.databases.get(database)
    return None if found is None else found.complete


def _confirm(
    plans: Sequence[TenantPlan], seen: Inventory, request: RunRequest, context: RunContext
) -> None:
    """Record the databases that were seen to be complete, where nothing else has changed."""
    good = {
        plan.tenant: (plan.target, plan.database)
        for plan in plans
        if _completeness(plan.database, seen) is True
    }
    if request.ledger is None or not good:
        return
    memory = request.ledger.load_records(good, context)
    records = tuple(
        replace(each, state=State.READY, last_seen_at=memory.now, error="", attempts=0)
        for each in memory.records.values()
        if each.state is State.UNCONFIRMED
        and not each.imported_from
        and not each.is_claimed
        and (each.target, each.database) == good[each.tenant]
        and each.identity == seen.identity
    )
    if records:
        request.ledger.commit(LedgerUpdate(records), context)
