"""Re-read targets after changes, for verification, and for concurrent runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from influxops.domain.finding import FindingKind
from influxops.domain.plan import ChangeResult, Outcome, Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.observe.ledger import ledger_view, without_ledger
from influxops.reconcile.observe.targets import observe_again
from influxops.reconcile.plan.contents import describe_copies
from influxops.reconcile.plan.desired import compute_desired
from influxops.reconcile.plan.recorded import seems_lost
from influxops.reconcile.request import ANSWERED, RunRequest, settling
from influxops.reconcile.state import Observed, Planning, RunState
from influxops.runtime.context import RunContext

#: Plans what is observed and desired, as `Operation.plan` does.
PlanFunction = Callable[[Planning], Plan]


def reread(
    outcomes: Sequence[Outcome],
    observed: Observed,
    request: RunRequest,
    context: RunContext,
    *,
    verify: bool = False,
) -> Observed:
    """Read the targets of changes again, even if the run is over; from rows where need be."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        if verify or outcome.status is ChangeResult.UNKNOWN:
            names[outcome.change.target].add(outcome.change.database)
    changed = {outcome.change.target for outcome in outcomes}
    # A server that answered until now is worth more time than one that hangs.
    at_least = 0.5 if any(outcome.abandoned for outcome in outcomes) else ANSWERED
    why = ""
    for _ in range(2):  # the run may end in the meantime: what was done is worth a moment more
        rest = settling(context, at_least=at_least)
        try:
            return observe_again(observed, changed, request, rest, names)
        except Interrupted as error:
            why = error.message
        if rest is not context:
            break
    states = tuple(
        replace(state, reachable=False, error=why) if state.name in changed else state
        for state in observed.targets
    )
    return replace(observed, targets=states)


def confirm_losses(
    desired: Mapping[str, TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> Observed:
    """Read targets and records again before anything that was provisioned is called lost.

    What was read first may be older than its record: another run may have claimed the tenant, or
    completed its database, in between. A target that cannot be read again says nothing.
    """
    lost = {
        record.tenant: record
        for id_ in desired
        if (record := observed.ledger_view.record(id_)) is not None
        and seems_lost(record, observed)
        and context.scope.covers(id_, record.target)
    }
    if not lost or request.ledger is None:
        return observed
    names = {record.target or "" for record in lost.values()}
    observed = observe_again(observed, names, request, context)
    away = {each.name for each in observed.targets if not each.reachable} & names
    inventories = {n: i for n, i in observed.inventories.items() if n not in away}
    observed = replace(observed, inventories=inventories)
    try:
        memory = request.ledger.load_records(lost.keys(), context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        return without_ledger(observed, error.message)
    known = observed.ledger_view.with_records(ledger_view(memory, inventories).records)
    return replace(observed, ledger_view=known)


def look_closely(
    desired: Mapping[str, TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> Observed:
    """Read from what is stored whether databases are complete.

    Those of all the run's tenants where it is to verify them; else those that an earlier run made
    and could not confirm, or died over.
    """
    wanted = {
        plan.database
        for plan in desired.values()
        if context.scope.covers(plan.tenant)
        and (context.verify or _is_in_doubt(observed.ledger_view.record(plan.tenant)))
    }
    if not wanted:
        return observed
    names = {
        name: wanted & inventory.databases.keys()
        for name, inventory in observed.inventories.items()
        if context.scope.covers(None, name)
    }
    context.on_stage("verifying", sum(map(len, names.values())))
    targets = [name for name, wanted in names.items() if wanted]
    return observe_again(observed, targets, request, context, names)


def _is_in_doubt(record: Record | None) -> bool:
    """Return whether an inventory is not enough to tell whether a database is complete.

    One that was seen to be there lacks nothing but its marker, and the inventory has that.
    """
    if record is None or record.is_provisioned:
        return False
    return record.state in (State.UNCONFIRMED, State.ALLOCATED)


def look_at_busy(
    plan: PlanFunction, state: RunState, request: RunRequest, context: RunContext
) -> RunState:
    """Read again the tenants that other runs had claimed."""
    busy = {id_ for id_, each in state.plan.tenants.items() if each.kind is FindingKind.CLAIMED}
    if not busy or request.ledger is None:
        return state
    try:
        memory = request.ledger.load_records(busy, context)
    except Interrupted:
        raise
    except InfluxopsError:
        return state  # they stay as they are: another's
    known = state.observed.ledger_view.with_records(memory.records)
    observed = replace(state.observed, ledger_view=known)
    observed = observe_again(observed, request.rules.targets, request, context)
    desired = compute_desired(observed, request.rules, context.check)
    desired = {id_: each for id_, each in desired.items() if id_ in busy}
    again = plan(Planning(observed, desired, request, context))
    tenants = dict(state.plan.tenants)
    for id_, each in again.tenants.items():
        if id_ in tenants and each.status is TenantStatus.OK:
            tenants[id_] = each
    return replace(state, observed=observed, plan=replace(state.plan, tenants=tenants))


def find_duplicate_databases(
    plan: PlanFunction, request: RunRequest, context: RunContext, state: RunState
) -> RunState:
    """Read every target again, and report tenants that another run created elsewhere as well."""
    grace = settling(context)
    observed = observe_again(state.observed, state.observed.inventories, request, grace)
    desired = compute_desired(observed, request.rules, lambda: None)
    again = plan(Planning(observed, desired, request, grace))
    again = describe_copies(again, request.targets, grace)
    settled = dict(state.settled)
    tenants = dict(state.plan.tenants)
    for id_, double in again.tenants.items():
        if double.finding is None or double.finding.kind is not FindingKind.IN_TWO_TARGETS:
            continue
        for known_plans in (settled, tenants):
            if id_ in known_plans and known_plans[id_].finding != double.finding:
                known_plans[id_] = replace(
                    known_plans[id_], status=TenantStatus.BLOCKED, finding=double.finding
                )
    return replace(
        state, observed=observed, settled=settled, plan=replace(state.plan, tenants=tenants)
    )
