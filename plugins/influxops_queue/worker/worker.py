"""A worker: takes hints, and runs jobs, until it is stopped.

    NOTIFY, or every few seconds ─▶ take hints: look up, reserve ─▶ a job a target ─▶ make

Nothing depends on a notification or on a job: what is wanted is in the ledger, and every
worker checks now and then whether a job is missing for it, or belongs to a worker that died.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import procrastinate
import psycopg
from procrastinate import exceptions
from procrastinate.jobs import DeleteJobCondition, Status
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from influxops.config.load import Config
from influxops.errors import ConfigError, InfluxopsError
from influxops_postgres import PostgresLedgerSettings
from influxops_postgres.connection.commit import confirming
from influxops_postgres.connection.connection import async_keywords
from influxops_postgres.connection.errors import reason
from influxops_postgres.connection.listening import (
    Connections,
    check_pooling,
    end_left_behind,
)
from influxops_queue.db.queries import FIRST, Connection, Queries, QueueStats
from influxops_queue.db.settings import BEAT, CHANNEL, LIMIT
from influxops_queue.worker.health import Health
from influxops_queue.worker.jobs import BATCH, SOON, Jobs, backoff
from influxops_queue.worker.provisioning import Making

log = logging.getLogger("influxops")
T = TypeVar("T")

#: Seconds between two looks at what waits, without a notification.
_POLL = 5.0
#: Seconds between two looks for jobs that have come due: the end of one that held their lock, and
#: the end of their delay, notify nobody.
_FETCH = 1.0
#: Seconds between two signs of life, and after which a worker without one counts as dead.
_HEARTBEAT, _DEAD = 2.0, 10.0
#: Seconds for which what is under way may go on once the worker is to stop; Docker kills after 10.
_GRACE = 6.0
#: Seconds before a full run that a tenant waits for: a retiring one that is back, or one that was
#: created by a process that died before it had confirmed that.
_FULL_SOON = 30.0
#: Seconds after which a session that ended counts as one that worked.
_STEADY = 15.0
#: The most targets that are worked on at once.
_MOST_TARGETS = 16


class Worker:
    """One worker, in an event loop of its own."""

    def __init__(
        self,
        config: Config,
        settings: PostgresLedgerSettings,
        full_every: float | None,
        health: Health,
    ) -> None:
        self._settings, self._full_every, self._health = settings, full_every, health
        self._queries = Queries(settings)
        self._making = Making(config, self._on_target_recovered)
        self._parallel = min(len(self._making.targets), _MOST_TARGETS) + 2
        self._threads = ThreadPoolExecutor(self._parallel + 3, "influxops-worker")
        self._stop, self._wake = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._app: procrastinate.App | None = None
        self._connections = Connections(LIMIT)
        self._jobs = Jobs(
            self._queries,
            self._making,
            full_every,
            health,
            self._stop,
            connection=self._connection,
            in_thread=self._in_thread,
        )
        self._background: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Take nothing more on, end what is under way, and return from `run`; from any thread."""
        self._loop.call_soon_threadsafe(self._stop.set)

    async def check(self) -> None:
        """Refuse a pooler in between that lends connections by the transaction."""
        keywords = async_keywords(self._settings)
        await check_pooling(keywords, self._settings.location().text, LIMIT)

    async def run(self) -> None:
        """Work until it is stopped, or a pooler has come in between."""
        tries = 0
        ending = asyncio.create_task(self._end_in_time())
        # It lasts as long as the worker: each of its connections is its own.
        routes = asyncio.create_task(self._in_thread(self._making.follow_routes))
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    await self.check()
                    await self._session()
                except ConfigError:
                    raise
                except (psycopg.Error, exceptions.ProcrastinateException, OSError) as error:
                    # procrastinate raises its own errors, from psycopg's.
                    cause = error.__cause__
                    broken = cause if isinstance(cause, psycopg.Error) else error
                    self._say("the ledger's database", reason(broken))
                except Exception:
                    log.exception("a worker broke; it starts again")
                tries = 0 if time.monotonic() - began > _STEADY else tries + 1
                await self._pause(backoff(tries))
        finally:
            self._stop.set()
            await self._in_thread(self._making.close)
            await routes
            ending.cancel()
            self._threads.shutdown(wait=False)

    async def _end_in_time(self) -> None:
        """Interrupt what is still running some seconds after the worker is to stop."""
        await self._stop.wait()
        await asyncio.sleep(_GRACE)
        self._making.engines.close()
        await asyncio.sleep(_GRACE / 2)
        # What is left waits for a PostgreSQL that does not answer.
        self._connections.end("")
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _session(self) -> None:
        """Work for as long as the connections hold."""
        left_behind = self._connections.backends
        self._connections = lines = Connections(LIMIT)
        keywords = async_keywords(self._settings)
        app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(
                connection_class=lines.kind,
                kwargs=keywords,
                configure=self._configure,
                min_size=2,
                max_size=self._parallel + 4,
                timeout=LIMIT,
            )
        )
        self._jobs.register(app)
        queues = [self._queries.queue]
        if self._full_every:
            queues.append(self._queries.full_queue)
        try:
            await self._open(app)
            self._app = app
            async with self._connection() as connection:
                await end_left_behind(connection, left_behind)
            worker = asyncio.create_task(
                app.run_worker_async(
                    queues=queues,
                    concurrency=self._parallel,
                    fetch_job_polling_interval=_FETCH,
                    delete_jobs=DeleteJobCondition.ALWAYS.value,
                    install_signal_handlers=False,
                    update_heartbeat_interval=_HEARTBEAT,
                    stalled_worker_timeout=_DEAD,
                    shutdown_graceful_timeout=_DEAD,
                )
            )
            listening = asyncio.create_task(self._listen(keywords))
            # These look at `_stop` themselves, between what must not be cut in two.
            others = [asyncio.create_task(work()) for work in (self._take_hints, self._poll)]
            stopped = asyncio.create_task(self._stop.wait())
            ended = asyncio.create_task(lines.ended.wait())
            everything: list[asyncio.Task[Any]] = [worker, listening, *others, stopped, ended]
            try:
                done, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if lines.why:
                    await self._pool.drain()
                    await asyncio.to_thread(self._making.engines.trim, 0.0)  # theirs as well
                for task in (listening, stopped, ended):
                    task.cancel()
                worker.cancel()  # it ends what is under way
                if not self._stop.is_set():
                    for task in others:
                        task.cancel()
                await asyncio.gather(worker, listening, *others, return_exceptions=True)
            if lines.why:
                raise psycopg.OperationalError(lines.why)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        finally:
            await app.close_async()

    async def _open(self, app: procrastinate.App) -> None:
        """Open an app's connections, in time."""
        try:
            async with asyncio.timeout(LIMIT):
                await app.open_async()
        except TimeoutError:
            raise psycopg.OperationalError(
                f"no connection within {LIMIT:g} s, or too few: a worker keeps up to "
                f"{self._parallel + 6}"
            ) from None

    async def _configure(self, connection: Connection) -> None:
        await connection.execute(
            sql.SQL("SET search_path = {}").format(sql.Identifier(self._queries.schema))
        )
        await self._connections.note(connection)
        if not connection.autocommit:
            await connection.commit()

    @property
    def _pool(self) -> AsyncConnectionPool[Connection]:
        assert self._app is not None
        connector = self._app.connector
        assert isinstance(connector, procrastinate.PsycopgConnector)
        return connector.pool

    def _connection(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        return self._pool.connection()

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await self._loop.run_in_executor(self._threads, work, *arguments)

    def _say(self, about: str, why: str) -> None:
        if not self._stop.is_set():  # what ends at the end is no trouble
            self._health.report_problem(about, why)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    # What is to be looked at -----------------------------------------------------------------

    async def _listen(self, keywords: dict[str, Any]) -> None:
        """Wake up with each notification."""
        # By this name others see that the worker is alive.
        keywords = {**keywords, "application_name": self._queries.worker_name}
        connection = await self._connections.open(keywords)
        async with connection:
            await self._connections.note(connection)
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            self._wake.set()
            while True:
                async for _ in connection.notifies(timeout=BEAT):
                    self._wake.set()
                await connection.execute("SELECT 1")  # others see by it that the worker is alive

    async def _take_hints(self) -> None:
        """Take hints whenever there are new ones."""
        while not self._stop.is_set():
            waits = [asyncio.create_task(each.wait()) for each in (self._wake, self._stop)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            self._wake.clear()
            after: tuple[str, str] | None = (FIRST, "")
            while after is not None and not self._stop.is_set():
                after = await self._take(*after)

    async def _take(self, hint: str, tenant: str) -> tuple[str, str] | None:
        """Take some hints and tenants without a target, after those that were taken last.

        Returns the last ones that were taken now; None at the end.
        """
        queries = self._queries
        async with self._connection() as connection:
            try:
                async with confirming(connection):
                    await queries.gate(connection)
                    noted, hint = await queries.take_hints(connection, hint, BATCH)
                    most = max(BATCH - len(noted), 1)
                    wanted = await queries.wanted(connection, tenant, most, tried=False)
                    ids = [*dict.fromkeys([*noted, *wanted])]
                    if not ids:
                        self._say("looking tenants up", "")
                        return None
                    placed = await self._in_thread(self._making.place, ids, noted)
                    if placed.trouble:
                        raise _Blind(placed.trouble)  # so that the hints stay
            except psycopg.errors.LockNotAvailable:
                return None  # another worker takes long over it; the next poll looks again
            except (_Blind, InfluxopsError) as error:
                self._say("looking tenants up", str(error))
                return None
            self._say("looking tenants up", "")
            for target in placed.targets:
                await self._jobs.defer(connection, "create_databases", target)
            if placed.waiting:
                await self._jobs.defer(connection, "retry_unplaced", delay=SOON)
            if placed.full_run:
                await self._queries.bring_forward(connection, "reconcile", _FULL_SOON)
        if len(noted) < BATCH and len(wanted) < most:
            return None  # what has come since then has woken up this worker, too
        return hint, wanted[-1] if wanted else tenant

    async def _poll(self) -> None:
        """Defer now and then the jobs that are missing."""
        while not self._stop.is_set():
            await self._prune_stalled_jobs()
            async with self._connection() as connection:
                stats = await self._queries.stats(connection)
                await self._defer_missing(connection, stats)
            self._health.record_queue_stats(stats)
            self._say("the ledger's database", "")
            await self._pause(_POLL * random.uniform(0.8, 1.2))

    async def _prune_stalled_jobs(self) -> None:
        """Remove the jobs of workers that died; what they were about is still in the ledger."""
        assert self._app is not None
        manager = self._app.job_manager
        for queue in (self._queries.queue, self._queries.full_queue):
            for job in await manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=_DEAD):
                assert job.id is not None
                log.info("the job %s belonged to a worker that is gone", job.lock)
                with contextlib.suppress(exceptions.ConnectorException):  # another one was first
                    await manager.finish_job_by_id_async(job.id, Status.ABORTED, delete_job=True)
        await manager.prune_stalled_workers(_DEAD)

    async def _defer_missing(self, connection: Connection, stats: QueueStats) -> None:
        there = {(job.task, job.target) for job in stats.jobs}
        if stats.hints or any(w.state == "pending" and not w.tried for w in stats.waiting):
            self._wake.set()
        for each in stats.waiting:
            is_mine = each.target in self._making.targets
            if each.state == "allocated" and each.free and is_mine:
                if ("create_databases", each.target) not in there:
                    await self._jobs.defer(connection, "create_databases", each.target)
            elif each.state == "pending" and each.tried and ("retry_unplaced", "") not in there:
                await self._jobs.defer(connection, "retry_unplaced", delay=SOON)
        if self._full_every:
            if ("reconcile", "") not in there:
                await self._jobs.defer(connection, "reconcile", queue=self._queries.full_queue)
            soon = await self._queries.is_any_left_unconfirmed(connection)
            delay = min(_FULL_SOON, self._full_every) if soon else self._full_every
            await self._queries.bring_forward(connection, "reconcile", delay)

    def _on_target_recovered(self, target: str) -> None:
        """Let what waits for a target begin: it answers again. Called from any thread."""

        async def begin() -> None:
            locks = [
                self._queries.lock("create_databases", target),
                self._queries.lock("retry_unplaced"),
            ]
            # A job that is under way does it at its end; between two sessions, it begins later.
            with contextlib.suppress(psycopg.Error, exceptions.ProcrastinateException):
                async with self._connection() as connection:
                    await self._queries.run_now(connection, locks)

        def start() -> None:
            task = self._loop.create_task(begin())
            self._background.add(task)
            task.add_done_callback(self._background.discard)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(start)


class _Blind(Exception):
    """Nothing could be found out about anybody."""
