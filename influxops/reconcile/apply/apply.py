"""Applying the changes of a batch of tenants, and reading again what that did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from msgspec.structs import replace

from influxops.domain.change import Action, Change, Outcome, Status
from influxops.domain.finding import Finding, Kind
from influxops.domain.plan import Plan, TenantPlan, Verdict
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.apply.verify import closed_by, incomplete, settled, verify, with_completion
from influxops.reconcile.observe.reread import reread
from influxops.reconcile.plan.blocks import held, hold
from influxops.reconcile.request import Order
from influxops.reconcile.state import Draft, Observed
from influxops.runtime.context import Context
from influxops.runtime.parallel import in_parallel


def next_batch(draft: Draft) -> list[TenantPlan]:
    """Return the tenants whose changes are to be tried next.

    Who may find no place comes after all others: of two that are made at once, the server would
    choose whom it gives the last place, and the plan would have promised it to another.
    """
    waiting = still_open(draft)
    return [plan for plan in waiting if not plan.over_estimate] or waiting


def still_open(draft: Draft) -> list[TenantPlan]:
    """Return the tenants whose changes were not tried yet, or found no place."""
    return [
        plan
        for plan in draft.plan.tenants.values()
        if plan.changes and plan.tenant not in draft.settled
    ]


def carry_out(batch: Sequence[TenantPlan], draft: Draft, order: Order, context: Context) -> Draft:
    """Apply the changes of some tenants, and read again what came of it.

    What was made and then lost a part (a server loses rows when a name is used again at once, or
    when it dies) is completed once more.
    """
    observed, ended, faults = make_room(batch, draft.observed, order, context)
    changes = [
        change
        for plan in batch
        if plan.tenant not in ended or ended[plan.tenant][-1].status is Status.DONE
        for change in plan.changes
        if change.needs_target and not (plan.tenant in ended and change.action is Action.DROP)
    ]
    context.on_stage("ensuring", len(changes))
    outcomes, more = apply(changes, order.targets, context)
    faults = [*faults, *more]
    observed = reread(outcomes, observed, order, context)
    missing = [*incomplete(outcomes, observed)] if context.over is None else []
    if missing:
        completions, more = apply(missing, order.targets, context)
        faults = [*faults, *more]
        outcomes = with_completion(outcomes, completions)
        observed = reread(completions, observed, order, context, closely=True)
    done = verify(batch, outcomes, observed, draft.observed.closed, ended)
    closed = closed_by(outcomes, observed.closed)
    return replace(
        draft,
        observed=replace(observed, closed=closed),
        settled={**draft.settled, **done},
        notes=(*draft.notes, *faults),
    )


def make_room(
    batch: Sequence[TenantPlan], observed: Observed, order: Order, context: Context
) -> tuple[Observed, dict[str, list[Outcome]], list[Finding]]:
    """Drop what is to be replaced, before anything is created in its place.

    Returns:
        What was read afterwards; how the changes of each such tenant ended so far, the last one
        DONE where the rest of them follows; and what is wrong with plugins.
    """
    plans = {plan.tenant: plan for plan in batch if plan.is_replacement}
    drops = [c for plan in plans.values() for c in plan.changes if c.action is Action.DROP]
    if not drops:
        return observed, {}, []
    outcomes, faults = apply(drops, order.targets, context)
    observed = reread(outcomes, observed, order, context)
    ended = {}
    for outcome in (settled(o, plans[o.change.tenant], observed) for o in outcomes):
        ended[outcome.change.tenant] = [outcome]
        if outcome.status is not Status.DONE:
            why = "not tried: what is in its place could not be dropped"
            rest = [c for c in plans[outcome.change.tenant].changes if c.action is not Action.DROP]
            ended[outcome.change.tenant] += [Outcome(c, Status.SKIPPED, why) for c in rest]
    return observed, ended, faults


def apply(
    changes: Sequence[Change], targets: Sequence[TargetHandle], context: Context
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


def replan(draft: Draft, plan: Plan) -> Plan:
    """Return a new plan for who is still open; what was planned for the others stays.

    Args:
        draft: What is known.
        plan: A plan by what was read since.
    """
    tenants = {}
    for id_, before in draft.plan.tenants.items():
        if before.verdict is not Verdict.PENDING or id_ in draft.settled:
            tenants[id_] = before
        elif id_ in plan.tenants:
            tenants[id_] = plan.tenants[id_]
        else:
            why = "no place left on the targets that this run may write to"
            tenants[id_] = hold(
                replace(before, target=None, changes=(), after=None, over_estimate=False),
                held(Kind.OVER_CAPACITY, why, "add a target, or let it write to the others, too"),
            )
    return replace(plan, tenants=tenants, refusals=draft.plan.refusals)
