"""Ending what waits when a run is over, or its time is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from influxops.errors import DeadlineExceeded, Interrupted


class CancelToken:
    """Whether a wait was ended, and for what; made by `RunContext.on_end`."""

    #: None while it was not ended; else what `RunContext.check` would raise, or WaitTimeout.
    error: Interrupted | None = None


class WaitTimeout(DeadlineExceeded):
    """One wait took longer than it may; the run itself goes on."""


class Watchdog:
    """Ends what waits when its time has come; one thread for all that waits in a run."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.cancelled_at = 0.0  # of the monotonic clock
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[Callable[[], None], float | None, float]] = {}
        self._next_key = 0
        self._sleeps_until: float | None = None
        self._runs = False

    def cancel(self) -> None:
        """End all waits, each after its grace, which counts from here."""
        with self._changed:
            if not self.cancelled.is_set():
                self.cancelled_at = time.monotonic()
                self.cancelled.set()
            for key, (end, at, grace) in self._waiting.items():
                left = self.cancelled_at + grace
                self._waiting[key] = (end, left if at is None else min(at, left), grace)
            self._changed.notify()

    def add(self, end: Callable[[], None], at: float | None, grace: float) -> int:
        """Return the key of a wait that `end` ends at a time of the monotonic clock."""
        with self._changed:
            if self.cancelled.is_set():
                left = self.cancelled_at + grace
                at = left if at is None else min(at, left)
            self._next_key += 1
            self._waiting[self._next_key] = (end, at, grace)
            if not self._runs:
                threading.Thread(target=self._run, name="influxops-watch", daemon=True).start()
                self._runs = True
            elif at is not None and (self._sleeps_until is None or at < self._sleeps_until):
                self._changed.notify()
            return self._next_key

    def remove(self, key: int) -> None:
        """Forget a wait that is over."""
        with self._changed:
            self._waiting.pop(key, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                due = [k for k, (_, at, _) in self._waiting.items() if at is not None and at <= now]
                for key in due:
                    end, _, _ = self._waiting.pop(key)
                    threading.Thread(target=end, name="influxops-end", daemon=True).start()
                ends = [at for _, at, _ in self._waiting.values() if at is not None]
                self._sleeps_until = min(ends, default=None)
                if not self._waiting:
                    # It ends a while after the last wait, and starts again with the next.
                    if not self._changed.wait(_IDLE) and not self._waiting:
                        self._runs = False
                        return
                    continue
                # Who has waited does not say so, which would cost each request a switch of threads.
                left = _IDLE if self._sleeps_until is None else self._sleeps_until - now
                self._changed.wait(min(left, _IDLE))


#: Seconds after the last wait for which the watching thread stays.
_IDLE = 1.0
