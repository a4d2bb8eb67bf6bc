"""What a run is asked to do, and what it has to do it with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.finding import Finding
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Event, HistoryEntry
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.policy import Rules
from influxops.report.model import LedgerState, RunOrigin, SourceState, TargetState
from influxops.runtime.context import RunContext

#: Seconds that a run which was ended still has to tell the ledger what it did, and where its time
#: was up, to find that out.
GRACE = 5.0
#: Seconds after an interrupt in which that is found out: the rest is reported as unknown.
ANSWERED = 1.75


def settling(context: RunContext, *, at_least: float = 0.5) -> RunContext:
    """Return the context in which changes are read again, also when the run is over."""
    seconds = ANSWERED if context.cancelled else GRACE
    return context.with_grace_period(seconds, at_least=at_least)


class RunRequest(Struct, frozen=True):
    """What a run is asked to do, and what it has to do it with."""

    sources: Sequence[SourceHandle]
    targets: Sequence[TargetHandle]
    rules: Rules
    origin: RunOrigin  # who makes the run
    allow: frozenset[str] = frozenset()  # the guards that are allowed
    ledger: LedgerHandle | None = None  # what remembers, where one is configured
    #: Who asked for a tenant, by its id, where that is not who makes the run.
    origins: Mapping[str, RunOrigin] = field(default_factory=dict)
    #: Tells reporters what the run works on, once that is read; returns what went wrong.
    tell_start: Callable[
        [tuple[SourceState, ...], tuple[TargetState, ...], LedgerState | None], Sequence[Finding]
    ] = lambda *_: ()
    #: Writes where clients are led now, for those who lead them; returns what went wrong.
    write_routes: Callable[[], Sequence[Finding]] = lambda: ()

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
    ) -> HistoryEntry:
        """Return a line of the history about a tenant; the arguments are the fields of an entry."""
        told = target, plan.database, before, after, ended, message
        return self.signed(HistoryEntry(event, plan.tenant, *told))

    def signed(self, entry: HistoryEntry) -> HistoryEntry:
        """Return a line of the history with who did it."""
        origin = self.origins.get(entry.tenant or "", self.origin)
        return replace(entry, who=origin.who, door=origin.door)
