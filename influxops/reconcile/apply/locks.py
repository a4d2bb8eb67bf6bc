"""Keep concurrent runs apart: by a ledger session, else by the lock of a registry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.errors import InfluxopsError, Interrupted, LockBusy
from influxops.plugin_host.ledger import LedgerHandle
from influxops.plugin_host.source import SourceHandle
from influxops.reconcile.request import RunRequest
from influxops.reconcile.state import RunState
from influxops.runtime.context import RunContext

_NOT_OFFERED = "no source offers one"


class Lock:
    """Keeps other runs out: by claims in the ledger, else by the lock of a registry."""

    def __init__(self) -> None:
        self.is_held = False
        self.unrecorded = ""  # why the ledger, where one is configured, cannot be written
        self.missing = ""  # why no lock was available
        self.lost = ""  # why it was lost while it was held

    @contextlib.contextmanager
    def acquired(self, request: RunRequest, context: RunContext) -> Iterator[None]:
        """Keep a ledger session open, else hold the first lock that a source offers.

        A run with a ledger session is registered there as alive, so that other runs respect its
        claims. A dry run acquires nothing, but records whether a real run would be offered a lock.
        """
        if context.dry_run:
            offers = any(handle.implements("influxops_lock") for handle in request.sources)
            if request.ledger is None and not offers:
                self.missing = _NOT_OFFERED
            yield
            return
        with contextlib.ExitStack() as stack:
            if request.ledger is None or not self._live(request.ledger, context, stack):
                self._take(request.sources, context, stack)
            try:
                yield
            finally:
                try:
                    stack.close()
                except Exception as error:  # whatever a plugin's lock raises: changes are made
                    self.is_held = False
                    self.lost = error.message if isinstance(error, InfluxopsError) else repr(error)

    def _live(self, ledger: LedgerHandle, context: RunContext, stack: contextlib.ExitStack) -> bool:
        """Register this run in the ledger as alive; return whether that worked."""
        try:
            with ledger.error_boundary():
                stack.enter_context(ledger.session(context))
        except Interrupted:
            raise
        except InfluxopsError as error:
            context.log.debug("%s has no lock", ledger.full_name, exc_info=True)
            self.unrecorded = error.message
            return False
        return True

    def _take(
        self, sources: Sequence[SourceHandle], context: RunContext, stack: contextlib.ExitStack
    ) -> None:
        self.missing = _NOT_OFFERED
        for handle in sources:
            try:
                with handle.error_boundary():
                    lock = handle.lock(context)
                    if lock is None:
                        continue
                    stack.enter_context(lock)
                self.is_held, self.missing = True, ""
                return
            except (LockBusy, Interrupted):
                raise
            except InfluxopsError as error:
                context.log.debug("%s has no lock", handle.full_name, exc_info=True)
                self.missing = error.message

    def keeps_out(self, request: RunRequest) -> bool:
        """Return whether no other run can have created a database on another target since.

        With several sources, another run may hold the lock of another one; with one target,
        there is no other target.
        """
        return len(request.targets) < 2 or (self.is_held and len(request.sources) == 1)

    def findings(self, state: RunState) -> Iterator[Finding]:
        """Yield a finding if anything was changed without the lock, or if it was lost."""
        why, request = f"the lock was lost ({self.lost})" if self.lost else "", state.request
        if self.missing and (state.settled or state.is_pending):
            why = f"no lock was available ({self.missing})"
        if why:
            yield Finding(
                FindingKind.NO_LOCK,
                Severity.WARNING if len(request.targets) > 1 or self.lost else Severity.INFO,
                f"{why}; another run at the same time could give one tenant two databases, which "
                "can be seen only among the configured targets",
                "run one at a time",
            )
