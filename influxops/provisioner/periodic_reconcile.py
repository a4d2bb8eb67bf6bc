"""Full runs in an application's process: at its start, and now and then.

They make and complete what is missing, and nothing else. The registry is durable, so whatever a
process forgot when it was killed is made by the next run of any process.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from influxops.domain.finding import Severity
from influxops.domain.text import pluralize
from influxops.engine.engine import Engine
from influxops.engine.operations import Ensure
from influxops.errors import InfluxopsError, LockBusy
from influxops.provisioner.engine_pool import Engines, log, quiet
from influxops.report.model import Report
from influxops.runtime.context import RunContext

#: Under this name a ledger lets one process at a time make full runs.
_GATE = "application"
#: Seconds after which one that met another run, or failed, is tried again, at most.
_AGAIN = 15.0


class Runs:
    """A thread that makes a full run `every` so many seconds, each of which has a timeout."""

    def __init__(
        self,
        engines: Engines,
        every: float,
        timeout: float,
        stopping: threading.Event,
        on_end: Callable[[], None],
    ) -> None:
        self._engines, self._every, self._timeout = engines, every, timeout
        self._stopping, self._on_end = stopping, on_end
        self._state = ""
        self.error = ""  # why the last one did not end well; empty where it did
        self.ended = threading.Event()  # set once one was made, here or by another process

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._serve, name="influxops-runs", daemon=True).start()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            pause = min(_AGAIN, self._every)
            try:
                with self._engines.run(self._timeout) as (engine, context):
                    if engine.ledger is not None:
                        pause = self._through_gate(engine)
                    else:
                        self._run(engine, context)
                        pause = self._every
            except LockBusy as error:
                # Another process is at it.
                quiet.debug("no full run: %s", error.message)
                self.ended.set()
            except InfluxopsError as error:
                self._tell(error.message, "")
            except Exception as error:
                self._tell(repr(error), "")
                log.debug("a full run broke", exc_info=True)
            self._wait(pause)

    def _through_gate(self, engine: Engine) -> float:
        """Make runs for as long as this process is the one that makes them."""
        gate = RunContext(log=quiet)
        gate.id = _GATE
        assert engine.ledger is not None
        with engine.ledger.error_boundary(), engine.ledger.session(gate):
            while True:
                with self._engines.run(self._timeout) as (another, context):
                    self._run(another, context)
                if self.error:
                    return min(_AGAIN, self._every)
                self._wait(self._every)
                if self._stopping.is_set():
                    return 0.0

    def _wait(self, seconds: float) -> None:
        self._stopping.wait(seconds * random.uniform(0.9, 1.0))

    def _run(self, engine: Engine, context: RunContext) -> None:
        report = engine.run(Ensure(only_create=True), context, tell=False)
        self._tell(*_summary(report))
        self.ended.set()
        self._on_end()

    def _tell(self, error: str, made: str) -> None:
        """Log one line where something was made, or what is wrong has changed."""
        self.error = error
        if self._stopping.is_set():
            return
        if made:
            log.info("full run: %s", made)
        if error != self._state:
            self._state = error
            if error:
                log.warning("full run: %s", error)
            else:
                log.info("full run: all is well again")


def _summary(report: Report) -> tuple[str, str]:
    """Return what is wrong, and what was made; empty for nothing."""
    made = len({change.tenant for change in report.changed})
    told = f"{pluralize(made, 'database')} made or completed" if made else ""
    wrong = [plan for plan in report.tenants if not plan.status.is_ok]
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    if not errors:
        return "", told
    number = len(wrong) if wrong else len(errors)
    what = "tenant" if wrong else "problem"
    first = errors[0]
    more = f"; {pluralize(number, what)} in all, `influxops plan` tells" if number > 1 else ""
    return f"{first.sentence}{more}", told
