"""The handle of the configured ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

from influxops.config.plugin_settings import LedgerSettings
from influxops.domain.record import HistoryEntry, HistoryQuery, LedgerSnapshot, LedgerUpdate, Record
from influxops.errors import ConfigError, DeadlineExceeded, LedgerError
from influxops.plugin_host.base import Handle
from influxops.report.model import LedgerState
from influxops.runtime.context import LATE, RunContext


class LedgerHandle(Handle):
    """The configured ledger."""

    settings: LedgerSettings

    def state(self) -> LedgerState:
        """Return what is known of it before it was read."""
        return LedgerState(self.kind, self.url, self.settings.namespace)

    def load_records(self, tenants: Collection[str] | None, context: RunContext) -> LedgerSnapshot:
        """Read what it remembers."""
        found = self._ask(context, "influxops_load_records", tenants)
        if not isinstance(found, LedgerSnapshot):
            with self.error_boundary():
                raise TypeError(
                    f"influxops_load_records gave {type(found).__name__}, not a LedgerSnapshot"
                )
        return found

    def claim(self, records: Sequence[Record], context: RunContext) -> dict[str, Record]:
        """Claim tenants; return the record of each as it is now, claimed by this run or another."""
        return _by_tenant(self._ask(context, "influxops_claim", records))

    def commit(self, update: LedgerUpdate, context: RunContext) -> dict[str, Record]:
        """Write the results of a run; return the record of each of its tenants as it is now."""
        return _by_tenant(self._ask(context, "influxops_commit", update))

    def history(self, query: HistoryQuery, context: RunContext) -> list[HistoryEntry]:
        """Read the history, or a part of it, the oldest entry first."""
        with self.error_boundary():
            return list(self.call("influxops_history", query, context) or ())

    def count_by_target(self, context: RunContext) -> dict[str, int] | None:
        """Count the databases that are recorded on each target; None where it cannot count."""
        if not self.implements("influxops_count_by_target"):
            return None
        return dict(self._ask(context, "influxops_count_by_target"))

    def watch_routes(self, context: RunContext) -> Iterator[int]:
        """Yield the version of the routes at once, right after a change, and every few seconds."""
        if not self.implements("influxops_watch_routes"):
            raise ConfigError(f"a ledger of the kind {self.kind} does not tell of changes")
        with self.error_boundary():
            yield from self.call("influxops_watch_routes", context)

    def enqueue(
        self, tenants: Sequence[str], connection: Any, context: RunContext
    ) -> Awaitable[None] | None:
        """Enqueue tenants in an application's transaction; return what is still to be awaited."""
        with self.error_boundary():
            noted = self.call("influxops_enqueue", tenants, connection, context)
            return cast("Awaitable[None] | None", noted)

    def session(self, context: RunContext) -> AbstractContextManager[None]:
        """Return the context in which this run lives."""
        with self.error_boundary():
            return cast(AbstractContextManager[None], self.call("influxops_session", context))

    def _ask(self, context: RunContext, hook: str, *arguments: object) -> Any:
        """Call a hook; one that does not look at its time is left behind."""
        call = partial(self.call, hook, *arguments, context)
        try:
            with self.error_boundary():
                return context.run_abandonable(call, late=LATE)
        except DeadlineExceeded as error:
            context.check()
            raise LedgerError(error.message, hint=error.remedy) from None


def _by_tenant(records: Iterable[Record] | None) -> dict[str, Record]:
    return {record.tenant: record for record in records or ()}
