"""What waits for its turn in the background: tenants that were requested, or could not be made.

Nothing here is durable, and nothing needs to be: the registry is, and full runs (runs.py) make
whatever this process forgot.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from influxops.provisioner.logs import log
from influxops.provisioner.pipeline import Works
from influxops.reconcile.single.look_up import Asked, Place, Step

#: Seconds before the next try: the first wait, which doubles, and the longest.
_FIRST, _LONGEST = 0.25, 30.0
#: Tries after which a tenant that no source has is left to full runs: about two minutes.
_UNKNOWN_TRIES = 10
#: Tenants that are under way at once: whoever asks for one and waits is not behind all the others.
_MOST = 400
_DONE = (Step.THERE, Step.MADE)


@dataclass
class _Pending:
    asked: Asked
    tries: int = 0


class Background:
    """A thread that has tenants made, and tries again.

    Args:
        works: Makes them.
        is_known: Says whether a tenant's database is known to be there.
    """

    def __init__(self, works: Works, is_known: Callable[[str], bool]) -> None:
        self._works, self._is_known = works, is_known
        self._queue: SimpleQueue[Asked | tuple[str, Place] | None] = SimpleQueue()
        #: Since when each is pending. One operation on it at a time needs no lock.
        self._open: dict[str, float] = {}
        self._pending: dict[str, _Pending] = {}
        #: When each of them that is not under way is due, who is due first at the front.
        self._due: list[tuple[float, str]] = []
        self._under_way = 0
        self._settled = threading.Condition()
        self._told: dict[str, str] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self.last_error = ""

    def add(self, asked: Asked) -> None:
        """Take a tenant; no I/O, no wait."""
        self._open.setdefault(asked.tenant, time.monotonic())
        self._queue.put(asked)
        if self._thread is None:
            self._start()

    def kick(self) -> None:
        """Try all that wait now: what hindered them may be over."""
        self._queue.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._works.stopping.is_set():
                self._thread = threading.Thread(
                    target=self._serve, name="influxops-background", daemon=True
                )
                self._thread.start()

    @property
    def pending(self) -> dict[str, float]:
        """Since when each tenant waits, on the monotonic clock."""
        return dict(self._open)

    def wait(self, tenants: Collection[str], timeout: float | None) -> bool:
        """Wait until some tenants, or all, wait no more; return whether that was so in time."""

        def is_over() -> bool:
            waiting = self._open.keys() if not tenants else self._open.keys() & set(tenants)
            return not waiting or self._works.stopping.is_set()

        with self._settled:
            return self._settled.wait_for(is_over, timeout) and not self._works.stopping.is_set()

    def _serve(self) -> None:
        stopping = self._works.stopping
        while not stopping.is_set():
            try:
                self._take(self._queue.get(timeout=self._idle()))
                while True:
                    self._take(self._queue.get_nowait())
            except Empty:
                pass
            if not stopping.is_set():
                self._try()

    def _idle(self) -> float:
        if self._works.hindrance() is not None or not self._due or self._under_way >= _MOST:
            return 1.0  # whoever closes it kicks; a second is for the end of the process alone
        return min(max(self._due[0][0] - time.monotonic(), 0.01), 1.0)

    def _take(self, item: Asked | tuple[str, Place] | None) -> None:
        now = time.monotonic()
        if item is None:
            self._due = [(min(due, now + random.uniform(0, 0.05)), id_) for due, id_ in self._due]
            heapq.heapify(self._due)
        elif isinstance(item, Asked):
            if self._is_known(item.tenant):
                self._done(item.tenant)
            else:
                self._open.setdefault(item.tenant, now)
                if item.tenant not in self._pending:
                    self._pending[item.tenant] = _Pending(item)
                    heapq.heappush(self._due, (now, item.tenant))
                if self._works.hindrance() is not None:
                    self._works.note(item.tenant)
        else:
            self._under_way -= 1
            self._judge(*item)

    def _judge(self, tenant: str, place: Place) -> None:
        each = self._pending[tenant]
        if place.step in _DONE:
            self._told.pop(tenant, None)
            self._done(tenant)
            return
        self.last_error = f"{tenant}: {place.reason}"
        each.tries += 1
        hopeless = place.step is Step.NEVER
        if hopeless or (place.step is Step.UNKNOWN and each.tries >= _UNKNOWN_TRIES):
            if self._told.get(tenant) != place.reason:
                self._told[tenant] = place.reason
                log.warning("%s: %s", tenant, place.reason)
            self._done(tenant)
            return
        wait = min(_FIRST * 2.0 ** (each.tries - 1), _LONGEST) * random.uniform(0.5, 1.0)
        heapq.heappush(self._due, (time.monotonic() + wait, tenant))

    def _done(self, tenant: str) -> None:
        self._pending.pop(tenant, None)
        with self._settled:
            self._open.pop(tenant, None)
            self._settled.notify_all()

    def _try(self) -> None:
        if self._works.hindrance() is not None:
            return
        now = time.monotonic()
        while self._due and self._under_way < _MOST and self._due[0][0] <= now:
            _, tenant = heapq.heappop(self._due)
            if tenant not in self._pending:
                continue  # it is there: somebody else asked for it
            self._under_way += 1
            future = self._works.submit(self._pending[tenant].asked)
            future.add_done_callback(lambda done, id_=tenant: self._ended(id_, done))  # type: ignore[misc]

    def _ended(self, tenant: str, future: Future[Place]) -> None:
        self._queue.put((tenant, future.result()))

    def close(self) -> None:
        """Let who waits go."""
        self._queue.put(None)
        with self._settled:
            self._settled.notify_all()
