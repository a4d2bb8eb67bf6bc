"""The handle of the configured ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from influxops.config.plugin_settings import LedgerSettings
from influxops.domain.record import HistoryEntry, HistoryQuery, LedgerSnapshot, LedgerUpdate, Record
from influxops.errors import DeadlineExceeded, LedgerError
from influxops.plugin_host.base import Handle
from influxops.report.model import LedgerState
from influxops.runtime.context import RunContext

T = TypeVar("T")

#: Seconds after its time in which a hook can still end by itself, before it is left behind.
_LATE = 0.5


class LedgerHandle(Handle):
    """The configured ledger."""

    @property
    def settings(self) -> LedgerSettings:
        """Its settings."""
        settings = self.resolved.settings
        assert isinstance(settings, LedgerSettings)
        return settings

    def state(self) -> LedgerState:
        """Return what is known of it before it was read."""
        location = self.location
        return LedgerState(self.kind, location.text if location else "", self.settings.namespace)

    def load_records(self, tenants: Collection[str] | None, context: RunContext) -> LedgerSnapshot:
        """Read what it remembers.

        Args:
            tenants: Ids, where only their records are wanted.

        Raises:
            InfluxopsError: When it cannot be read, or gives what is no memory.
        """
        call = partial(self.call, "influxops_load_records", context=context, tenants=tenants)
        found = self._ask(call, context)
        if not isinstance(found, LedgerSnapshot):
            with self.error_boundary():
                raise TypeError(
                    f"influxops_load_records gave {type(found).__name__}, not a LedgerSnapshot"
                )
        return found

    def claim(self, records: Sequence[Record], context: RunContext) -> dict[str, Record]:
        """Take tenants into this run's hands, if no other run was first.

        Returns:
            The record of each as it stands now; this run holds it only if it is its `holder`.

        Raises:
            InfluxopsError: When nothing was written.
        """
        call = partial(self.call, "influxops_claim", records=records, context=context)
        return self._records(call, context)

    def commit(self, update: LedgerUpdate, context: RunContext) -> dict[str, Record]:
        """Write what came of a run, all of it or nothing.

        Returns:
            The record of each of its tenants as it stands now.

        Raises:
            InfluxopsError: When nothing was written.
        """
        call = partial(self.call, "influxops_commit", update=update, context=context)
        return self._records(call, context)

    def history(self, query: HistoryQuery, context: RunContext) -> list[HistoryEntry]:
        """Read the history, or a part of it, the oldest entry first.

        Raises:
            InfluxopsError: When it cannot be read.
        """
        with self.error_boundary():
            return list(self.call("influxops_history", query=query, context=context) or ())

    def count_by_target(self, context: RunContext) -> dict[str, int] | None:
        """Count the databases that are recorded on each target; None where it cannot count.

        Raises:
            InfluxopsError: When it cannot be read.
        """
        if not self.implements("influxops_count_by_target"):
            return None
        return dict(
            self._ask(partial(self.call, "influxops_count_by_target", context=context), context)
        )

    def enqueue(
        self, tenants: Sequence[str], connection: Any, context: RunContext
    ) -> Awaitable[None] | None:
        """Note in an application's own transaction that tenants should have a database.

        Args:
            tenants: Their ids.
            connection: The application's connection.
            context: Whose time bounds it.

        Returns:
            What is to be awaited where the connection is asynchronous.

        Raises:
            TransactionLost: When nothing of the connection's transaction can be stored.
            InfluxopsError: When nothing was written, and the transaction is as it was.
        """
        with self.error_boundary():
            noted: Awaitable[None] | None = self.call(
                "influxops_enqueue", tenants=tenants, connection=connection, context=context
            )
        return noted

    def session(self, context: RunContext) -> contextlib.AbstractContextManager[None]:
        """Return the context in which this run lives."""
        with self.error_boundary():
            lock: contextlib.AbstractContextManager[None] = self.call(
                "influxops_session", context=context
            )
        return lock

    def _records(
        self, call: Callable[[], Iterable[Record] | None], context: RunContext
    ) -> dict[str, Record]:
        return {record.tenant: record for record in self._ask(call, context) or ()}

    def _ask(self, call: Callable[[], T], context: RunContext) -> T:
        """Call a hook; one that does not look at its time is left behind."""
        try:
            with self.error_boundary():
                return context.run_abandonable(call, late=_LATE)
        except DeadlineExceeded as error:
            context.check()
            raise LedgerError(error.message, hint=error.remedy) from None
