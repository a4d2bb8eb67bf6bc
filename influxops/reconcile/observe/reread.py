"""Looking again: after changes, more closely, at what others did meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from influxops.domain.change import Outcome, Status
from influxops.domain.finding import Kind
from influxops.domain.plan import TenantPlan, Verdict
from influxops.domain.record import Record, State
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.observe.targets import observe_again, unread
from influxops.reconcile.plan.desired import desire
from influxops.reconcile.plan.duplicates import describe_copies
from influxops.reconcile.plan.ensure import make_plan
from influxops.reconcile.request import GRACE, Order
from influxops.reconcile.state import Draft, Observed
from influxops.runtime.context import Context


def reread(
    outcomes: Sequence[Outcome],
    observed: Observed,
    order: Order,
    context: Context,
    *,
    closely: bool = False,
) -> Observed:
    """Read the targets of changes again, even if the run is over.

    Args:
        outcomes: How the changes ended: what is not known is read from what is stored.
        observed: What was read before.
        order: The run's order.
        context: The run.
        closely: Whether everything is read from what is stored.
    """
    names: defaultdict[str, set[str]] = defaultdict(set)
    for outcome in outcomes:
        if closely or outcome.status is Status.UNKNOWN:
            names[outcome.change.target].add(outcome.change.database)
    changed = {outcome.change.target for outcome in outcomes}
    targets = [handle for handle in order.targets if handle.name in changed]
    try:
        return observe_again(observed, targets, order.rules, context.or_grace(GRACE), names)
    except Interrupted:
        pass  # the run ended meanwhile: what was done is worth a moment more
    try:
        return observe_again(observed, targets, order.rules, context.or_grace(GRACE), names)
    except Interrupted as error:
        return unread(observed, changed, error.message)


def look_closely(
    desired: Mapping[str, TenantPlan], observed: Observed, order: Order, context: Context
) -> Observed:
    """Read from what is stored whether databases are complete.

    Those of all the run's tenants where it is to verify them; else those that an earlier run made
    and could not confirm, or died over.
    """
    wanted = {
        plan.database
        for plan in desired.values()
        if context.scope.covers(plan.tenant)
        and (context.verify or _is_in_doubt(observed.recalled.record(plan.tenant)))
    }
    if not wanted:
        return observed
    names = {
        name: wanted & inventory.databases.keys()
        for name, inventory in observed.inventories.items()
        if context.scope.covers(None, name)
    }
    context.on_stage("verifying", sum(map(len, names.values())))
    targets = [handle for handle in order.targets if names.get(handle.name)]
    return observe_again(observed, targets, order.rules, context, names)


def _is_in_doubt(record: Record | None) -> bool:
    """Return whether an inventory is not enough to tell whether a database is complete.

    One that was seen to be there lacks nothing but its marker, and the inventory has that.
    """
    if record is None or record.is_promised:
        return False
    return record.state in (State.UNCONFIRMED, State.RESERVED)


def look_at_busy(draft: Draft, order: Order, context: Context) -> Draft:
    """Look once more at the tenants that other runs had in their hands."""
    busy = {
        id_
        for id_, plan in draft.plan.tenants.items()
        if plan.finding is not None and plan.finding.kind is Kind.BUSY
    }
    if not busy or order.ledger is None or order.planner is not None or context.dry_run:
        return draft
    try:
        memory = order.ledger.memory(context, busy)
    except Interrupted:
        raise
    except InfluxopsError:
        return draft  # they stay as they are: another's
    known = draft.observed.recalled.having(memory.records)
    observed = observe_again(
        replace(draft.observed, recalled=known), order.targets, order.rules, context
    )
    desired = desire(observed, order.rules, context.check)
    again = make_plan(
        observed,
        {id_: plan for id_, plan in desired.items() if id_ in busy},
        order.rules,
        context.scope,
        context.check,
    )
    return _settle_busy(replace(draft, observed=observed), again.tenants)


def _settle_busy(draft: Draft, plans: Mapping[str, TenantPlan]) -> Draft:
    """Return what is known once the tenants that others had in their hands were looked at again.

    Args:
        draft: What was known.
        plans: What these tenants look like now.
    """
    tenants = dict(draft.plan.tenants)
    for id_, plan in plans.items():
        if id_ in tenants and plan.verdict is Verdict.OK:
            tenants[id_] = plan
    return replace(draft, plan=replace(draft.plan, tenants=tenants))


def look_for_doubles(order: Order, context: Context, draft: Draft) -> Draft:
    """Read every target once more, and tell of tenants that another run made elsewhere as well."""
    grace = context.or_grace(GRACE)
    known = [handle for handle in order.targets if handle.name in draft.observed.inventories]
    observed = observe_again(draft.observed, known, order.rules, grace)
    desired = desire(observed, order.rules, lambda: None)
    again = make_plan(observed, desired, order.rules, context.scope, lambda: None)
    again = describe_copies(again, order.targets, grace)
    settled = dict(draft.settled)
    tenants = dict(draft.plan.tenants)
    for id_, plan in again.tenants.items():
        if plan.finding is None or plan.finding.kind is not Kind.IN_TWO_TARGETS:
            continue
        for known_plans in (settled, tenants):
            if id_ in known_plans and known_plans[id_].finding != plan.finding:
                known_plans[id_] = replace(
                    known_plans[id_], verdict=Verdict.HELD, finding=plan.finding
                )
    return replace(
        draft, observed=observed, settled=settled, plan=replace(draft.plan, tenants=tenants)
    )
