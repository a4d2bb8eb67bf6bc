"""The handle of the configured ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from influxops.config.plugin_settings import LedgerSettings
from influxops.domain.record import Entry, Memory, Record, Wanted, Writing
from influxops.errors import DeadlineExceeded, LedgerError
from influxops.plugin_host.base import Handle
from influxops.report.model import LedgerState
from influxops.runtime.context import Context

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

    def memory(self, context: Context, tenants: Collection[str] | None = None) -> Memory:
        """Read what it remembers.

        Args:
            tenants: Ids, where only their records are wanted.

        Raises:
            InfluxopsError: When it cannot be read, or gives what is no memory.
        """
        call = partial(self.call, "influxops_records", context=context, tenants=tenants)
        found = self._ask(call, context)
        if not isinstance(found, Memory):
            with self.guard():
                raise TypeError(f"influxops_records gave {type(found).__name__}, not a Memory")
        return found

    def reserve(self, records: Sequence[Record], context: Context) -> dict[str, Record]:
        """Take tenants into this run's hands, if no other run was first.

        Returns:
            The record of each as it stands now; this run holds it only if it is its `holder`.

        Raises:
            InfluxopsError: When nothing was written.
        """
        call = partial(self.call, "influxops_reserve", records=records, context=context)
        return self._records(call, context)

    def record(self, writing: Writing, context: Context) -> dict[str, Record]:
        """Write what came of a run, all of it or nothing.

        Returns:
            The record of each of its tenants as it stands now.

        Raises:
            InfluxopsError: When nothing was written.
        """
        call = partial(self.call, "influxops_record", writing=writing, context=context)
        return self._records(call, context)

    def history(self, wanted: Wanted, context: Context) -> list[Entry]:
        """Read the history, or a part of it, the oldest entry first.

        Raises:
            InfluxopsError: When it cannot be read.
        """
        with self.guard():
            return list(self.call("influxops_history", wanted=wanted, context=context) or ())

    def counts(self, context: Context) -> dict[str, int] | None:
        """Count the databases that are recorded on each target; None where it cannot count.

        Raises:
            InfluxopsError: When it cannot be read.
        """
        if not self.implements("influxops_count"):
            return None
        return dict(self._ask(partial(self.call, "influxops_count", context=context), context))

    def want(
        self, tenants: Sequence[str], connection: Any, context: Context
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
        with self.guard():
            noted: Awaitable[None] | None = self.call(
                "influxops_want", tenants=tenants, connection=connection, context=context
            )
        return noted

    def lock(self, context: Context) -> contextlib.AbstractContextManager[None]:
        """Return the context in which this run lives."""
        with self.guard():
            lock: contextlib.AbstractContextManager[None] = self.call(
                "influxops_lock", context=context
            )
        return lock

    def _records(
        self, call: Callable[[], Iterable[Record] | None], context: Context
    ) -> dict[str, Record]:
        return {record.tenant: record for record in self._ask(call, context) or ()}

    def _ask(self, call: Callable[[], T], context: Context) -> T:
        """Call a hook; one that does not look at its time is left behind."""
        try:
            with self.guard():
                return context.detached(call, late=_LATE)
        except DeadlineExceeded as error:
            context.check()
            raise LedgerError(error.message, hint=error.remedy) from None
