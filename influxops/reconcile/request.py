"""What a run is asked to do, and what it has to do it with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from influxops.domain.durations import parse_duration
from influxops.domain.finding import Finding
from influxops.domain.plan import TenantPlan
from influxops.domain.record import Event, HistoryEntry, Record
from influxops.domain.text import did_you_mean, quote
from influxops.errors import ConfigError
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.plugin_host.target import TargetHandle
from influxops.reconcile.policy import Rules
from influxops.reconcile.state import LedgerView, Observed
from influxops.runtime.context import RunContext

#: Seconds that a run which was ended still has to tell the ledger what it did, and where its time
#: was up, to find that out.
GRACE = 5.0
#: Seconds after an interrupt in which that is found out: the rest is reported as unknown.
ANSWERED = 1.75


def settling(context: RunContext, *, at_least: float = 0.5) -> RunContext:
    """Return the context in which it is read again what was changed, also when the run is over.

    Args:
        at_least: The seconds that it gets from now in any case.
    """
    seconds = ANSWERED if context.cancelled else GRACE
    return context.with_grace_period(seconds, at_least=at_least)


class RunRequest(Struct, frozen=True):
    """What a run is asked to do, and what it has to do it with."""

    sources: Sequence[SourceHandle]
    targets: Sequence[TargetHandle]
    rules: Rules
    allow: frozenset[str] = frozenset()  # the guards that are allowed
    ledger: LedgerHandle | None = None  # what remembers, where one is configured
    who: str = ""  # who makes the run: user@host
    #: Tells reporters what the run works on, once that is read; returns what went wrong.
    tell_start: Callable[[Observed], Sequence[Finding]] = lambda observed: ()

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
        return HistoryEntry(
            event, plan.tenant, target, plan.database, before, after, ended, message, who=self.who
        )


class Planning(Struct, frozen=True):
    """What an operation plans from."""

    observed: Observed
    desired: Mapping[str, TenantPlan]  # what each tenant should have, by its id
    request: RunRequest
    context: RunContext

    @property
    def rules(self) -> Rules:
        """What the configuration says of planning."""
        return self.request.rules

    @property
    def ledger_view(self) -> LedgerView:
        """What the ledger says."""
        return self.observed.ledger_view

    @property
    def now(self) -> datetime:
        """The ledger's clock."""
        return self.observed.ledger_view.now

    def named_records(self, tenants: Iterable[str]) -> list[Record]:
        """Return the records of named tenants.

        Raises:
            ConfigError: When the ledger knows nothing of one of them.
        """
        records = self.ledger_view.records
        names = list(dict.fromkeys(tenants))
        unknown = [id_ for id_ in names if id_ not in records]
        if unknown:
            more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
            raise ConfigError(
                f"the ledger knows no tenant {quote(unknown[0])}{more}",
                hint=did_you_mean(unknown[0], records)
                or "`influxops ensure` records the tenants of the registry",
            )
        return [records[id_] for id_ in names]

    def keep_until(self, seconds: float | None = None) -> datetime:
        """Return until when data is kept that is retired now, by default as the ledger is set."""
        if seconds is None:
            assert self.request.ledger is not None
            seconds = parse_duration(self.request.ledger.settings.retire_after)
        return self.now + timedelta(seconds=seconds)
