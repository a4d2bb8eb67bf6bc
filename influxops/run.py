"""What a hook is told of the run that it works for."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from influxops.errors import DeadlineExceeded, Interrupted


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run may write; it always reads everything.

    Args:
        tenants: The ids that were named; empty means all.
        targets: The targets that were named; empty means all.
    """

    tenants: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.tenants or self.targets)

    def covers(self, tenant: str | None, target: str | None) -> bool:
        """Tell whether something about this tenant on this target is within the scope."""
        return (not self.tenants or tenant is None or tenant in self.tenants) and (
            not self.targets or target is None or target in self.targets
        )


@dataclass(frozen=True)
class Run:
    """One run: its identity, its time, its cancellation, its scope.

    Args:
        timeout: Seconds that the run may take, None for no limit.
        dry_run: Whether nothing may be written.
        scope: What may be written.
        log: Where a plugin logs; it names no secrets.
        on_stage: Called by the engine with what it starts next and how many items that has.
        on_progress: Called with the number of items of that stage that were just finished, from
            any thread.
    """

    timeout: float | None = None
    dry_run: bool = False
    scope: Scope = field(default_factory=Scope)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("influxops"))
    on_stage: Callable[[str, int], None] = field(default=lambda label, total: None)
    on_progress: Callable[[int], None] = field(default=lambda count: None)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _clock: float = field(default_factory=time.monotonic)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the run: what waits wakes up, what is next does not start."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the run was ended from outside."""
        return self._cancelled.is_set()

    @property
    def seconds(self) -> float:
        """Seconds since the run started."""
        return time.monotonic() - self._clock

    def remaining(self, most: float | None = None) -> float | None:
        """Give the seconds that are left, at most `most`; None where there is no limit.

        Raises:
            DeadlineExceeded: When none are left.
            Interrupted: When the run was cancelled.
        """
        self.check()
        if self.timeout is None:
            return most
        left = self.timeout - self.seconds
        return left if most is None else min(left, most)

    def check(self) -> None:
        """Raise if the run is over.

        Raises:
            DeadlineExceeded: When the time is used up.
            Interrupted: When the run was cancelled.
        """
        if self.cancelled:
            raise Interrupted("the run was interrupted")
        if self.timeout is not None and self.seconds >= self.timeout:
            raise DeadlineExceeded(
                f"the run's {self.timeout:g} s are used up",
                hint="give it more with --timeout; what was done stays done",
            )

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the run's end.

        Raises:
            DeadlineExceeded: At once, when the wait would outlast the run.
            Interrupted: As soon as the run is cancelled.
        """
        left = self.remaining()
        if left is not None and seconds >= left:
            raise DeadlineExceeded(
                f"waiting {seconds:.1f} s more would exceed the run's {self.timeout:g} s",
                hint="give it more with --timeout; what was done stays done",
            )
        self._cancelled.wait(seconds)
        self.check()

    def or_grace(self, seconds: float) -> Run:
        """Give this run, or a short one with its identity where it is over.

        Args:
            seconds: How long the short one may take, to find out and tell what was done.
        """
        try:
            self.check()
        except Interrupted:
            return Run(
                timeout=seconds,
                dry_run=self.dry_run,
                scope=self.scope,
                log=self.log,
                id=self.id,
                started=self.started,
            )
        return self
