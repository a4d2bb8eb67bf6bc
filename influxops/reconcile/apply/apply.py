"""Applying the changes of a batch of tenants, and reading again what that did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind
from influxops.domain.plan import (
    Action,
    Change,
    ChangeResult,
    Outcome,
    Plan,
    TenantPlan,
    TenantStatus,
)
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.verify import closed_by, incomplete, settled, verify, with_completion
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.observe.reread import reread
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed, Planning, RunState
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel


def still_open(state: RunState) -> list[TenantPlan]:
    """Return the tenants whose changes were not attempted yet, or whose target was full."""
    return [
        plan
        for plan in state.plan.tenants.values()
        if plan.changes and plan.tenant not in state.settled
    ]


def execute_plan(
    state: RunState, plan_again: Callable[[Planning], Plan], planning: Planning
) -> Iterator[RunState]:
    """Claim, change, read again and record, batch by batch, while something is open.

    `plan_again` plans from what was read since: a target that is full takes no more.
    """
    request, context = planning.request, planning.context
    while waiting := still_open(state):
        # Those that may exceed a capacity come after all others: of two that are created at once,
        # the server would choose which gets the last slot, and it may have been planned for the
        # other.
        batch = [plan for plan in waiting if not plan.may_exceed_capacity] or waiting
        context.check()
        if request.ledger is not None:
            state, batch = reserve(batch, state, request, context)
            yield state
        if batch:
            state = carry_out(batch, state, request, context)
            yield state
            yield (state := record(state, request, context))
        context.check()
        if still_open(state) or state.observed.closed:
            plan = plan_again(replace(planning, observed=state.observed))
            yield (state := replace(state, plan=replan(state, plan)))


def carry_out(
    batch: Sequence[TenantPlan], state: RunState, request: RunRequest, context: RunContext
) -> RunState:
    """Apply the changes of some tenants, and read their databases again.

    What was created and then lost a part (a server loses rows when a name is used again at once, or
    when it dies) is completed again.
    """
    observed, ended, faults = make_room(batch, state.observed, request, context)
    changes = [
        change
        for plan in batch
        if plan.tenant not in ended or ended[plan.tenant][-1].status is ChangeResult.DONE
        for change in plan.changes
        if change.needs_target and not (plan.tenant in ended and change.action is Action.DROP)
    ]
    context.on_stage("ensuring", len(changes))
    outcomes, more = apply(changes, request.targets, context)
    faults = [*faults, *more]
    observed = reread(outcomes, observed, request, context)
    missing = [*incomplete(outcomes, observed)] if context.interruption is None else []
    if missing:
        completions, more = apply(missing, request.targets, context)
        faults = [*faults, *more]
        outcomes = with_completion(outcomes, completions)
        observed = reread(completions, observed, request, context, verify=True)
    done = verify(batch, outcomes, observed, state.observed.closed, ended)
    closed = closed_by(outcomes, observed.closed)
    return replace(
        state,
        observed=replace(observed, closed=closed),
        settled={**state.settled, **done},
        notes=(*state.notes, *faults),
    )


def make_room(
    batch: Sequence[TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> tuple[Observed, dict[str, list[Outcome]], list[Finding]]:
    """Drop databases that are to be replaced, before anything is created under their names.

    It returns what was read afterwards, how the changes of each such tenant ended so far (the last
    one DONE where the rest of them follows), and what is wrong with plugins.
    """
    plans = {plan.tenant: plan for plan in batch if plan.is_replacement}
    drops = [c for plan in plans.values() for c in plan.changes if c.action is Action.DROP]
    if not drops:
        return observed, {}, []
    outcomes, faults = apply(drops, request.targets, context)
    observed = reread(outcomes, observed, request, context)
    ended = {}
    for outcome in (settled(o, plans[o.change.tenant], observed) for o in outcomes):
        ended[outcome.change.tenant] = [outcome]
        if outcome.status is not ChangeResult.DONE:
            why = "not attempted: the database of that name could not be dropped"
            rest = [c for c in plans[outcome.change.tenant].changes if c.action is not Action.DROP]
            ended[outcome.change.tenant] += [Outcome(c, ChangeResult.SKIPPED, why) for c in rest]
    return observed, ended, faults


def apply(
    changes: Sequence[Change], targets: Sequence[TargetHandle], context: RunContext
) -> tuple[list[Outcome], list[Finding]]:
    """Make changes, all targets at once; exactly one outcome a change."""
    by_target: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_target[change.target].append(change)
    tasks = {
        handle.full_name: partial(handle.ensure, by_target[handle.name], context)
        for handle in targets
        if handle.name in by_target
    }
    parts = in_parallel(tasks, context, say=False)
    return [o for outcomes, _ in parts for o in outcomes], [f for _, found in parts for f in found]


def replan(state: RunState, plan: Plan) -> Plan:
    """Return a new plan for who is still open; what was planned for the others stays."""
    tenants = {}
    for id_, before in state.plan.tenants.items():
        if before.status is not TenantStatus.PENDING or id_ in state.settled:
            tenants[id_] = before
        elif id_ in plan.tenants:
            tenants[id_] = plan.tenants[id_]
        else:
            why = "no free slot on the targets that this run may write to"
            unplaced = replace(
                before, target=None, changes=(), after=None, may_exceed_capacity=False
            )
            remedy = "add a target, or let it write to the others, too"
            tenants[id_] = unplaced.blocked(FindingKind.OVER_CAPACITY, why, remedy)
    return replace(plan, tenants=tenants, refusals=state.plan.refusals)
