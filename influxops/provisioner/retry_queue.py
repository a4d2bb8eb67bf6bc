"""Retries, in the background, tenants that were submitted or could not be created.

Nothing here is durable, and nothing needs to be: the registry is, and full runs create what this
process forgot.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass

from influxops.domain.plan import TenantPlan, TenantStatus
from influxops.engine.tenants import TenantRequest
from influxops.provisioner.engine_pool import log
from influxops.provisioner.pipeline import Works
from influxops.provisioner.results import EnsureStatus, is_unregistered, status_of
from influxops.runtime.batch_worker import BatchWorker

#: Seconds before the next try: the first wait, which doubles, and the longest.
_FIRST, _LONGEST = 0.25, 30.0
#: Tries after which a tenant that no source has is left to full runs: about two minutes.
_UNKNOWN_TRIES = 10
#: Tenants that are under way at once, so that foreground calls are not queued behind all of them.
_MOST = 400


@dataclass
class _Pending:
    request: TenantRequest
    since: float  # by the monotonic clock
    tries: int = 0


class Background:
    """A thread that has tenants created, and tries again."""

    def __init__(self, works: Works, is_known: Callable[[str], bool]) -> None:
        self._works, self._is_known = works, is_known
        self._pending: dict[str, _Pending] = {}
        self._changed = threading.Condition()
        self._under_way, self._held_back = 0, deque[str]()
        self._told: dict[str, str] = {}
        self._last_told = ""
        self._worker = BatchWorker("influxops-background", self._handle, self._break)
        self.last_error = ""

    def add(self, request: TenantRequest) -> None:
        """Take a tenant; no I/O, no wait."""
        with self._changed:
            if request.tenant in self._pending:
                return
            self._pending[request.tenant] = _Pending(request, time.monotonic())
        self._worker.submit(request.tenant)

    def kick(self) -> None:
        """Try all that wait now: what hindered them may be over."""
        self._worker.wake()

    @property
    def pending(self) -> dict[str, float]:
        """Since when each tenant waits, on the monotonic clock."""
        return {tenant: each.since for tenant, each in [*self._pending.items()]}

    def wait(self, tenants: Collection[str], timeout: float | None) -> bool:
        """Wait until some tenants, or all, wait no more; return whether that was so in time."""
        stopping = self._works.stopping

        def is_over() -> bool:
            waiting = self._pending.keys() & set(tenants) if tenants else self._pending
            return not waiting or stopping.is_set()

        with self._changed:
            return self._changed.wait_for(is_over, timeout) and not stopping.is_set()

    def stop(self) -> None:
        """End the thread, and the waiting for it."""
        self._worker.stop()
        with self._changed:
            self._changed.notify_all()

    def _handle(self, batch: list[str]) -> None:
        is_hindered = bool(self._works.hindrance())
        for tenant in batch:
            each = self._pending.get(tenant)
            if each is None or self._is_known(tenant):
                self._done(tenant)
            elif is_hindered:
                self._works.note(tenant)
                self._worker.submit(tenant, _LONGEST)
            elif self._may_begin(tenant):
                self._works.submit(each.request).add_done_callback(self._ended)
        if is_hindered and not self._works.hindrance():
            self._worker.wake()

    def _may_begin(self, tenant: str) -> bool:
        """Return whether one more may be under way; one that may not follows later."""
        with self._changed:
            if self._under_way >= _MOST:
                self._held_back.append(tenant)
                return False
            self._under_way += 1
            return True

    def _break(self, batch: list[str], error: Exception) -> None:
        log.error("tenants could not be retried", exc_info=error)
        for tenant in batch:
            self._worker.submit(tenant, _LONGEST)

    def _ended(self, future: Future[TenantPlan]) -> None:
        with self._changed:
            self._under_way -= 1
            if self._held_back:
                self._worker.submit(self._held_back.popleft())
        self._handle_result(future.result())

    def _handle_result(self, plan: TenantPlan) -> None:
        tenant, each = plan.tenant, self._pending.get(plan.tenant)
        if each is None or plan.status in (TenantStatus.OK, TenantStatus.CHANGED):
            self._told.pop(tenant, None)
            self._done(tenant)
            return
        why = plan.reason
        self.last_error = f"{tenant}: {why}"
        each.tries += 1
        if status_of(plan) is EnsureStatus.FAILED and (
            not is_unregistered(plan) or each.tries >= _UNKNOWN_TRIES
        ):
            if self._told.get(tenant) != why:
                self._told[tenant] = why
                # Of many tenants that fail alike the first is a warning.
                level = logging.INFO if why == self._last_told else logging.WARNING
                self._last_told = why
                log.log(level, "%s: %s", tenant, why)
            self._done(tenant)
            return
        wait = min(_FIRST * 2.0 ** (each.tries - 1), _LONGEST) * random.uniform(0.5, 1.0)
        self._worker.submit(tenant, wait)

    def _done(self, tenant: str) -> None:
        with self._changed:
            self._pending.pop(tenant, None)
            self._changed.notify_all()
