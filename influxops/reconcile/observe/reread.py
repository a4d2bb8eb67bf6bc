"""Re-read targets after changes, for verification, and for concurrent runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from influxops.domain.finding import FindingKind
from influxops.domain.plan import ChangeResult, Outcome, TenantStatus
from influxops.domain.record import Record, State
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.observe.ledger import ledger_view, without_ledger
from influxops.reconcile.observe.targets import observe_again
from influxops.reconcile.plan.contents import describe_copies
from influxops.reconcile.plan.desired import with_desired
from influxops.reconcile.plan.recorded import seems_lost
from influxops.reconcile.request import ANSWERED, settling
from influxops.reconcile.state import RunState

#: Plans from what is observed and desired, as `Operation.plan` does.
PlanFunction = Callable[[RunState], RunState]


def reread(outcomes: Sequence[Outcome], run: RunState, *, verify: bool = False) -> RunState:
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
        rest = settling(run.context, at_least=at_least)
        try:
            return observe_again(run, changed, rest, names)
        except Interrupted as error:
            why = error.message
        if rest is not run.context:
            break
    states = tuple(
        replace(state, reachable=False, error=why) if state.name in changed else state
        for state in run.targets
    )
    return replace(run, targets=states)


def confirm_losses(state: RunState) -> RunState:
    """Read targets and records again before anything that was provisioned is called lost.

    What was read first may be older than its record: another run may have claimed the tenant, or
    completed its database, in between. A target that cannot be read again says nothing.
    """
    request, context = state.request, state.context
    lost = {
        record.tenant: record
        for id_ in state.desired
        if (record := state.ledger_view.record(id_)) is not None
        and seems_lost(record, state)
        and state.covers(id_, record.target)
    }
    if not lost or request.ledger is None:
        return state
    names = {record.target or "" for record in lost.values()}
    state = observe_again(state, names, context)
    away = {each.name for each in state.targets if not each.reachable} & names
    inventories = {n: i for n, i in state.inventories.items() if n not in away}
    replaced = {n: s for n, s in state.ledger_view.replaced.items() if n not in away}
    view = replace(state.ledger_view, replaced=replaced)
    state = replace(state, inventories=inventories, ledger_view=view)
    try:
        memory = request.ledger.load_records(lost.keys(), context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        return without_ledger(state, error.message)
    known = state.ledger_view.with_records(ledger_view(memory, inventories).records)
    return replace(state, ledger_view=known)


def look_closely(state: RunState) -> RunState:
    """Read from what is stored whether databases are complete.

    Those of all the run's tenants where it is to verify them; else those that an earlier run made
    and could not confirm, or died over.
    """
    context = state.context
    wanted = {
        plan.database
        for plan in state.desired.values()
        if state.covers(plan.tenant)
        and (context.verify or _is_in_doubt(state.ledger_view.record(plan.tenant)))
    }
    if not wanted:
        return state
    names = {
        name: wanted & inventory.databases.keys()
        for name, inventory in state.inventories.items()
        if state.covers(None, name)
    }
    context.on_stage("verifying", sum(map(len, names.values())))
    targets = [name for name, wanted in names.items() if wanted]
    return observe_again(state, targets, context, names)


def _is_in_doubt(record: Record | None) -> bool:
    """Return whether an inventory is not enough to tell whether a database is complete.

    One that was seen to be there lacks nothing but its marker, and the inventory has that.
    """
    if record is None or record.is_provisioned:
        return False
    return record.state in (State.UNCONFIRMED, State.ALLOCATED)


def look_at_busy(plan: PlanFunction, state: RunState) -> RunState:
    """Read again the tenants that other runs had claimed."""
    ledger, context = state.request.ledger, state.context
    busy = {id_ for id_, each in state.plans.items() if each.kind is FindingKind.CLAIMED}
    if not busy or ledger is None:
        return state
    try:
        memory = ledger.load_records(busy, context)
    except Interrupted:
        raise
    except InfluxopsError:
        return state  # they stay as they are: another's
    state = replace(state, ledger_view=state.ledger_view.with_records(memory.records))
    state = observe_again(state, state.rules.targets, context)
    desired = with_desired(state).desired
    desired = {id_: each for id_, each in desired.items() if id_ in busy}
    again = plan(replace(state, desired=desired))
    plans = dict(state.plans)
    for id_, each in again.plans.items():
        if id_ in plans and each.status is TenantStatus.OK:
            plans[id_] = each
    return replace(state, plans=plans)


def find_duplicate_databases(plan: PlanFunction, state: RunState) -> RunState:
    """Read every target again, and report tenants that another run created elsewhere as well."""
    grace = settling(state.context)
    state = observe_again(state, state.inventories, grace)
    again = with_desired(replace(state, context=grace), check=lambda: None)
    again = describe_copies(plan(again))
    settled = dict(state.settled)
    plans = dict(state.plans)
    for id_, double in again.plans.items():
        if double.finding is None or double.finding.kind is not FindingKind.IN_TWO_TARGETS:
            continue
        for known_plans in (settled, plans):
            if id_ in known_plans and known_plans[id_].finding != double.finding:
                known_plans[id_] = replace(
                    known_plans[id_], status=TenantStatus.BLOCKED, finding=double.finding
                )
    return replace(state, settled=settled, plans=plans)
