"""Ending what waits when a run is over, or its time is."""

from __future__ import annotations

import math
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
        self.cancelled_at = math.inf  # of the monotonic clock
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[Callable[[], None], float, float]] = {}
        self._next_key = 0
        self._wakes_at = math.inf
        self._runs = False

    def cancel(self) -> None:
        """End all waits, each after its grace, which counts from here."""
        with self._changed:
            self.cancelled_at = min(self.cancelled_at, time.monotonic())
            self.cancelled.set()
            self._changed.notify()

    def add(self, end: Callable[[], None], at: float, grace: float) -> int:
        """Return the key of a wait that `end` ends at a time of the monotonic clock."""
        with self._changed:
            self._next_key += 1
            self._waiting[self._next_key] = (end, at, grace)
            if not self._runs:
                threading.Thread(target=self._run, name="influxops-watch", daemon=True).start()
                self._runs = True
            elif self._ends_at(self._next_key) < self._wakes_at:
                self._changed.notify()
            return self._next_key

    def remove(self, key: int) -> None:
        """Forget a wait that is over."""
        with self._changed:
            # Not told to the thread, which would cost each request a switch of threads.
            self._waiting.pop(key, None)

    def _ends_at(self, key: int) -> float:
        _, at, grace = self._waiting[key]
        return min(at, self.cancelled_at + grace)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for key in [key for key in self._waiting if self._ends_at(key) <= now]:
                    end, _, _ = self._waiting.pop(key)
                    threading.Thread(target=end, name="influxops-end", daemon=True).start()
                self._wakes_at = min([now + _IDLE, *map(self._ends_at, self._waiting)])
                # It ends a while after the last wait, and starts again with the next.
                if not self._changed.wait(self._wakes_at - now) and not self._waiting:
                    self._runs = False
                    return


#: Seconds after the last wait for which the watching thread stays.
_IDLE = 1.0
