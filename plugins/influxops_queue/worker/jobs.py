"""The jobs: each says "look again", and what there is to do is in the ledger.

A job that cannot do its work now puts itself off as another job. procrastinate's own retries are
not for this: a job that is tried again would meet the one that was queued in the meantime,
with the same lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import procrastinate
import psycopg

from influxops.errors import InfluxopsError
from influxops_postgres.connection.commit import confirming
from influxops_queue.db.queries import Connection, Queries
from influxops_queue.worker.health import Health
from influxops_queue.worker.provisioning import Making
from influxops_queue.worker.reconcile_job import full_run

log = logging.getLogger("influxops")
T = TypeVar("T")

#: Tenants that are looked up at once, and made at once on one target.
BATCH = 500
#: Seconds before another try: the first wait, which doubles, and the longest.
SOON, _LONGEST = 0.5, 15.0
#: Looking at tenants that cannot be placed takes no more than this share of a worker's time.
_SHARE = 0.1
#: Seconds before a full run that could not be made is tried again, at most.
_FULL_AGAIN = 60.0


class _InThread(Protocol):
    async def __call__(self, work: Callable[..., T], *arguments: Any) -> T: ...


class Jobs:
    """What one worker does for jobs, until it is `stopping`, and how they get into the queue."""

    def __init__(
        self,
        queries: Queries,
        making: Making,
        full_every: float | None,
        health: Health,
        stopping: asyncio.Event,
        *,
        connection: Callable[[], contextlib.AbstractAsyncContextManager[Connection]],
        in_thread: _InThread,
    ) -> None:
        self._queries, self._making, self._full_every = queries, making, full_every
        self._health, self._stop = health, stopping
        self._connection, self._in_thread = connection, in_thread

    async def defer(self, connection: Connection, task: str, target: str = "", **how: Any) -> None:
        """Put a job into the queue, as `Queries.defer` does, in a transaction of its own."""
        # Another worker may just be deferring the same.
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            async with confirming(connection):
                await self._queries.defer(connection, task, target, **how)

    def register(self, app: procrastinate.App) -> None:
        """Let an app do them."""

        @app.task(name="create_databases", aliases=["make"])
        async def make(target: str, tries: int = 0) -> None:
            await self._guarded("create_databases", target, tries, self._make(target, tries))

        @app.task(name="retry_unplaced", aliases=["again"])
        async def again(tries: int = 0) -> None:
            await self._guarded("retry_unplaced", "", tries, self._again(tries))

        @app.task(name="reconcile", aliases=["full"])
        async def full(tries: int = 0) -> None:
            await self._full()

    async def _guarded(
        self, task: str, target: str, tries: int, work: Coroutine[Any, Any, None]
    ) -> None:
        """Do a job; put it off where it fails."""
        about, recoveries = f"{task} {target}".strip(), self._making.recoveries
        try:
            await work
            self._health.report_problem(about, "")
        except psycopg.Error as error:
            log.info("%s: %s", about, error)
            raise  # the worker's poll reports it, and queues the job again
        except Exception as error:
            if isinstance(error, InfluxopsError):
                if not self._stop.is_set():  # what ends at the end is no trouble
                    self._health.report_problem(about, error.message)
            else:
                log.exception("%s broke; it is tried again", about)
            async with self._connection() as connection:
                await self._put_off(connection, task, target, tries)
        if self._making.recoveries != recoveries:
            # What it put off was put off for a target that answers by now.
            async with self._connection() as connection:
                locks = [self._queries.lock(task, target), self._queries.lock("retry_unplaced")]
                await self._queries.run_now(connection, locks)

    async def _put_off(self, connection: Connection, task: str, target: str, tries: int) -> None:
        with contextlib.suppress(psycopg.errors.UniqueViolation):
            async with confirming(connection):
                delay = backoff(tries)
                await self._queries.reschedule(
                    connection, task, target, delay=delay, tries=tries + 1
                )

    async def _make(self, target: str, tries: int) -> None:
        """Create the databases of all tenants that have a slot on a target."""
        if target not in self._making.targets:  # another worker's configuration has it
            async with self._connection() as connection:
                await self._put_off(connection, "create_databases", target, tries)
            return
        after, others, waiting, trouble, more = "", set[str](), 0, "", True
        while more and not trouble and not self._stop.is_set():
            async with self._connection() as connection:
                waits = await self._queries.reserved(connection, target, after, BATCH)
            more = len(waits) == BATCH
            if not waits:
                break
            began = time.monotonic()
            after = [*waits][-1]
            made = await self._in_thread(self._making.make, target, [*waits])
            took = time.monotonic() - began
            self._health.observe_latency([waits[id_] + took for id_ in made.ready])
            others |= made.targets
            waiting, trouble = waiting + made.waiting, made.trouble
        async with self._connection() as connection:
            for other in others - {target}:
                await self.defer(connection, "create_databases", other)
            if trouble:
                await self._put_off(connection, "create_databases", target, tries)
            elif more:
                await self.defer(connection, "create_databases", target)
            elif waiting and await self._queries.reserved(connection, target, "", 1):
                delay = backoff(tries)
                await self.defer(
                    connection, "create_databases", target, delay=delay, tries=tries + 1
                )
            if waiting:
                await self.defer(connection, "retry_unplaced", delay=SOON)

    async def _again(self, tries: int) -> None:
        """Retry the tenants that could not be placed."""
        began, after, targets = time.monotonic(), "", set[str]()
        while not self._stop.is_set():
            async with self._connection() as connection:
                ids = await self._queries.wanted(connection, after, BATCH, tried=True)
            if not ids:
                break
            after = ids[-1]
            placed = await self._in_thread(self._making.place, ids)
            targets |= placed.targets
            if placed.trouble:
                break
        async with self._connection() as connection:
            for target in targets:
                await self.defer(connection, "create_databases", target)
            if await self._queries.wanted(connection, "", 1, tried=True):
                tries = 0 if targets else tries + 1
                delay = max(backoff(tries), (time.monotonic() - began) / _SHARE)
                await self.defer(connection, "retry_unplaced", delay=delay, tries=tries)

    async def _full(self) -> None:
        """Make a full run, and drop what is due."""
        assert self._full_every is not None
        delay, ended = self._full_every, None
        try:
            ended = await self._in_thread(full_run, self._making.engines, self._making.timeout)
        except InfluxopsError as error:
            log.warning("no full run: %s", error.message)
        except Exception:
            log.exception("a full run broke")
        self._health.observe_run(ended)
        delay = min(delay, _FULL_AGAIN) if ended is None else delay
        async with self._connection() as connection:
            delay = 0.0 if self._stop.is_set() else delay
            await self.defer(connection, "reconcile", delay=delay, queue=self._queries.full_queue)


def backoff(tries: int) -> float:
    """Return for how many seconds to wait after so many failed attempts."""
    return min(SOON * 2.0 ** min(tries, 20), _LONGEST) * random.uniform(0.5, 1.0)
