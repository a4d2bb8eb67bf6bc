"""A thread that handles what it is given in batches: what comes while it works is the next one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BatchWorker(Generic[T]):
    """Handles items in batches, in a thread that is started when the first one comes.

    A batch has at most `largest_batch` items, and waits up to `longest_wait` seconds for others.
    `on_error` gets one whose handling raised; `on_idle` is called after seconds without an item.
    """

    def __init__(
        self,
        name: str,
        handle_batch: Callable[[list[T]], None],
        on_error: Callable[[list[T], Exception], None],
        *,
        largest_batch: int | None = None,
        longest_wait: float = 0.0,
        on_idle: tuple[float, Callable[[], None]] | None = None,
    ) -> None:
        self._name, self._handle, self._on_error = name, handle_batch, on_error
        self._largest, self._longest_wait = largest_batch, longest_wait
        self._on_idle = on_idle
        self._items: deque[T] = deque()
        self._delayed: list[tuple[float, T]] = []  # by when each is due
        self._changed = threading.Condition()
        self._runs = self._works = self._drains = self._stopped = False

    def submit(self, item: T, delay: float = 0.0) -> None:
        """Take an item, or take it after so many seconds; never waits."""
        with self._changed:
            if delay > 0.0:
                self._delayed.append((time.monotonic() + delay, item))
            else:
                self._items.append(item)
            if not self._runs and not self._stopped:
                self._runs = True
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            self._changed.notify_all()

    def wake(self) -> None:
        """Handle now what was delayed."""
        with self._changed:
            self._items.extend(item for _, item in self._delayed)
            self._delayed.clear()
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Handle what is left without waiting for more; return whether it was handled in time."""
        self.wake()
        with self._changed:
            self._drains = True
            self._changed.notify_all()
            done = self._changed.wait_for(
                lambda: not (self._items or self._works), max(timeout, 0.0)
            )
            self._drains = False
        return done

    def stop(self) -> None:
        """End the thread once its batch has ended; what is left is not handled."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _serve(self) -> None:
        while (batch := self._next_batch()) is not None:
            if not batch:
                if self._on_idle is not None:
                    self._on_idle[1]()
                continue
            try:
                self._handle(batch)
            except Exception as error:
                self._on_error(batch, error)
            with self._changed:
                self._works = False
                self._changed.notify_all()

    def _next_batch(self) -> list[T] | None:
        """Return the next batch; an empty one after a while without items, None at the end."""
        with self._changed:
            until = time.monotonic() + self._on_idle[0] if self._on_idle is not None else None
            while not self._stopped and not self._take_due():
                dues = [due for due, _ in self._delayed] + ([until] if until is not None else [])
                now = time.monotonic()
                if until is not None and now >= until:
                    return []
                self._changed.wait(max(min(dues) - now, 0.0) if dues else None)
            if self._longest_wait:
                self._changed.wait_for(lambda: self._drains or self._stopped, self._longest_wait)
            if self._stopped:
                return None
            self._works = True
            most = len(self._items) if self._largest is None else self._largest
            return [self._items.popleft() for _ in range(min(len(self._items), most))]

    def _take_due(self) -> bool:
        """Take what is due; return whether there is an item."""
        now = time.monotonic()
        self._items.extend(item for due, item in self._delayed if due <= now)
        self._delayed = [each for each in self._delayed if each[0] > now]
        return bool(self._items)
