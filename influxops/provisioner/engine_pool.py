"""Engines for several threads: an instance of a plugin is never called from two at once.

Here is also where all threads log.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping

from influxops.config.load import Config
from influxops.engine.engine import Engine
from influxops.plugin_host.discovery import PluginType
from influxops.runtime.context import RunContext

log = logging.getLogger("influxops")
#: What the parts of a run log goes to the same place, for debugging: an application hears of
#: each change of state once, and not of each try.
quiet = logging.getLogger("influxops.provisioner")

#: Seconds for which an engine works as one run: it remembers which server answered in it.
_ONE_RUN = 30.0
#: Engines that are kept, with their connections, for who comes next; and for how many seconds.
_KEPT, IDLE = 4, 20.0


class Engines:
    """Lends an engine to one thread at a time, the one that was used last first."""

    def __init__(self, config: Config, kinds: Mapping[str, PluginType] | None) -> None:
        self._config, self._kinds = config, kinds
        self._lock = threading.Lock()
        # Each with its birth and last use.
        self._idle: list[tuple[Engine, RunContext, float, float]] = []
        self._running: set[RunContext] = set()
        self._new_since = 0.0  # runs that began before this are over
        self.is_over = False

    def start_new_run(self) -> None:
        """Let the next caller work as another run: a server may have been replaced."""
        self._new_since = time.monotonic()

    @contextlib.contextmanager
    def borrow(self) -> Iterator[tuple[Engine, RunContext]]:
        """Yield an engine and a run for this thread, which parts of limited time are taken of."""
        with self._lock:
            engine, context, born, _ = self._idle.pop() if self._idle else (None, None, 0.0, 0.0)
        if engine is None:
            engine = Engine(self._config, kinds=self._kinds)
        if context is None or born < self._new_since or time.monotonic() - born > _ONE_RUN:
            context, born = RunContext(log=quiet), time.monotonic()
        try:
            with self._followed(context):
                yield engine, context
        finally:
            with self._lock:
                kept = not self.is_over and len(self._idle) < _KEPT
                if kept:
                    self._idle.append((engine, context, born, time.monotonic()))
            if not kept:
                engine.close()

    @contextlib.contextmanager
    def run(
        self, timeout: float | None, log: logging.Logger = quiet
    ) -> Iterator[tuple[Engine, RunContext]]:
        """Yield an engine and a run of its own."""
        with self.borrow() as (engine, _):
            context = RunContext(timeout, log=log)
            with self._followed(context):
                yield engine, context

    @contextlib.contextmanager
    def _followed(self, context: RunContext) -> Iterator[None]:
        with self._lock:
            self._running.add(context)
            over = self.is_over
        if over:
            context.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(context)

    def trim(self, idle: float | None = None) -> None:
        """Release what has not been used for a while, and its connections."""
        now, idle = time.monotonic(), IDLE if idle is None else idle
        with self._lock:
            old = [each for each in self._idle if now - each[3] >= idle]
            self._idle = [each for each in self._idle if now - each[3] < idle]
        for engine, *_ in old:
            engine.close()

    def close(self) -> None:
        """End all runs, and release what is idle."""
        with self._lock:
            self.is_over = True
            running, idle = [*self._running], [*self._idle]
            self._idle.clear()
        for context in running:
            context.cancel()
        for engine, *_ in idle:
            engine.close()


def _for_debugging(record: logging.LogRecord) -> bool:
    record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    return log.isEnabledFor(logging.DEBUG)


quiet.addFilter(_for_debugging)
