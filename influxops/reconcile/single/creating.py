"""Making the databases of single tenants, once it is known where each goes (single.py).

Reserved before, recorded after, where there is a ledger: by the same functions as in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.change import Action, Change, ChangeResult, Outcome
from influxops.domain.database import Database, Inventory
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.errors import InfluxopsError
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.verify import closed_by
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.request import GRACE, RunRequest
from influxops.reconcile.single.look_up import Place, Step
from influxops.reconcile.single.noting import confirm, observed_of
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext


class Failed(Struct, frozen=True):
    """What ended an attempt to make databases."""

    name: str  # the full name of the section that it is about
    error: InfluxopsError


def make(
    places: Sequence[Place],
    handle: TargetHandle,
    request: RunRequest,
    context: RunContext,
    tell: Callable[[Place], None],
) -> Failed | None:
    """Make databases on one target: reserved before, recorded after, where there is a ledger.

    Args:
        places: The tenants, all of this target.
        handle: The target.
        request: What the run is asked to do.
        context: The run.
        tell: Called with each tenant as it stands then, as soon as that is known.

    Returns:
        What is wrong with the target, or the ledger; None where all is well.
    """
    by_id = {place.tenant: place for place in places}
    if request.ledger is None:
        return _made(by_id, handle, context, lambda place, outcome: tell(place))
    try:
        with request.ledger.error_boundary(), request.ledger.session(context):
            return _recorded(by_id, handle, request, context, tell)
    except InfluxopsError as error:
        return Failed(request.ledger.full_name, error)


def _recorded(
    places: Mapping[str, Place],
    handle: TargetHandle,
    request: RunRequest,
    context: RunContext,
    tell: Callable[[Place], None],
) -> Failed | None:
    plans = {id_: place.plan for id_, place in places.items() if place.plan is not None}
    known = {id_: place.record for id_, place in places.items() if place.record is not None}
    observed = observed_of(places.values(), known)
    has_marker = bool(handle.capabilities.completion_marker)
    state, mine = reserve([*plans.values()], RunState(observed, Plan(plans)), request, context)
    if state.settled:  # nothing could be reserved
        assert request.ledger is not None
        note = state.notes[-1]
        return Failed(request.ledger.full_name, InfluxopsError(note.message, hint=note.remedy))
    for id_ in plans.keys() - {plan.tenant for plan in mine}:
        finding = state.plan.tenants[id_].finding
        reason = finding.message if finding is not None else ""
        tell(replace(places[id_], step=Step.BUSY, reason=reason))
    tenants, settled = dict(state.plan.tenants), {}
    ended: list[Place] = []

    def note_outcome(place: Place, outcome: Outcome) -> None:
        plan = tenants[place.tenant]
        if place.step is Step.THERE:
            # Somebody was faster, and perhaps a client: nobody has seen what completes it.
            place = replace(place, complete=not has_marker)
        ended.append(place)
        if place.step is Step.THERE:
            tenants[place.tenant] = replace(
                plan,
                status=TenantStatus.OK,
                before=Database(place.database),
                after=Database(place.database),
                changes=(),
            )
        else:
            settled[place.tenant] = _settled(plan, outcome, is_complete=place.complete)

    failed = _made({p.tenant: places[p.tenant] for p in mine}, handle, context, note_outcome)
    told = {place.tenant for place in ended}
    for plan in mine:
        if plan.tenant not in told:
            why = (
                failed.error.message
                if failed is not None
                else "its target did not say how it ended"
            )
            unknown = Outcome(plan.changes[0], ChangeResult.UNKNOWN, why)
            settled[plan.tenant] = _settled(plan, unknown, is_complete=False)
    closed = closed_by((o for each in settled.values() for o in each.outcomes), {})
    observed = replace(state.observed, closed={**state.observed.closed, **closed})
    state = replace(
        state, observed=observed, plan=replace(state.plan, tenants=tenants), settled=settled
    )
    record(state, request, context.or_grace(GRACE), at_end=True, with_seen=True)
    for place in ended:
        tell(place)
    return failed


def _settled(plan: TenantPlan, outcome: Outcome, *, is_complete: bool) -> TenantPlan:
    good = outcome.status is ChangeResult.DONE
    finding, after = None, plan.after
    if after is not None and not is_complete:
        after = replace(after, complete=False)  # what completes it follows
    if not good:
        finding = Finding(
            FindingKind.CHANGE_FAILED, Severity.ERROR, outcome.message, outcome.remedy
        )
    return replace(
        plan,
        status=TenantStatus.CHANGED if good else TenantStatus.FAILED,
        outcomes=(outcome,),
        after=after if good else None,
        finding=finding,
    )


_STEPS = {
    ChangeResult.NO_CAPACITY: Step.MAKE,
    ChangeResult.FAILED: Step.NEVER,
}


def _made(
    places: Mapping[str, Place],
    handle: TargetHandle,
    context: RunContext,
    note: Callable[[Place, Outcome], None],
) -> Failed | None:
    changes = [place.plan.changes[0] for place in places.values() if place.plan is not None]
    if not changes:
        return None
    quick = handle.missing is not None or handle.implements("influxops_create_databases")
    try:
        if not quick:
            outcomes, faults = handle.ensure(changes, context)
            for outcome in outcomes:
                is_made = outcome.status is ChangeResult.DONE
                note(_after(places[outcome.change.tenant], outcome, is_made, True), outcome)
            return _of(handle, InfluxopsError(faults[0].message)) if faults else None
        completed = not handle.capabilities.completion_marker
        for outcome in handle.create_databases(changes, context):
            place = places[outcome.change.tenant]
            note(
                _after(
                    place,
                    outcome,
                    outcome.partially_applied,
                    completed or not outcome.partially_applied,
                ),
                outcome,
            )
    except InfluxopsError as error:
        return _of(handle, error)
    return None


def _of(handle: TargetHandle, error: InfluxopsError) -> Failed:
    return Failed(handle.full_name, error)


def _after(place: Place, outcome: Outcome, is_made: bool, complete: bool) -> Place:
    if outcome.status is not ChangeResult.DONE:
        step = _STEPS.get(outcome.status, Step.WAIT)
        return replace(place, step=step, reason=outcome.message)
    step = Step.MADE if is_made else Step.THERE
    return replace(place, step=step, reason="", complete=complete)


def complete(
    places: Sequence[Place], handle: TargetHandle, request: RunRequest, context: RunContext
) -> list[Outcome]:
    """Complete databases that were made quickly, or found; record those that were seen to be.

    Args:
        places: The tenants, all of this target.
        handle: The target.
        request: What the run is asked to do.
        context: The run.

    Returns:
        How each was completed; DONE only where that was seen, and recorded.

    Raises:
        InfluxopsError: When they could not be looked at, or recorded.
    """
    changes = [_completion(place) for place in places]
    looks = request.ledger is not None and handle.implements("influxops_get_databases")
    found = [p.database for p in places if p.step is Step.THERE] if looks else []
    before = handle.get_databases(found, context) if found else Inventory({})
    to_do = [c for c in changes if not _is_complete(c.database, before)]
    outcomes = [Outcome(change, ChangeResult.DONE) for change in changes if change not in to_do]
    outcomes += handle.ensure(to_do, context)[0] if to_do else []
    if not looks:
        return outcomes
    # A marker is lost where a database of the same name was deleted moments before.
    seen = handle.get_databases([change.database for change in changes], context)
    good = [place for place in places if _is_complete(place.database, seen)]
    confirm(good, seen, request, context)
    return [
        replace(outcome, status=ChangeResult.UNCONFIRMED, message="its marker is not there")
        if outcome.status is ChangeResult.DONE and _is_incomplete(outcome.change.database, seen)
        else outcome
        for outcome in outcomes
    ]


def _is_complete(database: str, inventory: Inventory) -> bool:
    found = inventory.databases.get(database)
    return found is not None and found.complete is True


def _is_incomplete(database: str, inventory: Inventory) -> bool:
    found = inventory.databases.get(database)
    return found is None or found.complete is False


def _completion(place: Place) -> Change:
    """Return the change that completes a database that was made quickly."""
    after = Database(place.database, complete=True)
    before = Database(place.database, complete=False)
    return Change(Action.COMPLETE, place.tenant, place.target or "", place.database, before, after)
