"""Calling a reporter; one that fails ends nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from influxops.domain.finding import Finding, FindingKind, Severity
from influxops.domain.route import Routes
from influxops.errors import DeadlineExceeded, InfluxopsError
from influxops.plugin_host.base import Handle
from influxops.report.model import Report, RunStart
from influxops.runtime.context import LATE, RunContext


class ReporterHandle(Handle):
    """A configured reporter."""

    #: Whether it is the output of the program that makes the run.
    is_own = False

    @property
    def _timeout(self) -> float:
        return float(getattr(self.settings, "timeout", 10.0))

    def started(self, head: RunStart, context: RunContext) -> Finding | None:
        """Tell it what a run works on; return what went wrong."""
        return self._tell(context.with_timeout(self._timeout), "influxops_started", head)

    def report(self, report: Report, context: RunContext) -> Finding | None:
        """Tell it how a run ended, also one that is over; return what went wrong."""
        return self._tell(self._last_words(context), "influxops_report", report)

    @property
    def writes_routes(self) -> bool:
        """Whether it writes where clients are led."""
        return self.implements("influxops_write_routes")

    def write_routes(
        self, read: Callable[[RunContext], Routes], allow: frozenset[str], context: RunContext
    ) -> Finding | None:
        """Let it write where clients are led; return what went wrong."""
        rest = self._last_words(context)
        return self._tell(rest, "influxops_write_routes", partial(read, rest), allow)

    def _last_words(self, context: RunContext) -> RunContext:
        seconds = min(LAST_WORDS, self._timeout)
        rest = context.with_grace_period(seconds, at_least=seconds)
        return rest.with_timeout(self._timeout)

    def _tell(self, context: RunContext, hook: str, *what: object) -> Finding | None:
        if not self.implements(hook):
            return None  # one that only wraps the hooks of others
        call = partial(self.call, hook, *what, context)
        try:
            with self.error_boundary():
                # One that does not look at its time is left behind; the command line's own may
                # wait for its reader, who pages.
                call() if self.is_own else context.run_abandonable(call, late=LATE)
        except InfluxopsError as error:
            context.log.debug("%s failed", self.full_name, exc_info=True)
            message = error.message
            if isinstance(error, DeadlineExceeded):
                message = f"it did not end within {self._timeout:g} s"
            return failed_reporter(self.name, message, error.remedy)
        return None


#: Seconds that a reporter gets though the run's own time is over.
LAST_WORDS = 2.0


def failed_reporter(name: str, message: str, remedy: Any) -> Finding:
    """Return the finding that a reporter could not do its work."""
    return Finding(FindingKind.REPORTER, Severity.WARNING, message, remedy, reporter=name)
