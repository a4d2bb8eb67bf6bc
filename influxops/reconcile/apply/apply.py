"""Applying the changes of a batch of tenants, and reading again what that did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind
from influxops.domain.plan import (
    Action,
    Change,
    ChangeResult,
    Outcome,
    TenantPlan,
    TenantStatus,
)
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.verify import closed_by, incomplete, settled, verify, with_completion
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.observe.reread import reread
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext
from influxops.runtime.parallel import in_parallel


def still_open(state: RunState) -> list[TenantPlan]:
    """Return the tenants whose changes were not attempted yet, or whose target was full."""
    return [
        plan for plan in state.plans.values() if plan.changes and plan.tenant not in state.settled
    ]


def execute_plan(state: RunState, plan_again: Callable[[RunState], RunState]) -> Iterator[RunState]:
    """Claim, change, read again and record, batch by batch, while something is open.

    `plan_again` plans from what was read since: a target that is full takes no more.
    """
    context = state.context
    while waiting := still_open(state):
        # Those that may exceed a capacity come after all others, who were planned for the slots
        # that are known; in one batch, because each waits for a server's flush.
        batch = sorted(waiting, key=lambda plan: plan.may_exceed_capacity)
        asked = batch
        context.check()
        if state.request.ledger is not None:
            state, batch = reserve(batch, state)
            yield state
        if batch:
            yield (state := carry_out(batch, state))
            yield (state := record(state))
        context.check()
        if state.closed or (still_open(state) and not _went_as_planned(asked, state)):
            yield (state := replan(state, plan_again(state)))


def _went_as_planned(batch: Iterable[TenantPlan], state: RunState) -> bool:
    """Return whether nothing was learned that the first plan of the others does not reckon with.

    With a ledger, other runs may have claimed some of these in the meantime.
    """
    if state.request.ledger is not None:
        return False
    done = map(state.settled.get, (plan.tenant for plan in batch))
    return all(plan is not None and plan.status is TenantStatus.CHANGED for plan in done)


def carry_out(batch: Sequence[TenantPlan], state: RunState) -> RunState:
    """Apply the changes of some tenants, and read their databases again.

    What was created and then lost a part (a server loses rows when a name is used again at once, or
    when it dies) is completed again.
    """
    request, context, before = state.request, state.context, state.closed
    state, ended = make_room(batch, state)
    changes = [
        change
        for plan in batch
        if plan.tenant not in ended or ended[plan.tenant][-1].status is ChangeResult.DONE
        for change in plan.changes
        if change.needs_target and not (plan.tenant in ended and change.action is Action.DROP)
    ]
    planned = state.inventories
    context.on_stage("ensuring", len(changes))
    outcomes, faults = apply(changes, request.targets, context)
    state = reread(outcomes, state.note(*faults))
    missing = [*incomplete(outcomes, state)] if context.interruption is None else []
    if missing:
        completions, faults = apply(missing, request.targets, context)
        outcomes = with_completion(outcomes, completions)
        state = reread(completions, state.note(*faults), verify=True)
    done = verify(batch, outcomes, state, before, ended, planned)
    closed = closed_by(outcomes, state.closed)
    return replace(state, closed=closed, settled={**state.settled, **done})


def make_room(
    batch: Sequence[TenantPlan], state: RunState
) -> tuple[RunState, dict[str, list[Outcome]]]:
    """Drop databases that are to be replaced, before anything is created under their names.

    It returns what was read afterwards, and how the changes of each such tenant ended so far (the
    last one DONE where the rest of them follows).
    """
    plans = {plan.tenant: plan for plan in batch if plan.is_replacement}
    drops = [c for plan in plans.values() for c in plan.changes if c.action is Action.DROP]
    if not drops:
        return state, {}
    outcomes, faults = apply(drops, state.request.targets, state.context)
    state = reread(outcomes, state.note(*faults))
    ended = {}
    for outcome in (settled(o, plans[o.change.tenant], state) for o in outcomes):
        ended[outcome.change.tenant] = [outcome]
        if outcome.status is not ChangeResult.DONE:
            why = "not attempted: the database of that name could not be dropped"
            rest = [c for c in plans[outcome.change.tenant].changes if c.action is not Action.DROP]
            ended[outcome.change.tenant] += [Outcome(c, ChangeResult.SKIPPED, why) for c in rest]
    return state, ended


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


def replan(state: RunState, again: RunState) -> RunState:
    """Return what was planned again for who is still open; for the others the first plan stays."""
    tenants = {}
    for id_, before in state.plans.items():
        if before.status is not TenantStatus.PENDING or id_ in state.settled:
            tenants[id_] = before
        elif id_ in again.plans:
            tenants[id_] = again.plans[id_]
        else:
            why = "no free slot on the targets that this run may write to"
            unplaced = replace(before, target=None, changes=(), after=None)
            remedy = "add a target, or let it write to the others, too"
            tenants[id_] = unplaced.blocked(FindingKind.OVER_CAPACITY, why, remedy)
    return replace(again, plans=tenants, refusals=state.refusals)
