"""The servers as they were read last, and where that outranks what the ledger remembers.

All are asked at once, each within the timeout. What is not answered in time is unknown, with a
reason. Few threads wait for a server that hangs, and nothing waits for a free thread beyond the
timeout either.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from influxops.domain.database import Database
from influxops.domain.record import State
from influxops.engine.engine import Engine
from influxops.errors import InfluxopsError
from influxops.plugin_host.target import TargetHandle
from influxops.provisioner import Provisioner
from influxops.provisioner.engine_pool import Engines
from influxops.runtime.context import RunContext
from influxops_web.db import queries
from influxops_web.db.connect import Database as Tables
from influxops_web.db.queries import HOPEFUL, TargetSummary, TenantRow

#: Servers that are asked at once.
_THREADS = 8
#: The part of the timeout that a server gets; the rest is for the answer itself.
_SHARE = 0.8
#: Seconds for which what was read is read.
_FRESH = 5.0
#: A page waits no longer for servers that were read so many seconds ago: a server with very many
#: databases is not listed while somebody looks at a page. Programs, which see no age, wait.
_PATIENCE, _STALE = 0.25, 60.0
#: What the ledger has noted since, or so shortly before, is newer than what was read.
_SKEW = timedelta(seconds=5)

T = TypeVar("T")


class ConfiguredTarget(Struct, frozen=True):
    """A target, as the configuration has it."""

    name: str
    section: str  # as health and errors name it: `target:eu1`
    url: str
    state: str  # `active` or `draining`
    capacity: int | str | None  # `unlimited`, or None where the server says it

    @classmethod
    def of(cls, handle: TargetHandle) -> ConfiguredTarget:
        """Return what is configured of a target."""
        settings, url = handle.settings, handle.location.text if handle.location else ""
        return cls(handle.name, handle.full_name, url, settings.state, settings.capacity)


class ServerStatus(Struct, frozen=True):
    """A server, as it was read last."""

    recorded: TargetSummary
    target: ConfiguredTarget | None = None  # None where it is not configured any more
    databases: Mapping[str, Database] = field(default_factory=dict)
    number: int | None = None  # how many it holds; None: it was never read
    capacity: int | None = None  # how many it takes; None: no limit is known
    is_estimate: bool = False
    edition: str | None = None
    version: str | None = None
    identity: str | None = None
    read_at: datetime | None = None  # when that was read
    is_complete: bool = False  # whether `databases` has all that it held then
    is_late: bool = False  # whether it is being read again, and that was not waited for
    fault: str = ""  # what is wrong, in a word of `FAULTS`; empty where all is well
    trouble: str = ""  # what is wrong, in a sentence

    @property
    def url(self) -> str:
        """Where it is; empty where that is not configured any more."""
        return self.target.url if self.target is not None else ""

    @property
    def free(self) -> int | None:
        """How many databases more it takes; None where that is unknown."""
        if self.number is None or self.capacity is None:
            return None
        return max(self.capacity - self.number, 0)

    @property
    def room(self) -> float:
        """How much speaks for it where a tenant is to be moved: none where it is away or full."""
        return 0 if self.fault else math.inf if self.free is None else self.free

    @property
    def is_read(self) -> bool:
        """Whether it was read in full, and is still the one that was read."""
        return not self.fault and self.is_complete and self.read_at is not None

    @property
    def held(self) -> list[str]:
        """The complete databases that it held; a client's write creates one without a marker."""
        return [name for name, each in self.databases.items() if each.is_marked is not False]


class Fault(Struct, frozen=True):
    """Why a tenant's database is not as the ledger remembers it."""

    word: str
    message: str


#: What a fault makes of a state that is remembered.
FAULTS = {
    "replaced": "another server answers where its database was",
    "unavailable": "its server cannot be read now",
    "not configured": "its target is not in the configuration",
    "missing": "its server does not have its database",
    "in doubt": "its database may be elsewhere",
}


class Fleet:
    """Asks the servers, but for those that the service knows to be in trouble."""

    def __init__(
        self,
        engines: Engines,
        provisioner: Provisioner,
        targets: Mapping[str, ConfiguredTarget],
        timeout: float,
    ) -> None:
        self._engines, self._provisioner, self.targets = engines, provisioner, targets
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="influxops-console")
        self._last: dict[str, ServerStatus] = {}
        self._missing, self._missing_of = queries.Missing(), dict[str, datetime | None]()
        self._reading: asyncio.Task[None] | None = None
        self._read_at = 0.0

    def close(self) -> None:
        """End what is under way."""
        self._engines.close()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def servers(
        self, recorded: Mapping[str, TargetSummary], *, soon: bool = False
    ) -> dict[str, ServerStatus]:
        """Return all servers, with what the ledger has recorded of each, by target.

        With `soon`, a reading that takes long is not waited for where the last one is not old.
        """
        is_over = self._reading is None or self._reading.done()
        if is_over and (self._reading is None or time.monotonic() - self._read_at >= _FRESH):
            self._reading = asyncio.create_task(self._read())
        assert self._reading is not None
        is_known = soon and self._last and time.monotonic() - self._read_at < _STALE
        reading = self._reading
        await asyncio.wait({reading}, timeout=_PATIENCE if is_known else None)
        if reading.done():
            reading.result()
        is_late = not reading.done()
        last = {name: replace(each, is_late=is_late) for name, each in self._last.items()}
        answering = {each.identity for each in last.values()}
        return {
            name: _compared(name, last.get(name), recorded.get(name), answering)
            for name in dict.fromkeys([*self.targets, *recorded])
        }

    async def missing(self, tables: Tables, servers: Mapping[str, ServerStatus]) -> queries.Missing:
        """Return whose databases were not there when the servers were read, which is cached."""
        read = {name: each.read_at for name, each in servers.items() if each.is_read}
        if read != self._missing_of:
            held = {
                name: (servers[name].held, at - _SKEW)
                for name, at in read.items()
                if at is not None
            }
            self._missing = await queries.gone(tables, held) if held else queries.Missing()
            self._missing_of = read
        return self._missing

    async def count_states(
        self, tables: Tables, servers: Mapping[str, ServerStatus]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Count tenants by state, or the fault that outranks it, and what each target lacks."""
        counts, lacks = Counter(await queries.states(tables)), Counter[str]()
        for server in servers.values():
            if server.fault:
                for state, number in server.recorded.states.items():
                    if state in HOPEFUL:
                        counts[state] -= number
                        counts[server.fault] += number
        missing = await self.missing(tables, servers)
        for target, state, number in await queries.missing(tables, missing):
            lacks[target] += number
            counts[state] -= number
            counts["missing"] += number
        return dict(+counts), lacks

    async def _read(self) -> None:
        read = await asyncio.gather(*map(self._read_one, self.targets.values()))
        self._last, self._read_at = dict(zip(self.targets, read, strict=True)), time.monotonic()

    async def _read_one(self, target: ConfiguredTarget) -> ServerStatus:
        def read(engine: Engine, context: RunContext) -> ServerStatus:
            found = engine.target(target.name).list_databases((), context)
            is_set = target.capacity is not None
            capacity = target.capacity if is_set else found.capacity
            return ServerStatus(
                none,
                target,
                found.databases,
                len(found.databases),
                capacity if isinstance(capacity, int) else None,
                not is_set,
                found.edition,
                found.version,
                found.identity,
                datetime.now(UTC),
                found.complete,
            )

        none = TargetSummary(target.name, {}, 0)
        found = await self.ask(target.name, read, alone=True)
        if isinstance(found, ServerStatus):
            return found
        last = self._last.get(target.name) or ServerStatus(none, target)
        return replace(last, fault="unavailable", trouble=found)

    async def ask(
        self, target: str, ask: Callable[[Engine, RunContext], T], *, alone: bool = False
    ) -> T | str:
        """Return what a target said, or why it said nothing.

        What is asked `alone` is not remembered for what is asked next.
        """
        known = self._provisioner.health().trouble.get(self.targets[target].section)
        if known:
            return str(known)

        def work() -> T | str:
            limit = self._timeout * _SHARE
            try:
                with self._engines.run(limit) if alone else self._engines.borrow() as (engine, run):
                    return ask(engine, run.with_timeout(limit))
            except InfluxopsError as error:
                return error.message

        loop = asyncio.get_running_loop()
        try:
            # What still waits for a thread then is never begun.
            return await asyncio.wait_for(loop.run_in_executor(self._threads, work), self._timeout)
        except TimeoutError:
            return f"no answer within {self._timeout:g} s"


def _compared(
    name: str,
    said: ServerStatus | None,
    recorded: TargetSummary | None,
    answering: set[str | None],
) -> ServerStatus:
    """Return what a server said, compared with what the ledger knows of it."""
    recorded = recorded or TargetSummary(name, {}, 0)
    if said is None:
        trouble = f"no target {name} is configured"
        return ServerStatus(recorded, fault="not configured", trouble=trouble)
    if said.read_at is None and recorded.read is not None:  # the ledger knows what a run has read
        known = recorded.tenants + (recorded.unrecorded or 0)
        capacity = said.capacity if said.capacity is not None else recorded.capacity
        is_estimate = said.target is not None and said.target.capacity is None
        return replace(
            said,
            recorded=recorded,
            number=known,
            capacity=capacity,
            is_estimate=is_estimate,
            read_at=recorded.read,
        )
    was = recorded.identity
    if said.identity and was and said.identity != was and was not in answering:
        trouble = f"another server answers there than before: {said.identity}, not {was}"
        return replace(said, recorded=recorded, fault="replaced", trouble=trouble)
    return replace(said, recorded=recorded)


def fault_of(row: TenantRow, servers: Mapping[str, ServerStatus]) -> Fault | None:
    """Return why a tenant's database is not as the ledger remembers it; None where it is."""
    server = servers.get(row.target or "")
    if row.state not in HOPEFUL or server is None:
        return None
    if server.fault:
        return Fault(server.fault, f"{row.target}: {server.trouble}")
    times = (row.state_since, row.database_created_at, row.last_seen_at)
    newest = max(filter(None, times), default=None)
    is_newer = newest is None or server.read_at is None or newest > server.read_at - _SKEW
    if not server.is_complete or is_newer or not State(row.state).is_provisioned:
        return None
    found = server.databases.get(row.database or "")
    if found is not None and found.is_marked is not False:
        return None
    why = "" if found is None else "; a client has created another one of that name"
    message = f"{row.target} does not have the database {row.database}, which was there{why}"
    return Fault("missing", message)
