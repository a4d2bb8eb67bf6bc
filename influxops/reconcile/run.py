"""One run, from reading to its report: the page that names the steps.

    observe ─▶ desire ─▶ plan ─▶ guard ─▶ reserve ─▶ apply ─▶ verify ─▶ record ─┐
                          ▲                                                      │
                          └─────────────── while something is open ──────────────┘─▶ report

Where no ledger is configured, nothing is reserved or recorded.

Each step is a function: values in, values out. What a run knows is one value, a `Draft`; `steps`
yields a new one whenever it knows more, so that a run that is ended at any point can still tell
all that it did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from influxops.domain.change import Action, Change, Outcome, Status
from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.plan import Plan, TenantPlan, Verdict
from influxops.errors import (
    ConfigError,
    DeadlineExceeded,
    InfluxopsError,
    Interrupted,
    LockBusy,
)
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.again import (
    look_at_busy,
    look_closely,
    look_for_doubles,
    reread,
)
from influxops.reconcile.conclude import conclude
from influxops.reconcile.copies import describe_copies
from influxops.reconcile.desired import desire, held, hold
from influxops.reconcile.guards import guard
from influxops.reconcile.lock import Lock
from influxops.reconcile.lost import describe_recreated, look_twice
from influxops.reconcile.observe import Observed, observe
from influxops.reconcile.order import GRACE, Draft, Order
from influxops.reconcile.plan import make_plan
from influxops.reconcile.read_ledger import without_ledger
from influxops.reconcile.remember import record
from influxops.reconcile.reserve import reserve
from influxops.reconcile.scope import refuse_unknown_targets, with_unknown_tenants
from influxops.reconcile.stale import stale_ledger
from influxops.reconcile.verify import (
    closed_by,
    incomplete,
    settled,
    verify,
    with_completion,
)
from influxops.report.model import Origin, Report
from influxops.runtime.context import Context
from influxops.runtime.parallel import in_parallel

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


def ended(error: InfluxopsError) -> Finding:
    """Return the finding that says what ended a run."""
    kind = Kind.CONFIGURATION
    if isinstance(error, LockBusy):
        kind = Kind.LOCK_BUSY
    elif isinstance(error, DeadlineExceeded):
        kind = Kind.DEADLINE
    elif isinstance(error, Interrupted):
        kind = Kind.INTERRUPTED
    return Finding(kind, Severity.ERROR, error.message, error.remedy)
