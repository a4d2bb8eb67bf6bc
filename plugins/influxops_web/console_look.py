"""What the servers themselves say, for a page: asked all at once, and never waited for long.

What was not answered within the budget is said to be unknown, with why. Threads that wait for a
server that hangs are few, and a page does not wait for one of them to be free either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from influxops.config.load import Config
from influxops.domain.database import UNKNOWN, Database, DatabaseStats, TableStats, Unknown
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.provisioner.engine_pool import Engines
from influxops.runtime.context import Context

#: Servers that are asked at once.
_THREADS = 8
#: The part of the budget that a server gets; the rest is for the page itself.
_SHARE = 0.8

#: Why nothing is known of a server that did not answer in time.
LATE = "no answer within {:g} s"

T = TypeVar("T")


class Span(Struct, frozen=True):
    """How far back a plot goes, and how fine it is."""

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

    exists: bool | None = None  # None where nobody can know now
    retention: int | Unknown | None = UNKNOWN  # seconds; None: for ever
    rows: int | None = None  # in all tables; None: not read
    at_most: bool = False  # whether there may be fewer
    tables: Sequence[TableStats] = ()  # what its target tells of each
    last_write: datetime | None = None
    complete: bool | Unknown = UNKNOWN
    #: Whether it was ever marked as complete: what a client creates is not.
    marked: bool | Unknown = UNKNOWN
    activity: Sequence[tuple[datetime, int]] | None = None  # rows of every span; None: not read
    trouble: str = ""  # why something is not known


class Place(Struct, frozen=True):
    """What a server said of itself."""

    databases: int | None = None  # how many it holds; None: not read
    capacity: int | None = None  # how many it takes; None: no limit is known
    is_estimate: bool = False
    edition: str | None = None
    version: str | None = None
    trouble: str = ""  # why it is not known

    @property
    def left(self) -> int | None:
        """How many databases still fit; None where that is unknown."""
        if self.capacity is None or self.databases is None:
            return None
        return max(0, self.capacity - self.databases)


class Looker:
    """Asks the servers for the console.

    Args:
        config: The configuration.
        budget: Seconds that a page may wait.
        trouble: Returns what is known to be wrong with servers now, by section: they are not
            asked.
    """

    def __init__(
        self, config: Config, budget: float, trouble: Callable[[], Mapping[str, str]]
    ) -> None:
        self._engines = Engines(config, None)
        self._budget, self._trouble = budget, trouble
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="influxops-console")
        with Engine(config) as engine:
            #: Where each target is, by its name.
            self.urls = {t.name: t.location.text if t.location else "" for t in engine.targets}
            self._capacities = {t.name: t.settings.capacity for t in engine.targets}
            #: Which targets take no new tenants.
            self.draining = {t.name for t in engine.targets if t.settings.state == "draining"}

    def close(self) -> None:
        """End what is under way."""
        self._engines.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def contents(self, target: str, database: str, span: Span) -> Contents:
        """Ask a target for what it holds of a tenant.

        Args:
            target: Its name.
            database: The name of the tenant's database.
            span: What the plot shows.
        """
        if target not in self.urls:
            return Contents(trouble=f"no target {target} is configured")

        def ask(engine: Engine, context: Context) -> Contents:
            return _contents(engine, context, target, database, span)

        found = await self._ask(target, ask)
        return Contents(trouble=found) if isinstance(found, str) else found

    async def places(self) -> dict[str, Place]:
        """Ask all targets at once how many databases they hold, and how many they take."""

        async def one(target: str) -> Place:
            def ask(engine: Engine, context: Context) -> Place:
                found = engine.target(target).inventory(context)
                said = self._capacities[target]  # by who configured it
                capacity = found.capacity if said is None else said
                return Place(
                    len(found.databases),
                    None if capacity == "unlimited" else capacity,
                    said is None,
                    found.edition,
                    found.version,
                )

            found = await self._ask(target, ask)
            return Place(trouble=found) if isinstance(found, str) else found

        found = await asyncio.gather(*map(one, self.urls))
        return dict(zip(self.urls, found, strict=True))

    async def _ask(self, target: str, ask: Callable[[Engine, Context], T]) -> T | str:
        """Return what a target said, or why it said nothing."""
        known = self._trouble().get(f"targets.{target}")
        if known:
            return known
        late = LATE.format(self._budget)

        def work() -> T | str:
            try:
                with self._engines.borrow() as (engine, run):
                    return ask(engine, run.limited(self._budget * _SHARE))
            except InfluxopsError as error:
                return error.message

        loop = asyncio.get_running_loop()
        try:
            # What still waits for a thread then is never begun.
            return await asyncio.wait_for(loop.run_in_executor(self._threads, work), self._budget)
        except TimeoutError:
            return late


def _contents(engine: Engine, context: Context, target: str, database: str, span: Span) -> Contents:
    handle = engine.target(target)
    found: Database | None = handle.look([database], context).databases.get(database)
    if found is None:
        return Contents(exists=False)
    known = Contents(True, found.retention, complete=found.complete, marked=found.is_marked)
    stats = engine.describe({target: [database]}, context).get((target, database))
    stats = stats or DatabaseStats(database, message="its target cannot count")
    activity, trouble = None, stats.message
    try:
        since, until = span.bounds(datetime.now(UTC))
        counted = handle.activity(database, since, until, span.step, context)
    except InfluxopsError as error:
        trouble = trouble or error.message
    else:
        if counted is not None:
            every = (since + timedelta(seconds=at) for at in range(0, span.seconds, span.step))
            activity = [(begin, counted.get(begin, 0)) for begin in every]
    return replace(
        known,
        rows=stats.rows,
        at_most=stats.at_most,
        tables=stats.tables or (),
        last_write=stats.last_write,
        complete=stats.complete,
        activity=activity,
        trouble=trouble,
    )
