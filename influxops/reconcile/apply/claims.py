"""Claim tenants in the ledger before changing anything."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from influxops.domain.durations import parse_duration
from influxops.domain.finding import FindingKind
from influxops.domain.hint import Hint
from influxops.domain.plan import Action, Change, ChangeResult, Outcome, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.move.probes import wait_for_proxies
from influxops.reconcile.observe.ledger import failed_ledger
from influxops.reconcile.plan.recorded import busy, is_copy
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext

#: What no other run may do to a tenant at the same time.
_RESERVED = (
    Action.CREATE,
    Action.DROP,
    Action.ADOPT,
    Action.RETIRE,
    Action.UNRETIRE,
    Action.FORGET,
    Action.IMPORT,
)


def reserve(batch: Sequence[TenantPlan], state: RunState) -> tuple[RunState, list[TenantPlan]]:
    """Claim tenants before any change; return what is known now, and those that are this run's."""
    ledger_view, request, context = state.ledger_view, state.request, state.context
    if request.ledger is None or not ledger_view.is_readable:
        return state, [*batch]
    wanted = [
        _reserved(plan, change.action, change.target, state)
        for plan in batch
        if (change := _reserving(plan)) is not None
    ]
    if not wanted:
        return state, [*batch]
    try:
        found = request.ledger.claim(wanted, context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        return _not_reserved(error, {record.tenant for record in wanted}, batch, state)
    tenants = dict(state.plans)
    mine = []
    for plan in batch:
        record = found.get(plan.tenant)
        if record is not None and record.claimed_by != context.id:
            tenants[plan.tenant] = busy(replace(plan, changes=(), after=plan.before), record)
        else:
            mine.append(plan)
    dropped = [plan for plan in mine if _takes_route(plan)]
    led = set()
    for plan, why, remedy in _still_led(dropped, request, context):
        later = replace(plan, after=plan.before)
        why = f"clients may still be led to it: {why}"
        tenants[plan.tenant] = later.defer(FindingKind.RETIRING, why, remedy)
        led.add(plan.tenant)
    mine = [plan for plan in mine if plan.tenant not in led]
    return replace(state, ledger_view=ledger_view.with_records(found), plans=tenants), mine


def _still_led(
    dropped: Sequence[TenantPlan], request: RunRequest, context: RunContext
) -> Iterator[tuple[TenantPlan, str, str | Hint]]:
    """Take out the routes of what is to be dropped; yield where clients may still be led, and why.

    Routes are those of this run's reporters, and of all proxies that are asked.
    """
    if not dropped or request.ledger is None:
        return
    if failures := request.write_routes():
        yield from ((plan, failures[0].message, failures[0].remedy) for plan in dropped)
        return
    routing = request.rules.routing
    if not routing.probes:
        return
    ledger = request.ledger
    end, why = time.monotonic() + parse_duration(routing.timeout), ""
    for plan in dropped:
        if not why or time.monotonic() < end:  # one that is late keeps nobody waiting twice
            change = _reserving(plan)
            left = change.target if change else ""
            try:
                why = wait_for_proxies(
                    routing.probes,
                    lambda: ledger.load_records((), context).route_version,
                    plan,
                    left,
                    end,
                    context,
                )
            except Interrupted:
                raise
            except InfluxopsError as error:
                yield plan, f"the ledger: {error.message}", error.remedy
                continue
        if why:
            yield plan, why, "see that each of them loads new routes (`influxops docs routing`)"


def _reserving(plan: TenantPlan) -> Change | None:
    """Return the change for which a tenant is reserved, a creation first, if one needs it."""
    changes = [change for change in plan.changes if change.action in _RESERVED]
    created = [change for change in changes if change.action is Action.CREATE]
    return next(iter(created or changes), None)


def _takes_route(plan: TenantPlan) -> bool:
    """Return whether a claim takes away where clients are led: the database is dropped."""
    change = _reserving(plan)
    if change is None or change.action is not Action.DROP:
        return False
    return plan.record is None or not is_copy(plan.record, change.target)


def _reserved(plan: TenantPlan, action: Action, target: str, observed: RunState) -> Record:
    """Return the record that reserves a slot for a tenant."""
    before = observed.ledger_view.records.get(plan.tenant)
    record = before or Record(plan.tenant, State.PENDING)
    if action not in (Action.CREATE, Action.DROP):
        return record
    if action is Action.DROP:
        if is_copy(record, target):
            return record  # an old copy goes, and the tenant stays where it is
        state, due = State.RETIRING, record.drop_after
        if due is not None and due > observed.ledger_view.now and record.secondary_target is None:
            # It goes now: a claim of one that is not due yet leaves its clients where they are.
            record = replace(record, drop_after=None)
    elif record.is_provisioned:
        state = record.state  # it keeps its state until its database exists again
    else:
        state = State.ALLOCATED
    identity = observed.identity(target)
    return replace(record, state=state, database=plan.database, target=target, identity=identity)


def _not_reserved(
    error: InfluxopsError, tenants: set[str], batch: Sequence[TenantPlan], state: RunState
) -> tuple[RunState, list[TenantPlan]]:
    """Skip tenants that need a target, where the ledger granted no claim."""
    settled = dict(state.settled)
    rest = []
    for plan in batch:
        if plan.tenant not in tenants:
            rest.append(plan)
            continue
        why = f"not tried: it could not be reserved: {error.message}"
        finding = plan.error(FindingKind.NOT_ATTEMPTED, why, error.remedy, target=None)
        outcomes = tuple(Outcome(c, ChangeResult.SKIPPED, finding.message) for c in plan.changes)
        settled[plan.tenant] = replace(
            plan, status=TenantStatus.FAILED, finding=finding, outcomes=outcomes, after=plan.before
        )
    notes = (*state.notes, failed_ledger(error))
    return replace(state, settled=settled, notes=notes), rest
