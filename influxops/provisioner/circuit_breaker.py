"""A circuit breaker per server: open while the server fails, so that no call waits for it.

Of the libraries for this, pybreaker (1.4.1), circuitbreaker (2.1.3), purgatory (3.0.1) and
aiobreaker (1.2.0) all let a caller be the probe: once a time has passed, the next call finds out
whether the server is back, and pays for it when it is not. Here no caller may wait, so a thread
probes in the background, and what is left of a library would be a flag and a lock.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from influxops.domain.database import TargetHints
from influxops.errors import InfluxopsError, Interrupted, NotSupported, TargetAuthError
from influxops.provisioner.engine_pool import Engines, log

#: Seconds between two probes: the first, and the longest while the server is away.
_FIRST, _LONGEST = 0.3, 1.0
#: A server that answers probes and nothing else is probed less and less often, in seconds.
_LONGEST_PAUSE = 15.0
#: One that fails within so many seconds after a good probe is such a server.
_FLAPS = 5.0
#: Seconds for which a target that said it is full gets nothing.
_FULL = 60.0


class Circuit:
    """Whether a server may be asked; `probe` raises an InfluxopsError while it is in trouble."""

    def __init__(
        self,
        name: str,
        probe: Callable[[], None],
        on_change: Callable[[Circuit], None],
        stopping: threading.Event,
    ) -> None:
        self.name = name
        self.is_open = False
        self.reason = ""
        self.is_refused = False  # whether it answers, and refuses: another server, a wrong token
        self._probe, self._on_change, self._stopping = probe, on_change, stopping
        self._lock = threading.Lock()
        self._opened = self._closed = 0.0
        self._pause = _FIRST

    def fail(self, error: InfluxopsError) -> None:
        """Open it: the server is in trouble."""
        now = time.monotonic()
        with self._lock:
            if self.is_open or self._stopping.is_set():
                return
            flaps = bool(self._closed) and now - self._closed < _FLAPS + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE) if flaps else _FIRST
            self.is_open, self.reason, self._opened = True, error.message, now
            self.is_refused = isinstance(error, TargetAuthError)
        log.warning("%s: %s; asked again until it answers", self.name, error.message)
        self._on_change(self)
        threading.Thread(target=self._watch, name="influxops-probe", daemon=True).start()

    def _watch(self) -> None:
        pause = self._pause
        while not self._stopping.wait(pause * random.uniform(0.5, 1.0)):
            try:
                self._probe()
            except InfluxopsError as error:
                self.reason, self.is_refused = error.message, isinstance(error, TargetAuthError)
                pause = max(self._pause, min(2 * pause, _LONGEST))
                continue
            except Exception as error:
                self.reason = repr(error)
                pause = _LONGEST_PAUSE
                continue
            with self._lock:
                self.is_open, self.reason, self._closed = False, "", time.monotonic()
            log.info("%s: it answers again, after %.1f s", self.name, self._closed - self._opened)
            self._on_change(self)
            return


class Circuits:
    """The circuits of the sections of a configuration, and which targets are full."""

    def __init__(
        self,
        engines: Engines,
        names: Iterable[str],
        timeout: float,
        on_change: Callable[[Circuit], None],
        stopping: threading.Event,
    ) -> None:
        self._engines, self._timeout, self._stopping = engines, timeout, stopping
        self._circuits = {
            name: Circuit(name, partial(self._probe, name), on_change, stopping) for name in names
        }
        self._full: dict[str, tuple[str, float]] = {}  # why, and until when

    @property
    def open(self) -> dict[str, str]:
        """Why each section is not to be asked now, by its full name."""
        return {name: each.reason for name, each in self._circuits.items() if each.is_open}

    def hints(
        self,
        used: Mapping[str, int] | None = None,
        in_flight: Callable[[], Mapping[str, int]] = dict,
    ) -> TargetHints:
        """Return what is known of the targets.

        `used` counts the ledger's databases on each, None where that is to be asked; `in_flight`
        gives how many more this process has placed there.
        """
        now, target = time.monotonic(), "target:"
        away = {
            name.removeprefix(target): circuit
            for name, circuit in self._circuits.items()
            if name.startswith(target) and circuit.is_open
        }
        return TargetHints(
            {name: circuit.reason for name, circuit in away.items()},
            [name for name, circuit in away.items() if circuit.is_refused],
            {name: why for name, (why, until) in self._full.items() if until > now},
            used,
            in_flight,
        )

    def note_full(self, target: str, why: str) -> None:
        """Give nothing to a target for a while: it said that it is full."""
        self._full[target] = why, time.monotonic() + _FULL

    def fail(self, section: str, error: InfluxopsError) -> None:
        """Open the circuit of a section, unless the error says nothing about its server."""
        is_over = self._engines.is_over or self._stopping.is_set()
        is_cancelled = isinstance(error, Interrupted) and is_over
        if section in self._circuits and not is_cancelled and not isinstance(error, NotSupported):
            self._circuits[section].fail(error)

    def _probe(self, section: str) -> None:
        self._engines.start_new_run()
        with self._engines.run(self._timeout) as (engine, context):
            for source in engine.sources:
                if source.full_name == section:
                    source.get_tenants((), context)
            for target in engine.targets:
                if target.full_name == section and target.implements("influxops_get_databases"):
                    target.get_databases((), context)
                elif target.full_name == section:
                    target.list_databases((), context)
            if engine.ledger is not None and engine.ledger.full_name == section:
                engine.ledger.load_records((), context)
