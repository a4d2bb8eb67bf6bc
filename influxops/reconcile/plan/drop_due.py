"""The operation `influxops retire --due`: what is due is dropped, after all was tested again.

The run plans twice: first to claim the tenants, then from what is read again while they are
claimed. Whatever is not known then is postponed. The databases of retired tenants are dropped like
that; what moved tenants left behind takes more (dropping.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.domain.change import Action
from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.plan import Plan, TenantPlan, TenantStatus
from influxops.domain.record import Record, State
from influxops.domain.text import format_time, pluralize
from influxops.errors import ConfigError
from influxops.reconcile.apply.apply import carry_out, still_open
from influxops.reconcile.apply.claims import reserve
from influxops.reconcile.apply.drop_due import OldCopies, drops_old_copy, note_of
from influxops.reconcile.guards import guard
from influxops.reconcile.ledger.commit import record as write
from influxops.reconcile.observe.observe import observe
from influxops.reconcile.operation import Operation
from influxops.reconcile.plan.desired import desire
from influxops.reconcile.plan.recorded import (
    busy,
    due_on,
    is_busy,
    is_recreated,
    lost,
    misplaced,
    sharing,
    unretired,
)
from influxops.reconcile.plan.retire import changed, standing, with_note_of_lost, with_telemetry
from influxops.reconcile.request import GRACE, RunRequest
from influxops.reconcile.state import Observed, RunState
from influxops.runtime.context import RunContext

#: So many tenants at least are claimed, read again and dropped at once, fewer where each is copied
#: from before; and how often all may be read again, however many there are.
_AT_ONCE, _COPIES, _READINGS = 200, 16, 20


class DropDue(Operation, Struct, frozen=True):
    """Drops what is due: databases of retired tenants, and what moved ones left behind."""

    command: ClassVar[str] = "retire --due"

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it."""
        ledger_view = observed.ledger_view
        if not ledger_view.is_readable:
            return Plan({})
        plans, retired, due = {}, {}, []
        for number, record in enumerate(ledger_view.records.values()):
            if number % _LOOK == 0:
                context.check()
            target = due_on(record, ledger_view.now)
            if target is None or not context.scope.covers(record.tenant, target):
                continue
            due.append((record, target))
        shared = sharing([record for record, _ in due], desired, observed)
        for record, target in due:
            if (why := shared.get(record.tenant)) and record.tenant not in observed.known_elsewhere:
                plans[record.tenant] = standing(record, target, observed).block(why)
                continue
            plan = self._planned(record, target, observed, request, context)
            plans[record.tenant] = plan
            if record.state is State.RETIRING:
                retired[record.tenant] = plan
        plans |= with_telemetry(retired, observed, request, context)
        return Plan(plans, tuple(_waiting(observed)))

    def _planned(
        self,
        record: Record,
        target: str,
        observed: Observed,
        request: RunRequest,
        context: RunContext,
    ) -> TenantPlan:
        plan = standing(record, target, observed)
        if is_busy(record, context.id):
            return busy(plan, record)
        if record.state is State.RETIRING and record.tenant in observed.known_elsewhere:
            change, note = unretired(plan)
            notes = (*plan.notes, note)
            return replace(plan, status=TenantStatus.PENDING, changes=(change,), notes=notes)
        if record.state is State.RETIRING and not observed.sources_complete:
            return plan.defer(
                FindingKind.NOT_READ,
                "not every source could be read, so nobody knows whether it is back",
            )
        if target not in request.rules.targets:
            return plan.defer(
                FindingKind.NOT_CONFIGURED,
                f"it is recorded on {target}, which is not configured any more",
                "configure that target again",
            )
        inventory = observed.inventories.get(target)
        if inventory is None:
            return plan.defer(FindingKind.NOT_READ, f"its target {target} cannot be read")
        if plan.before is None and not inventory.complete:
            return plan.defer(
                FindingKind.NOT_READ,
                f"{target} does not show all that it holds",
                "give its target a token that may read all",
            )
        if record.state is State.RETIRING:
            plan = with_note_of_lost(plan, record, observed)
        elif plan.before is not None and (kept := _kept(plan, record, observed)):
            return kept
        plan = changed(plan, Action.DROP, target)
        if drops_old_copy(plan):
            return note_of(plan)
        if plan.before is None:
            # A run that died may have dropped it: what the server still keeps is told.
            until = inventory.deleted.get(record.database)
            change = replace(plan.changes[0], reason="it was gone already", until=until)
            plan = replace(plan, changes=(change,), notes=(*plan.notes, _was_gone(plan)))
        return plan

    def execute(
        self,
        state: RunState,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Iterator[RunState]:
        """Drop what is planned, after it was claimed, read again and planned again.

        Raises:
            Interrupted: When the run is over; what was yielded last is what is known.
        """
        while batch := _next_batch(state):
            context.check()
            state, batch = reserve(batch, state, request, context)
            yield state
            if not batch:
                continue
            state, batch = self._plan_again(batch, state, request, context)
            yield state
            copies = [plan for plan in batch if drops_old_copy(plan)]
            others = [plan for plan in batch if not drops_old_copy(plan)]
            if others:
                state = carry_out(others, state, request, context)
                yield state
                yield (state := write(state, request, context.or_grace(GRACE)))
            if copies:
                for known in OldCopies(state, request, context).drop(copies):
                    yield (state := known)

    def _plan_again(
        self, batch: Sequence[TenantPlan], state: RunState, request: RunRequest, context: RunContext
    ) -> tuple[RunState, list[TenantPlan]]:
        """Read everything again, and plan from that for the tenants that this run has claimed.

        Returns:
            What is known now, and those of the batch for which the same is still to be done.
        """
        observed, why = state.observed, ""
        try:
            observed = observe(
                request.sources, request.targets, request.rules, context, request.ledger
            )
            observed = replace(observed, closed=state.observed.closed)
        except ConfigError as error:
            why = error.message
        records = observed.ledger_view.records
        own = {plan.tenant: records[plan.tenant] for plan in batch if plan.tenant in records}
        plan = Plan({})
        if not why and observed.ledger_view.is_readable:
            part = replace(observed, ledger_view=replace(observed.ledger_view, records=own))
            plan = self.plan(part, desire(part, request.rules, context.check), request, context)
            plan = guard(plan, observed, request.rules, request.allow)
        tenants = dict(state.plan.tenants)
        still = []
        for before in batch:
            why = why or observed.ledger_view.error or "the ledger has changed meanwhile"
            now = plan.tenants.get(before.tenant) or before.defer(FindingKind.NOT_READ, why)
            tenants[before.tenant] = now
            if [c.action for c in now.changes] == [c.action for c in before.changes]:
                still.append(now)
        refusals = tuple(dict.fromkeys((*state.plan.refusals, *plan.refusals)))
        return (
            replace(
                state,
                observed=observed,
                plan=replace(state.plan, tenants=tenants, refusals=refusals),
            ),
            still,
        )


def _next_batch(state: RunState) -> list[TenantPlan]:
    """Return the tenants that are claimed next: what was read is soon old, and costly to read."""
    waiting = still_open(state)
    copies = [plan for plan in waiting if drops_old_copy(plan)]
    others = [plan for plan in waiting if not drops_old_copy(plan)]
    share = len(state.plan.tenants) // _READINGS
    return others[: max(_AT_ONCE, share)] or copies[: max(_COPIES, share)]


def _kept(plan: TenantPlan, record: Record, observed: Observed) -> TenantPlan | None:
    """Return a moved tenant whose old copy may be all that is left of its database, and stays.

    Args:
        plan: The tenant, and its old copy.
        record: What is remembered of it; if a run has claimed it, then this one.

    Returns:
        None where the database that it was moved to is there.
    """
    place = observed.inventories.get(record.target or "")
    if place is None:
        why = f"its database is recorded on {record.target}, which cannot be read"
        return plan.defer(FindingKind.NOT_READ, why)
    now = standing(replace(record, claimed_by="", is_claimed=False), record.target, observed)
    if is_recreated(now.record, now.before):
        return now.block(lost(now, record, observed))
    if now.before is None and place.complete:
        return plan.block(misplaced(plan, record, record.secondary_target or ""))
    return None


#: Every so many records, planning looks whether the run is over.
_LOOK = 1_000


def _waiting(observed: Observed) -> Iterator[Finding]:
    """Tell of the tenants that are not due yet."""
    now = observed.ledger_view.now
    later = [
        record.drop_after
        for record in observed.ledger_view.records.values()
        if record.state is State.RETIRING
        and record.drop_after is not None
        and record.drop_after > now
    ]
    if later:
        verb = "is" if len(later) == 1 else "are"
        yield Finding(
            FindingKind.RETIRING,
            Severity.INFO,
            f"{pluralize(len(later), 'tenant')} {verb} retiring and not due, the first after "
            f"{format_time(min(later))}",
        )


def _was_gone(plan: TenantPlan) -> Finding:
    return Finding(
        FindingKind.RETIRING,
        Severity.INFO,
        f"its database is not on {plan.target} any more: there is nothing to drop",
        tenant=plan.tenant,
        target=plan.target,
        database=plan.database,
    )
