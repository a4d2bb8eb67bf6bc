"""TODO run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.plan import Plan
from influxops.errors import (
    ConfigError,
    InfluxopsError,
    Interrupted,
    LockBusy,
)
from influxops.reconcile.apply.apply import carry_out, next_batch, replan, still_open
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.locks import Lock
from influxops.reconcile.guards import guard
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.observe.ledger import without_ledger
from influxops.reconcile.observe.observe import observe
from influxops.reconcile.observe.reread import look_at_busy, look_closely, look_for_doubles
from influxops.reconcile.observe.stale_ledger import stale_ledger
from influxops.reconcile.plan.desired import desire
from influxops.reconcile.plan.duplicates import describe_copies
from influxops.reconcile.plan.ensure import make_plan
from influxops.reconcile.plan.lost import describe_recreated, look_twice
from influxops.reconcile.plan.unknown_names import refuse_unknown_targets, with_unknown_tenants
from influxops.reconcile.request import GRACE, Order
from influxops.reconcile.result import conclude
from influxops.reconcile.state import Draft, Observed
from influxops.report.model import Origin, Report
from influxops.runtime.context import Context

#: What a run without a ledger says once.
NO_LEDGER = Finding(
    Kind.NO_LEDGER,
    Severity.INFO,
    "no ledger is configured, so nothing is remembered: a database that is gone is made again, "
    "empty, and a server that was replaced at its URL is taken for the old one",
    "configure [ledger] and run `influxops ledger install` (docs/ledger.md)",
)


def reconcile(
    order: Order, context: Context, origin: Origin, notes: Sequence[Finding] = ()
) -> tuple[Report, InfluxopsError | None]:
    """Make a run: a dry one plans, any other also carries the plan out.

    Args:
        order: What to do, with what.
        context: The run.
        origin: Who runs it.
        notes: What was noticed before it began.

    Returns:
        The report, and what ended the run before anything was written: a mistake in the
        configuration or a lock that another run holds.
    """
    draft = Draft(notes=tuple(notes))
    lock = Lock()
    try:
        with lock.held(order, context):
            for known in steps(order, context, lock, draft):
                draft = known
    except (Interrupted, ConfigError, LockBusy) as error:
        draft = replace(draft, error=error)
    if lock.lost and order.planner is None and draft.settled and len(order.targets) > 1:
        draft = look_for_doubles(order, context, draft)
    draft = replace(draft, notes=(*draft.notes, *lock.findings(order, draft)))
    report = conclude(draft, order, context, origin)
    refused = isinstance(draft.error, ConfigError | LockBusy)
    return report, draft.error if refused else None


def steps(order: Order, context: Context, lock: Lock, draft: Draft) -> Iterator[Draft]:
    """Take the steps of a run, and yield what is known after each.

    Raises:
        Interrupted: When the run is over; what was yielded last is what is known.
        ConfigError: When the run asks for what cannot be; nothing was written.
    """
    rules, scope = order.rules, context.scope
    context.check()
    refuse_unknown_targets(rules, scope)
    refuse_unusable(order)
    observed = observe(order.sources, order.targets, rules, context, order.ledger)
    if lock.unrecorded:
        observed = without_ledger(observed, lock.unrecorded)
    notes = (*draft.notes, *order.tell_start(observed))
    if order.ledger is None and rules.has_file:  # else nobody could configure one
        notes = (*notes, NO_LEDGER)
    yield (draft := replace(draft, observed=observed, notes=notes))

    desired = desire(observed, rules, context.check)
    observed = look_twice(desired, observed, order, context)
    observed = look_closely(desired, observed, order, context)
    if order.planner is None and not order.absent:
        stale = stale_ledger(observed, desired, order, scope, context)
        observed = replace(observed, findings=(*observed.findings, *stale))
    yield (draft := replace(draft, observed=observed))

    def plan_for(observed: Observed) -> Plan:
        if order.planner is not None:
            plan = order.planner(observed, desired, order, context)
        else:
            plan = make_plan(observed, desired, rules, scope, context.check, absent=order.absent)
        return guard(plan, observed, rules, order.allow, absent=order.absent)

    plan = plan_for(observed)
    if order.planner is None:
        plan = with_unknown_tenants(plan, desired, observed, rules, scope)
    plan = describe_copies(plan, order.targets, context)
    plan = describe_recreated(plan, order.targets, context)
    yield (draft := replace(draft, plan=plan))

    if order.carrier is not None and not context.dry_run:
        for known in order.carrier(draft, order, context):
            yield (draft := known)
    while order.carrier is None and not context.dry_run and (batch := next_batch(draft)):
        context.check()
        draft, batch = reserve(batch, draft, order, context)
        yield draft
        if batch:
            draft = carry_out(batch, draft, order, context)
            yield draft
            yield (draft := record(draft, order, context.or_grace(GRACE)))
        context.check()
        if still_open(draft) or draft.observed.closed:
            yield (draft := replace(draft, plan=replan(draft, plan_for(draft.observed))))
    if order.planner is None and draft.settled and not lock.keeps_out(order):
        yield (draft := look_for_doubles(order, context, draft))
    yield (draft := look_at_busy(draft, order, context))
    yield (draft := record(draft, order, context.or_grace(GRACE), at_end=True))
    if any(not plan.verdict.is_right for plan in draft.settled.values()):
        context.check()


def refuse_unusable(order: Order) -> None:
    """Refuse a run of which no source or no target can be used at all.

    Raises:
        ConfigError: Then; a single one of several is told like one that cannot be read.
    """
    for handles in (order.sources, order.targets):
        missing = [handle for handle in handles if handle.missing is not None]
        if missing and len(missing) == len(handles):
            error = missing[0].missing
            assert error is not None
            raise ConfigError(f"{missing[0].full_name}: {error.message}", hint=error.remedy)
