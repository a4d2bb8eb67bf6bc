"""Writes to the ledger where tenants go, so that any process can create their databases."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from influxops.domain.change import Action, ChangeResult, Outcome
from influxops.domain.finding import FindingKind
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import LedgerUpdate, Record, State
from influxops.errors import LedgerError
from influxops.reconcile.ledger.commit import record
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed, RunState
from influxops.runtime.context import RunContext

#: A tenant that no source has yet may be registered within this time: it was enqueued before.
_UNREGISTERED = timedelta(minutes=10)
#: States in which a tenant waits for its database.
_WAITING = (State.PENDING, State.ALLOCATED)


def commit_seen(
    plans: Iterable[TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> None:
    """Record which tenants have their databases, lost them, or are kept though they were retiring.

    Raises:
        LedgerError: When the ledger cannot be written.
    """
    # One that was created and never confirmed is confirmed by who looks at what is stored.
    tenants = {plan.tenant: plan for plan in plans if not _is_in_doubt(plan.record)}
    kept = {id_: _kept(plan) for id_, plan in tenants.items() if is_kept(plan)}
    state = RunState(observed, Plan(tenants), kept)
    state = record(state, request, context, at_end=True, with_seen=True)
    if state.notes:
        raise LedgerError(state.notes[-1].message, hint=state.notes[-1].remedy)


def _is_in_doubt(record: Record | None) -> bool:
    return record is not None and record.state is State.UNCONFIRMED and not record.is_provisioned


def is_kept(plan: TenantPlan) -> bool:
    """Return whether a tenant was retiring, and is to be kept: a source has it again."""
    return any(change.action is Action.UNRETIRE for change in plan.changes)


def _kept(plan: TenantPlan) -> TenantPlan:
    outcomes = tuple(
        Outcome(c, ChangeResult.DONE) for c in plan.changes if c.action is Action.UNRETIRE
    )
    return replace(plan, status=TenantStatus.CHANGED, outcomes=outcomes, after=plan.before)


def allocate(
    plans: Iterable[TenantPlan], observed: Observed, request: RunRequest, context: RunContext
) -> dict[str, Record]:
    """Reserve a slot for each tenant that is to be created; record all others as far as is known.

    One that cannot be decided stays wanted, with the reason.

    Returns:
        The record of each tenant that waits and was written about, as it is now: another run may
        have changed it.

    Raises:
        LedgerError: When the ledger cannot be written, or none is configured.
    """
    if request.ledger is None:
        raise LedgerError("there is no ledger to note anything in")
    plans = [*plans]
    commit_seen(plans, observed, request, context)
    records = [after for plan in plans if (after := _waiting(plan, observed)) is not None]
    return request.ledger.commit(LedgerUpdate(tuple(records)), context) if records else {}


def _waiting(plan: TenantPlan, observed: Observed) -> Record | None:
    """Return the new record of a tenant that waits; None where there is nothing to write."""
    before = plan.record or Record(plan.tenant, State.PENDING)
    after, why = before, plan.finding.message if plan.finding is not None else ""
    kind = plan.finding.kind if plan.finding is not None else None
    is_waiting = before.state in (*_WAITING, State.RETIRED)
    if before.is_claimed or not is_waiting or kind is FindingKind.CLAIMED:
        return None
    if kind is FindingKind.UNKNOWN_TENANT:
        if _is_overdue(before):
            after = replace(before, state=State.RETIRED, error="")
        elif plan.record is not None and before.state in _WAITING:
            after = replace(before, state=State.PENDING, error=why)
        return after if after != before else None
    if plan.status is TenantStatus.PENDING:
        inventory = observed.inventories.get(plan.target or "")
        after = replace(
            before,
            state=State.ALLOCATED,
            database=plan.database,
            target=plan.target,
            identity=inventory.identity if inventory is not None else None,
        )
    elif plan.status is TenantStatus.UNKNOWN and before.state is State.ALLOCATED:
        after = replace(before, error=why)  # its slot stays taken
    elif plan.status is not TenantStatus.OK:
        after = replace(before, state=State.PENDING, error=why)
    return after if after != before or (plan.record is None and after.error) else None


def _is_overdue(record: Record) -> bool:
    """Return whether a tenant that no source has has been wanted for longer than it may be."""
    if record.state is not State.PENDING or record.state_since is None:
        return False
    return datetime.now(UTC) - record.state_since > _UNREGISTERED
