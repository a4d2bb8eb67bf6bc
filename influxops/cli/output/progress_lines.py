"""Progress where no bar can be shown: a line now and then, for logs and cron mails."""

from __future__ import annotations

import threading
import time

from influxops.cli.output.stdio import say
from influxops.domain.durations import format_duration_approx

#: Seconds between two lines; what is done before the first of them is not told.
_EVERY = 30.0


class Lines:
    """Tells on standard error how far a long stage is."""

    def __init__(self, every: float = _EVERY) -> None:
        self._lock = threading.Lock()
        self._every = every
        self._label, self._total, self._done = "", 0, 0
        self._began = self._told = time.monotonic()

    def stage(self, label: str, total: int) -> None:
        """Start a stage of so many items."""
        with self._lock:
            self._label, self._total, self._done = label, total, 0
            self._began = time.monotonic()

    def advance(self, count: int) -> None:
        """Count items as done."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._told < self._every or not self._label:
                return
            self._told = now
            text = self._text(now - self._began)
        say(text, before="influxops: ", err=True)

    def _text(self, seconds: float) -> str:
        # What there was at the beginning says nothing once there is more.
        total = self._total if self._total >= self._done else 0
        done = f"{self._done:,}" + (f" of {total:,}" if total else "")
        rate = self._done / seconds if seconds > 0 else 0
        text = f"{self._label}: {done}"
        if rate >= 1:
            text += f", {rate:,.0f}/s"
        if rate and total > self._done:
            text += f", about {format_duration_approx((total - self._done) / rate)} left"
        return text
