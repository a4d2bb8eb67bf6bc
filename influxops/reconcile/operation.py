"""What a run does: an operation plans it, and executes what it planned.

What makes an operation safe is part of it, so that no caller can leave it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.reconcile.apply.apply import execute_plan
from influxops.reconcile.guards import guard
from influxops.reconcile.observe.observe import observe
from influxops.reconcile.plan.recorded import busy, is_busy
from influxops.reconcile.state import RunState


class Operation:
    """The base of all operations."""

    command: ClassVar[str]  # the command that makes such a run
    needs_ledger: ClassVar[bool] = True
    without_ledger: ClassVar[str] = "no ledger is configured"  # why it is refused then
    #: Whether it is about all that tenants should have: names that no source knows and duplicates
    #: are reported, and what is right already is recorded as seen.
    reconciles: ClassVar[bool] = False
    #: Ids of tenants whose lost database is created again, empty.
    recreate: frozenset[str] = frozenset()
    drops: ClassVar[bool] = False  # whether the tenants that the scope names lose their databases

    def observe(self, state: RunState) -> RunState:
        """Read sources, targets and ledger; raise a ConfigError where two targets are one."""
        return observe(state)

    def plan(self, state: RunState) -> RunState:
        """Plan it, before the guards look at it; raise a ConfigError for what cannot be."""
        raise NotImplementedError

    def guarded_plan(self, state: RunState) -> RunState:
        """Plan it, without what the guards refuse."""
        return guard(self.plan(state), drops=self.drops)

    def execute(self, state: RunState) -> Iterator[RunState]:
        """Carry out what was planned; yield what is known after each step, the last one too."""
        return execute_plan(state, self.guarded_plan)


class RecordOperation(Operation):
    """The base of operations on recorded tenants: each is refused or changed."""

    def plan(self, state: RunState) -> RunState:
        """Plan it."""
        plans = {}
        for plan in self.candidates(state) if state.ledger_view.is_readable else ():
            record = plan.record
            if plan.status is not TenantStatus.OK:
                plans[plan.tenant] = plan
            elif record is not None and is_busy(record, state.context.id):
                plans[plan.tenant] = busy(plan, record)
            else:
                plans[plan.tenant] = self.plan_one(plan, state)
        return state.planned(plans)

    def candidates(self, state: RunState) -> Iterable[TenantPlan]:
        """Return the tenants that it is about; those that are not OK are refused."""
        raise NotImplementedError

    def plan_one(self, plan: TenantPlan, state: RunState) -> TenantPlan:
        """Plan for one of them that no other run has claimed."""
        raise NotImplementedError
