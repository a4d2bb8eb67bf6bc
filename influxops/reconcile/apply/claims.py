"""Reserving in the ledger: whoever is to get, lose or change a place is taken in hand first."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from influxops.domain.change import Action, Change, Outcome, Status
from influxops.domain.finding import Finding, Kind, Severity
from influxops.domain.plan import TenantPlan, Verdict
from influxops.domain.record import Record, State
from influxops.errors import InfluxopsError, Interrupted
from influxops.reconcile.observe.ledger import failed_ledger
from influxops.reconcile.plan.recorded import busy, is_copy
from influxops.reconcile.request import Order
from influxops.reconcile.state import Draft, Observed
from influxops.runtime.context import Context

#: What nobody else may do to a tenant at the same time.
_RESERVED = (Action.CREATE, Action.DROP, Action.ADOPT, Action.RETIRE, Action.UNRETIRE)


def reserve(
    batch: Sequence[TenantPlan], draft: Draft, order: Order, context: Context
) -> tuple[Draft, list[TenantPlan]]:
    """Take into this run's hands whoever is to get, lose or change a place, before it is written.

    Args:
        batch: The tenants whose changes are to be tried.
        draft: What is known.
        order: The run's order.
        context: The run.

    Returns:
        What is known now, and those of the batch that are this run's to change.
    """
    recalled = draft.observed.recalled
    if order.ledger is None or not recalled.is_there:
        return draft, [*batch]
    wanted = [
        _reserved(plan, change.action, change.target, draft.observed)
        for plan in batch
        if (change := _reserving(plan)) is not None
    ]
    if not wanted:
        return draft, [*batch]
    try:
        found = order.ledger.reserve(wanted, context)
    except Interrupted:
        raise
    except InfluxopsError as error:
        return _not_reserved(error, {record.tenant for record in wanted}, batch, draft)
    tenants = dict(draft.plan.tenants)
    mine = []
    for plan in batch:
        record = found.get(plan.tenant)
        if record is not None and record.holder != context.id:
            tenants[plan.tenant] = busy(replace(plan, changes=(), after=plan.before), record)
        else:
            mine.append(plan)
    observed = replace(draft.observed, recalled=recalled.having(found))
    return replace(draft, observed=observed, plan=replace(draft.plan, tenants=tenants)), mine


def _reserving(plan: TenantPlan) -> Change | None:
    """Return the change for which a tenant is reserved; None where none needs that.

    What is dropped to make room for a new one is a part of that.
    """
    changes = [change for change in plan.changes if change.action in _RESERVED]
    created = [change for change in changes if change.action is Action.CREATE]
    return next(iter(created or changes), None)


def _reserved(plan: TenantPlan, action: Action, target: str, observed: Observed) -> Record:
    """Return the record that takes a place for a tenant."""
    before = observed.recalled.records.get(plan.tenant)
    inventory = observed.inventories.get(target)
    record = before or Record(plan.tenant, State.WANTED)
    if action not in (Action.CREATE, Action.DROP):
        return record
    if action is Action.DROP:
        if is_copy(record, target):
            return record  # an old copy goes, and the tenant stays where it is
        state = State.RETIRING
    elif record.is_promised:
        state = record.state  # until it is there again, it stays what was promised and is not
    else:
        state = State.RESERVED
    return replace(
        record,
        state=state,
        database=plan.database,
        target=target,
        identity=inventory.identity if inventory else None,
    )


def _not_reserved(
    error: InfluxopsError, tenants: set[str], batch: Sequence[TenantPlan], draft: Draft
) -> tuple[Draft, list[TenantPlan]]:
    """Leave alone whoever needs a place, where the ledger took no reservation."""
    settled = dict(draft.settled)
    rest = []
    for plan in batch:
        if plan.tenant not in tenants:
            rest.append(plan)
            continue
        finding = Finding(
            Kind.NOT_TRIED,
            Severity.ERROR,
            f"not tried: it could not be reserved: {error.message}",
            error.remedy,
            plan.tenant,
            database=plan.database,
        )
        outcomes = tuple(Outcome(c, Status.SKIPPED, finding.message) for c in plan.changes)
        settled[plan.tenant] = replace(
            plan, verdict=Verdict.FAILED, finding=finding, outcomes=outcomes, after=plan.before
        )
    notes = (*draft.notes, failed_ledger(error))
    return replace(draft, settled=settled, notes=notes), rest
