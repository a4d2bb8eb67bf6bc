"""What a run does: an operation plans it, and executes what it planned.

What makes an operation safe is part of it, so that no caller can leave it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar

from influxops.domain.plan import Plan, TenantPlan
from influxops.reconcile.apply.apply import execute_plan
from influxops.reconcile.guards import guard
from influxops.reconcile.observe.observe import observe
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import Observed, RunState
from influxops.runtime.context import RunContext


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

    def observe(self, request: RunRequest, context: RunContext) -> Observed:
        """Read sources, targets and ledger.

        Raises:
            ConfigError: When two targets are one server.
        """
        return observe(request.sources, request.targets, request.rules, context, request.ledger)

    def plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it; the guards have not looked at the plan yet.

        Raises:
            ConfigError: When it asks for what cannot be.
        """
        raise NotImplementedError

    def guarded_plan(
        self,
        observed: Observed,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Plan:
        """Plan it, without what the guards refuse."""
        plan = self.plan(observed, desired, request, context)
        return guard(plan, observed, request.rules, request.allow, drops=self.drops)

    def execute(
        self,
        state: RunState,
        desired: Mapping[str, TenantPlan],
        request: RunRequest,
        context: RunContext,
    ) -> Iterator[RunState]:
        """Carry out what was planned; yield what is known after each step.

        Raises:
            Interrupted: When the run is over; what was yielded last is what is known.
        """
        plan_again = partial(self.guarded_plan, desired=desired, request=request, context=context)
        return execute_plan(state, plan_again, request, context)
