"""The servers' own state for a page: all are asked at once, each within the timeout.

What is not answered in time is unknown, with a reason. Few threads wait for a server that hangs,
and a page does not wait for a free thread beyond the timeout either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct

from influxops.domain.database import Database, DatabaseStats
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.provisioner.engine_pool import Engines
from influxops.runtime.context import RunContext
from influxops_web.service import ConfiguredTarget, Service

#: Servers that are asked at once.
_THREADS = 8
#: The part of the timeout that a server gets; the rest is for the page itself.
_SHARE = 0.8

T = TypeVar("T")


class Span(Struct, frozen=True):
    """How far back a chart goes, and how fine it is."""

    key: str
    words: str  # as part of a sentence: "the last 24 hours"
    seconds: int
    step: int  # seconds of one span

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return since when and until when, at whole steps; the last one has just begun."""
        last = int(now.timestamp()) // self.step * self.step + self.step
        return (
            datetime.fromtimestamp(last - self.seconds, UTC),
            datetime.fromtimestamp(last, UTC),
        )


SPANS = {
    span.key: span
    for span in (
        Span("24h", "the last 24 hours", 24 * 3600, 3600),
        Span("7d", "the last 7 days", 7 * 86400, 6 * 3600),
        Span("30d", "the last 30 days", 30 * 86400, 86400),
    )
}


class Contents(Struct, frozen=True):
    """What a server said of one database."""

    exists: bool | None = None  # None where it is unknown
    database: Database = Database("")  # as the inventory has it
    retention_fault: str = ""  # why data is not kept as its retention period says
    stats: DatabaseStats = DatabaseStats("")
    activity: Sequence[tuple[datetime, int]] | None = None  # rows of every span; None: not read
    trouble: str = ""  # why something is not known


class ServerUsage(Struct, frozen=True):
    """How full a server is, as it says itself."""

    databases: int | None = None  # how many it holds; None: not read
    capacity: int | None = None  # how many it takes; None: no limit is known
    is_estimate: bool = False
    edition: str | None = None
    version: str | None = None
    trouble: str = ""  # why it is not known


class LiveStatus:
    """Asks the servers for the console, but for those that the service knows to be in trouble."""

    def __init__(self, service: Service, engines: Engines) -> None:
        self._service, self._engines = service, engines
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="influxops-console")

    def close(self) -> None:
        """Wait for the threads, once the engines were closed."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def contents(self, target: str, database: str, span: Span) -> Contents:
        """Ask a target for what it holds of a tenant, and for what the chart shows."""
        if target not in self._service.targets:
            return Contents(trouble=f"no target {target} is configured")

        def ask(engine: Engine, context: RunContext) -> Contents:
            return _contents(engine, context, target, database, span)

        found = await self._ask(target, ask)
        return Contents(trouble=found) if isinstance(found, str) else found

    async def usage(self) -> dict[str, ServerUsage]:
        """Ask all targets at once how many databases they hold, and how many they take."""

        async def one(target: ConfiguredTarget) -> ServerUsage:
            def ask(engine: Engine, context: RunContext) -> ServerUsage:
                found = engine.target(target.name).list_databases((), context)
                is_set = target.capacity is not None
                capacity = target.capacity if is_set else found.capacity
                return ServerUsage(
                    len(found.databases),
                    capacity if isinstance(capacity, int) else None,
                    not is_set,
                    found.edition,
                    found.version,
                )

            found = await self._ask(target.name, ask)
            return ServerUsage(trouble=found) if isinstance(found, str) else found

        targets = self._service.targets
        found = await asyncio.gather(*map(one, targets.values()))
        return dict(zip(targets, found, strict=True))

    async def _ask(self, target: str, ask: Callable[[Engine, RunContext], T]) -> T | str:
        """Return what a target said, or why it said nothing."""
        section = self._service.targets[target].section
        known = self._service.provisioner.health().trouble.get(section)
        if known:
            return str(known)
        timeout = self._service.web.timeout

        def work() -> T | str:
            try:
                with self._engines.borrow() as (engine, run):
                    return ask(engine, run.with_timeout(timeout * _SHARE))
            except InfluxopsError as error:
                return error.message

        loop = asyncio.get_running_loop()
        try:
            # What still waits for a thread then is never begun.
            return await asyncio.wait_for(loop.run_in_executor(self._threads, work), timeout)
        except TimeoutError:
            return f"no answer within {timeout:g} s"


def _contents(
    engine: Engine, context: RunContext, target: str, database: str, span: Span
) -> Contents:
    handle = engine.target(target)
    found = handle.get_databases([database], context).databases.get(database)
    if found is None:
        return Contents(exists=False)
    fault = handle.capabilities.retention_fault(found.retention)
    stats = engine.describe({target: [database]}, context).get((target, database))
    stats = stats or DatabaseStats(database, message="its target cannot count")
    activity, trouble = None, stats.message
    try:
        since, until = span.bounds(datetime.now(UTC))
        counted = handle.write_activity(database, since, until, span.step, context)
    except InfluxopsError as error:
        trouble = trouble or error.message
    else:
        if counted is not None:
            every = (since + timedelta(seconds=at) for at in range(0, span.seconds, span.step))
            activity = [(begin, counted.get(begin, 0)) for begin in every]
    return Contents(True, found, fault, stats, activity, trouble)
