"""The context that a hook works in: deadline, cancellation, progress and log of one run."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from typing import TypeVar

from influxops.domain.hint import Hint
from influxops.errors import DeadlineExceeded, Interrupted
from influxops.runtime.cancellation import CancelToken, WaitTimeout, Watchdog

T = TypeVar("T")


class RunContext:
    """One run: its identity, its time, its cancellation, its scope.

    Args:
        timeout: Seconds that it may take, None for no limit.
        dry_run: Whether nothing may be written.
        tenants: The ids of the tenants that it may write to, None for all.
        targets: The names of the targets that it may write to, None for all.
        verify: Whether every database is looked at closely, instead of by the inventory alone.
        scope: The tenants and targets that were named, if any: nothing else is written.
        log: Where a plugin logs; it names no secrets.
        on_stage: Called with what starts next and how many items that has.
        on_progress: Called with the number of items of that stage that were just finished, from
            any thread.
    """

    def __init__(
        self,
        timeout: float | None = None,
        *,
        dry_run: bool = False,
        verify: bool = False,
        tenants: frozenset[str] | None = None,
        targets: frozenset[str] | None = None,
        log: logging.Logger | None = None,
        on_stage: Callable[[str, int], None] = lambda label, total: None,
        on_progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.timeout = timeout
        self.dry_run = dry_run
        self.verify = verify
        self.tenants, self.targets = tenants, targets
        self.log = log or logging.getLogger("influxops")
        self.on_stage = on_stage
        self.on_progress = on_progress
        self.id = uuid.uuid4().hex[:12]  # tells this run from every other; the report has it, too
        self.started = datetime.now(UTC)  # when it began, by this machine's clock
        self._began = time.monotonic()
        self._deadline = math.inf if timeout is None else self._began + timeout
        self._watch = Watchdog()
        self._more_time = _MORE_TIME
        self._whose = "the run's"
        self._parent: RunContext | None = None

    @property
    def is_limited(self) -> bool:
        """Whether tenants or targets were named; what is read is the operation's to say."""
        return self.tenants is not None or self.targets is not None

    def with_tenants(self, tenants: frozenset[str]) -> RunContext:
        """Return this run for some tenants alone."""
        part = copy.copy(self)
        part.tenants = tenants
        return part

    def with_timeout(self, seconds: float, hint: str = "") -> RunContext:
        """Return a context for a part of this run that may take no more than so many seconds."""
        part = copy.copy(self)
        part.timeout, part._parent, part._began = seconds, self, time.monotonic()
        part._deadline = min(part._began + seconds, self._deadline)
        part._more_time, part._whose = Hint.advise(hint), "its"
        return part

    def with_grace_period(self, seconds: float, *, at_least: float = 0.5) -> RunContext:
        """Return this context, or a short one with its identity where it is over.

        The short one has `seconds` to find out and tell what was done: since it was cancelled, for
        somebody waits, but `at_least` so many from now.
        """
        try:
            self.check()
        except Interrupted:
            rest = self.with_timeout(seconds)
            began = min(self._watch.cancelled_at, rest._began)
            rest._deadline = max(began + seconds, rest._began + at_least)
            rest._watch, rest._parent = Watchdog(), None
            rest._whose = "the time after the end of the run,"
            return rest
        return self

    def cancel(self) -> None:
        """End the run: what waits wakes up, what is next does not start."""
        self._watch.cancel()

    @property
    def cancelled(self) -> bool:
        """Whether the run was ended from outside."""
        return self._watch.cancelled.is_set()

    @property
    def seconds(self) -> float:
        """Seconds since the run started."""
        return time.monotonic() - self._began

    def time_left(self, cap: float | None = None) -> float | None:
        """Return the seconds that are left, at most `cap`; None where there is no limit."""
        self.check()
        left = max(self._deadline - time.monotonic(), 0.0)
        return cap if left == math.inf else left if cap is None else min(left, cap)

    def check(self) -> None:
        """Raise Interrupted where the run was cancelled, DeadlineExceeded where its time is up."""
        if self._watch.cancelled.is_set():
            raise Interrupted("the run was interrupted")
        if time.monotonic() >= self._deadline:
            if self._parent is not None:
                self._parent.check()
            raise DeadlineExceeded(
                f"{self._whose} {self.timeout:g} s are used up", hint=self._more_time
            )

    @property
    def interruption(self) -> Interrupted | None:
        """Why the run is over; None while it is not."""
        try:
            self.check()
        except Interrupted as error:
            return error
        return None

    def sleep(self, seconds: float) -> None:
        """Wait; raise Interrupted once cancelled, or DeadlineExceeded at once if it is too long."""
        left = self.time_left()
        if left is not None and seconds >= left:
            raise DeadlineExceeded(
                f"waiting {seconds:.1f} s more would exceed the {self.timeout:g} s that there are",
                hint=self._more_time,
            )
        self._watch.cancelled.wait(seconds)
        self.check()

    @contextlib.contextmanager
    def on_end(
        self, abort: Callable[[], object], *, within: float | None = None, grace: float = 0.0
    ) -> Iterator[CancelToken]:
        """Call `abort` when the run ends, or `within` has passed, while the block waits.

        After the run was cancelled it still gets the seconds of `grace`.
        """
        ending = CancelToken()
        at, error = self._deadline, None
        if within is not None and (until := time.monotonic() + within) < at:
            at = until
            error = WaitTimeout(f"no end within {within:g} s")

        def end() -> None:
            ending.error = self.interruption or error or WaitTimeout("no end in time")
            abort()

        key = self._watch.add(end, at, grace)
        try:
            yield ending
        finally:
            self._watch.remove(key)

    def run_abandonable(
        self, work: Callable[[], T], *, within: float | None = None, late: float = 0.0
    ) -> T:
        """Return what a call gives that nothing can end, or leave it behind with the run.

        It is made in a daemon thread: looking up a name, opening a pipe. One that looks at its
        time gets `late` more seconds to say so by itself.

        Raises:
            WaitTimeout: When it took longer than `within`.
        """
        self.check()
        done, future = threading.Event(), in_background(work, "influxops-detached")
        future.add_done_callback(lambda _: done.set())
        with self.on_end(done.set, within=within) as ending:
            done.wait()
        wait([future], late)
        if not future.done():
            assert ending.error is not None
            raise ending.error
        return future.result()


def in_background(work: Callable[[], T], name: str = "influxops") -> Future[T]:
    """Make a call in a daemon thread: an application that ends is not kept from it by that."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


#: Seconds after its time in which a hook can still end by itself, before it is left behind.
LATE = 0.5
_MORE_TIME = Hint.option("timeout", "give it more with {}; what was done stays done")
