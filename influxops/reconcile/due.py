"""The plan of `influxops retire --due`: what is due is dropped, after everything was tested again.

The run plans twice: once to reserve, and once more with everything read anew, when the tenants
are in its hands. Whatever is not known then is postponed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from influxops.context import Context
from influxops.findings import Finding, Kind, Severity
from influxops.ledger import Record, State
from influxops.model import Action, TenantPlan, Verdict
from influxops.reconcile.desired import hold, postponed
from influxops.reconcile.observe import Observed
from influxops.reconcile.plan import Plan
from influxops.reconcile.remembered import busy, due_on, is_busy, sharing, unretired
from influxops.reconcile.retire import changed, standing, with_note_of_lost, with_telemetry
from influxops.text import count, moment

if TYPE_CHECKING:
    from influxops.reconcile.order import Order

#: Copies what writers left at the place that a tenant was moved from, right before that is
#: dropped; returns why it must stay, None where it may go.
LastPass = Callable[[Record, "Order", Context], Finding | None]


class Due(Struct, frozen=True):
    """Plans that what is due is dropped: retired tenants, and what moved ones left behind.

    Args:
        last_pass: What is done before what a moved tenant left behind is dropped; without it,
            that stays.
    """

    last_pass: LastPass | None = None

    def __call__(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        order: Order,
        context: Context,
    ) -> Plan:
        """Plan it."""
        recalled = observed.recalled
        if not recalled.is_there:
            return Plan({})
        plans, retired, due = {}, {}, []
        for number, record in enumerate(recalled.records.values()):
            if number % _LOOK == 0:
                context.check()
            target = due_on(record, recalled.now)
            if target is None or not context.scope.covers(record.tenant, target):
                continue
            due.append((record, target))
        shared = sharing([record for record, _ in due], desired, observed)
        for record, target in due:
            if (why := shared.get(record.tenant)) and record.tenant not in observed.known_elsewhere:
                plans[record.tenant] = hold(standing(record, target, observed), why)
                continue
            plan = self._planned(record, target, observed, order, context)
            plans[record.tenant] = plan
            if record.state is State.RETIRING:
                retired[record.tenant] = plan
        plans |= with_telemetry(retired, observed, order, context)
        return Plan(plans, tuple(_waiting(observed)))

    def _planned(
        self, record: Record, target: str, observed: Observed, order: Order, context: Context
    ) -> TenantPlan:
        plan = standing(record, target, observed)
        if is_busy(record, context.id):
            return busy(plan, record)
        if record.state is State.RETIRING and record.tenant in observed.known_elsewhere:
            change, note = unretired(plan)
            notes = (*plan.notes, note)
            return replace(plan, verdict=Verdict.PENDING, changes=(change,), notes=notes)
        if record.state is State.RETIRING and not observed.sources_complete:
            return postponed(
                plan,
                Kind.NOT_READ,
                "not every source could be read, so nobody knows whether it is back",
            )
        if target not in order.rules.targets:
            return postponed(
                plan,
                Kind.NOT_CONFIGURED,
                f"it is recorded on {target}, which is not configured any more",
                "configure that target again",
            )
        inventory = observed.inventories.get(target)
        if inventory is None:
            return postponed(plan, Kind.NOT_READ, f"its target {target} cannot be read")
        if plan.before is None and not inventory.complete:
            return postponed(
                plan,
                Kind.NOT_READ,
                f"{target} does not show all that it holds",
                "give its target a token that may read all",
            )
        if record.state is not State.RETIRING and plan.before is not None:
            why = self._before_old_copy_goes(plan, record, order, context)
            if why is not None:
                return postponed(plan, why.kind, why.message, why.remedy)
        if record.state is State.RETIRING:
            plan = with_note_of_lost(plan, record, observed)
        plan = changed(plan, Action.DROP, target)
        if plan.before is None:
            # A run that died may have dropped it: what the server still keeps is told.
            until = inventory.deleted.get(record.database)
            change = replace(plan.changes[0], reason="it was gone already", until=until)
            plan = replace(plan, changes=(change,), notes=(*plan.notes, _was_gone(plan)))
        return plan

    def _before_old_copy_goes(
        self, plan: TenantPlan, record: Record, order: Order, context: Context
    ) -> Finding | None:
        """Return why what a moved tenant left behind must stay; None where it may go."""
        if self.last_pass is None:
            return Finding(
                Kind.MOVING,
                Severity.ERROR,
                f"what was written to its old copy on {record.other} since it was moved to "
                f"{record.target} is not copied yet",
            )
        if record.holder != context.id:
            return None  # only planned so far: it is copied when the tenant is in this run's hands
        return self.last_pass(record, order, context)


#: Every so many records, planning looks whether the run is over.
_LOOK = 1_000


def _waiting(observed: Observed) -> Iterator[Finding]:
    """Tell of the tenants that are not due yet."""
    now = observed.recalled.now
    later = [
        record.due
        for record in observed.recalled.records.values()
        if record.state is State.RETIRING and record.due is not None and record.due > now
    ]
    if later:
        verb = "is" if len(later) == 1 else "are"
        yield Finding(
            Kind.RETIRING,
            Severity.INFO,
            f"{count(len(later), 'tenant')} {verb} retiring and not due, the first after "
            f"{moment(min(later))}",
        )


def _was_gone(plan: TenantPlan) -> Finding:
    return Finding(
        Kind.RETIRING,
        Severity.INFO,
        f"its database is not on {plan.target} any more: there is nothing to drop",
        tenant=plan.tenant,
        target=plan.target,
        database=plan.database,
    )
