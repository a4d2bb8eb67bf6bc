"""A run, on one page: the steps from what is configured to the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from influxops.domain.finding import Finding, FindingKind
from influxops.errors import ConfigError, InfluxopsError, Interrupted, LockBusy
from influxops.reconcile.apply.locks import Lock
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.observe.ledger import without_ledger
from influxops.reconcile.observe.reread import (
    confirm_losses,
    find_duplicate_databases,
    look_at_busy,
    look_closely,
)
from influxops.reconcile.observe.stale_ledger import stale_ledger
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.contents import describe_copies, describe_recreated
from influxops.reconcile.plan.desired import (
    refuse_unknown_targets,
    with_desired,
    with_unknown_tenants,
)
from influxops.reconcile.request import RunRequest
from influxops.reconcile.result import conclude
from influxops.reconcile.state import RunState
from influxops.report.model import Report, RunOrigin
from influxops.runtime.context import RunContext

#: What a run without a ledger says once.
NO_LEDGER = Finding.info(
    FindingKind.NO_LEDGER,
    "no ledger is configured, so nothing is recorded: a database that is lost is recreated, "
    "empty, and a server that was replaced at its URL is not detected",
    "configure [ledger] and run `influxops ledger install` (`influxops docs ledger`)",
)


def reconcile(
    operation: Operation,
    request: RunRequest,
    context: RunContext,
    origin: RunOrigin,
    notes: Sequence[Finding] = (),
) -> tuple[Report, InfluxopsError | None]:
    """Make a run: a dry one plans, any other also carries the plan out.

    With its report: what ended it before anything was written, be it a mistake in the configuration
    or a lock that another run holds.
    """
    state = RunState(request, context, notes=tuple(notes))
    lock = Lock()
    try:
        with lock.acquired(request, context):
            for known in steps(operation, lock, state):
                state = known
    except (Interrupted, ConfigError, LockBusy) as error:
        state = replace(state, error=error)
    if lock.lost and operation.reconciles and state.settled and len(request.targets) > 1:
        with contextlib.suppress(Interrupted):  # no time is left to look for them
            state = find_duplicate_databases(operation.plan, state)
    state = state.note(*lock.findings(state))
    report = conclude(state, operation, origin)
    refused = isinstance(state.error, ConfigError | LockBusy)
    return report, state.error if refused else None


def steps(operation: Operation, lock: Lock, state: RunState) -> Iterator[RunState]:
    """Take the steps of a run, and yield what is known after each.

    Interrupted says that it is over: what was yielded last is what is known.
    """
    request, context = state.request, state.context
    context.check()
    refuse_unknown_targets(request.rules, context.targets or ())
    refuse_unusable(request)
    state = operation.observe(state)
    if lock.unrecorded:
        state = without_ledger(state, lock.unrecorded)
    state = state.note(*request.tell_start(state.sources, state.targets, state.ledger))
    if request.ledger is None and request.rules.has_file:  # else none can be configured
        state = state.note(NO_LEDGER)
    yield state

    state = with_desired(state)
    if request.ledger is not None:
        state = confirm_losses(state)
    if request.ledger is not None or context.verify:
        state = look_closely(state)
    if request.ledger is not None and operation.reconciles and not operation.drops:
        stale = stale_ledger(state, state.desired)
        state = replace(state, findings=(*state.findings, *stale))
    yield state

    state = operation.guarded_plan(state)
    if operation.reconciles:
        state = with_unknown_tenants(state)
    state = describe_copies(state)
    state = describe_recreated(state)
    yield state

    if not context.dry_run:
        for known in operation.execute(state):
            yield (state := known)
    if operation.reconciles and state.settled and not lock.keeps_out(request):
        yield (state := find_duplicate_databases(operation.plan, state))
    if operation.reconciles and not context.dry_run:
        yield (state := look_at_busy(operation.plan, state))
    yield (state := record(state, at_end=True, with_seen=operation.reconciles))
    if any(not plan.status.is_ok for plan in state.settled.values()):
        context.check()


def refuse_unusable(request: RunRequest) -> None:
    """Refuse a run of which no source or no target can be used at all.

    A single one of several is reported like one that cannot be read.
    """
    for handles in (request.sources, request.targets):
        missing = [handle for handle in handles if handle.missing is not None]
        if missing and len(missing) == len(handles):
            error = missing[0].missing
            assert error is not None
            raise ConfigError(f"{missing[0].full_name}: {error.message}", hint=error.remedy)
