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

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.context import Context
from influxops.errors import (
    ConfigError,
    DeadlineExceeded,
    InfluxopsError,
    Interrupted,
    LedgerError,
    LockBusy,
)
from influxops.findings import Finding, Kind, Severity
from influxops.ledger import Entry, State
from influxops.model import Change, Outcome, Status, TenantPlan, Verdict
from influxops.plugins.handles import SourceHandle, TargetHandle
from influxops.plugins.ledger import LedgerHandle
from influxops.reconcile.conclude import conclude
from influxops.reconcile.copies import describe_copies
from influxops.reconcile.desired import desire, held, hold, postponed
from influxops.reconcile.guards import guard
from influxops.reconcile.observe import (
    Observed,
    failed_ledger,
    in_parallel,
    observe,
    observe_again,
    unread,
)
from influxops.reconcile.plan import Plan, make_plan
from influxops.reconcile.remember import record, reserve, settle_busy
from influxops.reconcile.rules import Rules
from influxops.reconcile.scope import refuse_unknown_targets, with_unknown_tenants
from influxops.reconcile.verify import closed_by, incomplete, verify, with_completion
from influxops.report.model import Origin, Report

#: Seconds that a run which was ended still has to find out and tell what it did.
GRACE = 5.0


#: Tenants at least that are carried out after one more reading, where everything is read again
#: right before; and how often that may be, however many there are.
_AT_ONCE, _READINGS = 200, 20

#: What a run without a ledger says once.
NO_LEDGER = Finding(
    Kind.NO_LEDGER,
    Severity.INFO,
    "no ledger is configured, so nothing is remembered: a database that is gone is made again, "
    "empty, and a server that was replaced at its URL is taken for the old one",
    "configure [ledger] and run `influxops ledger install` (docs/ledger.md)",
)


class Order(Struct, frozen=True):
    """What a run is asked to do, and what it has to do it with."""

    sources: Sequence[SourceHandle]
    targets: Sequence[TargetHandle]
    rules: Rules
    allow: frozenset[str] = frozenset()  # the guards that are allowed
    absent: bool = False  # whether the tenants that the scope names lose their databases
    #: Plans instead of `make_plan`, for a run that does something else than ensure.
    planner: Planner | None = None
    #: Carries the plan out instead of `carry_out`, for a run that does more than one target can.
    carrier: Carrier | None = None
    command: str = "ensure"  # the command that makes such a run
    #: Whether all is read and planned once more right before it is carried out.
    reads_again: bool = False
    ledger: LedgerHandle | None = None  # what remembers, where one is configured
    who: str = ""  # who makes the run: user@host
    #: Tells reporters what the run works on, once that is read; returns what went wrong.
    tell_start: Callable[[Observed], Sequence[Finding]] = lambda observed: ()


#: Plans what is observed and desired, for an order, within a run.
Planner = Callable[[Observed, Mapping[str, TenantPlan], Order, Context], Plan]


class Draft(Struct, frozen=True):
    """What a run knows so far; always enough for a report."""

    observed: Observed = field(default_factory=Observed)
    plan: Plan = field(default_factory=lambda: Plan({}))
    settled: Mapping[str, TenantPlan] = field(default_factory=dict)  # whose changes were tried
    recorded: frozenset[str] = frozenset()  # those of them that the ledger was told of
    events: tuple[Entry, ...] = ()  # what was written into the ledger's history
    notes: tuple[Finding, ...] = ()  # what was noticed beside observing and planning
    error: InfluxopsError | None = None  # what ended the run before it was through


#: Carries out what is planned, for an order, within a run; yields what is known.
Carrier = Callable[[Draft, Order, Context], Iterator[Draft]]


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
    observed = look_closely(desired, observed, order, context)
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
    yield (draft := replace(draft, plan=plan))

    if order.carrier is not None and not context.dry_run:
        for known in order.carrier(draft, order, context):
            yield (draft := known)
    while order.carrier is None and not context.dry_run and (batch := next_batch(draft, order)):
        context.check()
        draft, batch = reserve(batch, draft, order, context)
        yield draft
        if batch and order.reads_again:
            draft, batch = plan_again(batch, draft, order, context)
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


def next_batch(draft: Draft, order: Order) -> list[TenantPlan]:
    """Return the tenants whose changes are to be tried next.

    Who may find no place comes after all others: of two that are made at once, the server would
    choose whom it gives the last place, and the plan would have promised it to another.
    """
    waiting = still_open(draft)
    if order.reads_again:
        # What was read is soon old, and may be read only so often.
        return waiting[: max(_AT_ONCE, len(draft.plan.tenants) // _READINGS)]
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
    changes = [change for plan in batch for change in plan.changes if change.needs_target]
    context.on_stage("ensuring", len(changes))
    outcomes, faults = apply(changes, order.targets, context)
    observed = reread(outcomes, draft.observed, order, context)
    missing = [*incomplete(outcomes, observed)] if context.over is None else []
    if missing:
        completions, more = apply(missing, order.targets, context)
        faults = [*faults, *more]
        outcomes = with_completion(outcomes, completions)
        observed = reread(completions, observed, order, context, closely=True)
    settled = verify(batch, outcomes, observed, draft.observed.closed)
    closed = closed_by(outcomes, observed.closed)
    return replace(
        draft,
        observed=replace(observed, closed=closed),
        settled={**draft.settled, **settled},
        notes=(*draft.notes, *faults),
    )


def plan_again(
    batch: Sequence[TenantPlan], draft: Draft, order: Order, context: Context
) -> tuple[Draft, list[TenantPlan]]:
    """Read everything once more, and plan anew for the tenants that this run has in its hands.

    Returns:
        What is known now, and those of the batch for which the same is still to be done.
    """
    assert order.planner is not None
    observed, why = draft.observed, ""
    try:
        observed = observe(order.sources, order.targets, order.rules, context, order.ledger)
        observed = replace(observed, closed=draft.observed.closed)
    except ConfigError as error:
        why = error.message
    records = observed.recalled.records
    own = {plan.tenant: records[plan.tenant] for plan in batch if plan.tenant in records}
    plan = Plan({})
    if not why and observed.recalled.is_there:
        part = replace(observed, recalled=replace(observed.recalled, records=own))
        plan = order.planner(part, desire(part, order.rules, context.check), order, context)
        plan = guard(plan, observed, order.rules, order.allow)
    tenants = dict(draft.plan.tenants)
    still = []
    for before in batch:
        why = why or observed.recalled.error or "the ledger has changed meanwhile"
        now = plan.tenants.get(before.tenant) or postponed(before, Kind.NOT_READ, why)
        tenants[before.tenant] = now
        if [c.action for c in now.changes] == [c.action for c in before.changes]:
            still.append(now)
    refusals = tuple(dict.fromkeys((*draft.plan.refusals, *plan.refusals)))
    return (
        replace(
            draft,
            observed=observed,
            plan=replace(draft.plan, tenants=tenants, refusals=refusals),
        ),
        still,
    )


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
    in_doubt = (State.UNCONFIRMED, State.RESERVED)
    wanted = {
        plan.database
        for plan in desired.values()
        if context.scope.covers(plan.tenant)
        and (
            context.verify
            or ((known := observed.recalled.record(plan.tenant)) and known.state in in_doubt)
        )
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
    return settle_busy(replace(draft, observed=observed), again.tenants)


def without_ledger(observed: Observed, why: str) -> Observed:
    """Return what is known where the ledger can be read, but this run cannot live in it."""
    if observed.recalled.error:
        return observed
    recalled = replace(observed.recalled, error=why)
    state = replace(observed.ledger, error=why) if observed.ledger is not None else None
    finding = failed_ledger(LedgerError(why))
    return replace(
        observed, recalled=recalled, ledger=state, findings=(*observed.findings, finding)
    )


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


_NOT_OFFERED = "no source offers one"


class Lock:
    """What keeps other runs out: the ledger's reservations, else the lock of the registry."""

    def __init__(self) -> None:
        self.is_held = False
        self.unrecorded = ""  # why the ledger, where one is configured, cannot be written
        self.missing = ""  # why no lock could be had
        self.lost = ""  # why it was lost while it was held

    @contextlib.contextmanager
    def held(self, order: Order, context: Context) -> Iterator[None]:
        """Live in the ledger, or hold the lock of the first source that has one, till the report.

        A dry run takes none, but knows whether the run that it stands for is offered one.

        Raises:
            LockBusy: When another run holds it.
            Interrupted: When the run is over.
        """
        if context.dry_run:
            offers = any(handle.implements("influxops_lock") for handle in order.sources)
            if order.ledger is None and not offers:
                self.missing = _NOT_OFFERED
            yield
            return
        with contextlib.ExitStack() as stack:
            if order.ledger is None or not self._live(order.ledger, context, stack):
                self._take(order.sources, context, stack)
            try:
                yield
            finally:
                try:
                    stack.close()
                except Exception as error:  # whatever a plugin's lock raises: changes are made
                    self.is_held = False
                    self.lost = error.message if isinstance(error, InfluxopsError) else repr(error)

    def _live(self, ledger: LedgerHandle, context: Context, stack: contextlib.ExitStack) -> bool:
        """Let the ledger know that this run lives; return whether it does."""
        try:
            with ledger.guard():
                stack.enter_context(ledger.lock(context))
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("%s has no lock", ledger.full_name, exc_info=True)
            self.unrecorded = error.message
            return False
        return True

    def _take(
        self, sources: Sequence[SourceHandle], context: Context, stack: contextlib.ExitStack
    ) -> None:
        self.missing = _NOT_OFFERED
        for handle in sources:
            try:
                with handle.guard():
                    lock = handle.lock(context)
                    if lock is None:
                        continue
                    stack.enter_context(lock)
                self.is_held, self.missing = True, ""
                return
            except (LockBusy, Interrupted):
                raise
            except InfluxopsError as error:
                context.log.debug("%s has no lock", handle.full_name, exc_info=True)
                self.missing = error.message

    def keeps_out(self, order: Order) -> bool:
        """Return whether no other run can have made a tenant elsewhere meanwhile.

        With several sources, another run may hold the lock of another one; with one target,
        there is no elsewhere to be seen.
        """
        return len(order.targets) < 2 or (self.is_held and len(order.sources) == 1)

    def findings(self, order: Order, draft: Draft) -> Iterator[Finding]:
        """Yield what is to be told of it, if anything was changed without it."""
        why = f"the lock was lost ({self.lost})" if self.lost else ""
        if self.missing and (draft.settled or draft.plan.is_pending):
            why = f"no lock could be had ({self.missing})"
        if why:
            yield Finding(
                Kind.NO_LOCK,
                Severity.WARNING if len(order.targets) > 1 or self.lost else Severity.INFO,
                f"{why}; another run at the same time could give one tenant two databases, which "
                "can be seen only among the configured targets",
                "run one at a time",
            )


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
