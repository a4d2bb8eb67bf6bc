"""TODO request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from influxops.domain.finding import Finding
from influxops.domain.plan import Plan, TenantPlan
from influxops.domain.record import Entry, Event
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import Draft, Observed
from influxops.runtime.context import Context

#: Seconds that a run which was ended still has to find out and tell what it did.
GRACE = 5.0


class Order(Struct, frozen=True):
    """What a run is asked to do, and what it has to do it with."""

    sources: Sequence[SourceHandle]
    targets: Sequence[TargetHandle]
    rules: Rules
    allow: frozenset[str] = frozenset()  # the guards that are allowed
    absent: bool = False  # whether the tenants that the scope names lose their databases
    #: Plans instead of `make_plan`, for a run that does something else than ensure.
    planner: Planner | None = None
    command: str = "ensure"  # the command that makes such a run
    ledger: LedgerHandle | None = None  # what remembers, where one is configured
    who: str = ""  # who makes the run: user@host
    #: Tells reporters what the run works on, once that is read; returns what went wrong.
    tell_start: Callable[[Observed], Sequence[Finding]] = lambda observed: ()

    @property
    def carrier(self) -> Carrier | None:
        """What executes the plan instead of `carry_out`; None where that does.

        It is the planner's own method `carry_out`: what makes an operation safe is a part of it,
        and no caller can leave it out.
        """
        return getattr(self.planner, "carry_out", None)

    @property
    def ensures(self) -> bool:
        """Whether it is about tenants having their databases, so that what is found is recorded."""
        return self.planner is None or bool(getattr(self.planner, "ensures", False))

    def entry(
        self,
        event: Event,
        plan: TenantPlan,
        target: str | None,
        before: str = "",
        after: str = "",
        *,
        ended: str = "done",
        message: str = "",
    ) -> Entry:
        """Return a line of the history about a tenant; the arguments are the fields of an `Entry`.

        Args:
            event: What happened.
            plan: The tenant, with its database.
            target: Where it happened.
            before: What was.
            after: What it became.
            ended: How it ended.
            message: What else is to be said.
        """
        return Entry(
            event, plan.tenant, target, plan.database, before, after, ended, message, who=self.who
        )


#: Plans what is observed and desired, for an order, within a run.
Planner = Callable[[Observed, Mapping[str, TenantPlan], Order, Context], Plan]
#: Carries out what is planned, for an order, within a run; yields what is known.
Carrier = Callable[[Draft, Order, Context], Iterator[Draft]]
